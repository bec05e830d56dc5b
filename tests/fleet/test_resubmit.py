"""Submitting a lost group again, under everything that can happen between and within its steps.

Hypothesis chooses what happens; the world below knows only what operator, kubelet and garbage collector do. Whatever
happens, two attempts never run at once, what has succeeded is kept, and it comes to an end.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_spotmix.core.actions import Resubmit
from airflow_provider_spotmix.core.events import ResubmitDone, ResubmitVoid
from airflow_provider_spotmix.core.spec import ApplicationSpec
from airflow_provider_spotmix.fleet.resubmit import resubmit
from airflow_provider_spotmix.kube.client import PatchType
from airflow_provider_spotmix.kube.errors import ApiUnavailable, Call, KubeError
from airflow_provider_spotmix.kube.resources import PODS, Resource
from tests.fleet.test_plan_groups import grouped
from tests.kube.memory import MemoryKube, MemoryServer
from tests.support.played_spark import APPLICATIONS

T = TypeVar("T")
PLAN = grouped()
FIRST, SECOND = PLAN.spec.applications[0], PLAN.spec.second_attempts[0]
ACTION = Resubmit(cause="c", application=FIRST.name, replacement=SECOND.name, from_pool="spot", pool="on-demand")
RUNNING, SUCCEEDED = ({"applicationState": {"state": word}} for word in ("RUNNING", "COMPLETED"))


class World(MemoryKube):
    """The cluster around the calls. ``at``: before which call of a try something happens, and what."""

    def __init__(self) -> None:
        super().__init__(MemoryServer())
        self.calls = 0
        self.at: tuple[int, str] = (0, "")
        self.succeeded = False

    def _call(self, verb: str, resource: Resource[Any], namespace: str | None = None, name: str | None = None) -> Call:
        call = super()._call(verb, resource, namespace, name)
        self.calls += 1
        if self.calls == self.at[0]:
            if self.at[1] == "cut":
                raise ApiUnavailable(call, "memory", "the call never arrived")
            if self.at[1] != "lost":
                getattr(self, self.at[1])()
        return call

    async def create(self, resource: Resource[T], body: Mapping[str, Any], namespace: str | None = None) -> T:
        done = await super().create(resource, body, namespace)
        return self._answer(done, "create")

    async def delete(self, resource: Resource[Any], name: str, namespace: str | None = None, **options: Any) -> None:
        await super().delete(resource, name, namespace, **options)
        self._answer(None, "delete")

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str | None = None,
        *,
        kind: PatchType = PatchType.MERGE,
        subresource: str | None = None,
    ) -> T:
        """The one JSON patch that there is: it lifts the gate, if that is still there."""
        assert kind is PatchType.JSON
        self._call("patch", resource, namespace, name)
        pod = self._pods(SECOND)[0]
        assert [each["op"] for each in body if isinstance(each, dict)] == ["test", "test", "remove"]
        pod["spec"]["schedulingGates"] = []
        self._write(pod)
        return self._answer(None, "patch")  # type: ignore[return-value]

    def _answer(self, done: T, verb: str) -> T:
        if self.at[1] == "lost" and self.calls >= self.at[0] > 0:
            self.at = (0, "")
            raise ApiUnavailable(Call(verb, "x"), "memory", "the answer was lost")
        return done

    # -- what there is

    def app(self, spec: ApplicationSpec) -> dict[str, Any] | None:
        found = self._server.select(APPLICATIONS.path(), "spark", f"spotmix.io/application={spec.name}")
        return copy.deepcopy(found[0]) if found else None

    def _pods(self, spec: ApplicationSpec) -> list[dict[str, Any]]:
        found = self._server.select(PODS.path(), "spark", f"spotmix.io/application={spec.name}")
        return sorted(copy.deepcopy(found), key=lambda pod: str(pod["metadata"]["name"]))

    def _write(self, thing: dict[str, Any], kind: str = "MODIFIED") -> None:
        path = APPLICATIONS.path() if "kind" in thing else PODS.path()
        self._server.write(kind, (path, "spark", thing["metadata"]["name"]), thing)

    def add_pod(self, spec: ApplicationSpec, role: str, phase: str) -> None:
        app = self.app(spec)
        assert app
        template = app["spec"][role]["template"]
        labels = {**template["metadata"]["labels"], "spark-role": role}
        metadata = {"name": f"{spec.name}-{role}", "uid": f"{spec.name}-{role}", "labels": labels}
        pod = {"metadata": metadata, "spec": copy.deepcopy(template["spec"]), "status": {"phase": phase}}
        self._write(pod, "ADDED")

    def running(self) -> list[str]:
        pods = [pod for spec in (FIRST, SECOND) for pod in self._pods(spec)]
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]

    # -- what happens by itself

    def succeed(self) -> None:
        """The first attempt comes to its end after all."""
        app = self.app(FIRST)
        if app:
            self.succeeded = True
            self._write({**app, "status": SUCCEEDED})
            for pod in self._pods(FIRST):
                self._write({**pod, "status": {"phase": "Succeeded"}})

    def change(self) -> None:
        """The operator writes something."""
        for spec in (FIRST, SECOND):
            if app := self.app(spec):
                self._write(app)

    def collect(self) -> None:
        """The garbage collector removes a pod whose application is gone."""
        for spec in (FIRST, SECOND):
            if not self.app(spec) and (pods := self._pods(spec)):
                return self._write(pods[0], "DELETED")
        return None

    def operate(self) -> None:
        """The operator starts the second attempt's driver, the kubelet runs it once nothing gates it."""
        if self.app(SECOND):
            if not self._pods(SECOND):
                self.add_pod(SECOND, "driver", "Pending")
            elif not self._pods(SECOND)[0]["spec"].get("schedulingGates"):
                self._write({**self._pods(SECOND)[0], "status": {"phase": "Running"}})


async def play(steps: list[tuple[str, int, str]]) -> None:
    world = World()
    await world.create(APPLICATIONS, {**PLAN.applications[0], "status": RUNNING}, "spark")
    for role in ("driver", "executor"):
        world.add_pod(FIRST, role, "Running")
    ending = [("attempt", 0, ""), ("collect", 0, ""), ("operate", 0, "")] * 12
    outcome: object = None
    for step, number, what in [*steps, *ending]:
        if step != "attempt":
            getattr(world, step)()
        elif not isinstance(outcome, ResubmitDone | ResubmitVoid):
            world.calls, world.at = 0, (number, what)
            try:
                outcome = await resubmit(world, PLAN.spec, ACTION, at=0.0)
            except KubeError:
                outcome = None
        drivers = [name for name in world.running() if name.endswith("driver")]
        assert len(drivers) <= 1, f"two attempts run: {drivers}"
        assert not (f"{SECOND.name}-driver" in drivers and len(world.running()) > 1), "an executor of the first runs"
        if world.succeeded:
            assert world.app(FIRST), "what has succeeded was deleted"
            assert f"{SECOND.name}-driver" not in drivers, "what has succeeded is repeated"
    if world.succeeded:
        assert isinstance(outcome, ResubmitVoid)
        assert outcome.succeeded
        assert world.app(SECOND) is None
    else:
        assert isinstance(outcome, ResubmitDone)
        assert (world.app(FIRST), world.running()) == (None, [f"{SECOND.name}-driver"])


attempts = st.tuples(
    st.just("attempt"), st.integers(0, 9), st.sampled_from(["cut", "lost", "succeed", "change", "collect", "operate"])
)
others = st.sampled_from(["succeed", "change", "collect", "operate"]).map(lambda name: (name, 0, ""))


@settings(max_examples=400)
@given(st.lists(attempts | others, max_size=12))
@example([])
@example([("attempt", 4, "succeed")])
@example([("attempt", 3, "lost"), ("operate", 0, ""), ("attempt", 3, "lost"), ("collect", 0, "")])
def test_two_attempts_never_run_at_once_and_what_succeeded_is_kept(steps: list[tuple[str, int, str]]) -> None:
    asyncio.run(play(steps))
