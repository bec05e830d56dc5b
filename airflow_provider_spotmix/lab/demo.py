"""The demo: a real Airflow runs a real Spark job on a real control plane, and its mix survives an interruption.

`run` is one story in acts; each act waits for what must be true and fails with what was seen instead. What happens in
the cluster is read with the lab's eyes, not with the product's: the demo is also a proof. The cluster is a lab, or any
other (`borrowed`).
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_spotmix.core.pools import KARPENTER, Pool
from airflow_provider_spotmix.lab import cluster as objects
from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.api import Api, wait_until
from airflow_provider_spotmix.lab.borrowed_checks import is_of
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.progress import Progress
from airflow_provider_spotmix.manifests import labels

DAG_ID = "spotmix_minimal"
TASK_ID = "checked_shuffle"
# The lab's Karpenter terminates the instance this long after its notice: long enough to decommission, short to watch.
LEAD_SECONDS = 30.0
# An executor can be decommissioned gracefully once its JVM is up and has work.
WORK_SECONDS = 10.0


class Cluster(Protocol):
    """What the demo needs of a cluster: a lab's or somebody's."""

    @property
    def api(self) -> Api:
        """Calls with the rights to look at everything."""

    def interrupt(self, node: str, signal_name: str = ..., lead_seconds: float | None = ...) -> None:
        """Take a node away as a provider would; returns when that is over."""


@dataclass(frozen=True)
class Setting:
    """How the story differs from one cluster to another; the defaults are the lab's.

    Attributes:
        namespace: where the example runs.
        pools: how spot and on-demand nodes are told apart.
        start_seconds: how long five executors may take to run; a real cluster pulls images and may start machines.

    """

    namespace: str = objects.SPARK_NAMESPACE
    pools: tuple[Pool, ...] = KARPENTER
    start_seconds: float = 180.0


class DemoError(LabError):
    """The story did not go as it must."""


@dataclass
class Executor:
    """An executor pod, as the API server has it."""

    name: str
    phase: str
    node: str
    pool: str
    gated: bool
    leaving: bool


@dataclass
class Story:
    """What was seen, for the report and for tests."""

    report: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    job_result: str = ""


def run(cluster: Cluster, airflow: AirflowHarness, *, progress: Progress, setting: Setting | None = None) -> Story:
    """Play the demo on a cluster and an Airflow that are up.

    Raises:
        DemoError: something was not as it must be.

    """
    story = Story()
    say = progress.note
    setting = setting or Setting()
    view = _View(cluster.api, setting)
    run_id = airflow.api.trigger(DAG_ID)
    say(f"DAG {DAG_ID} is running, run {run_id}")

    with _timed(story, "start"):
        executors = view.wait(lambda found: _running(found) == 5, "5 executors running", seconds=setting.start_seconds)
    say(_mix(executors))
    _expect(_by_pool(executors), {"spot": 2, "on-demand": 3}, "initial placement")

    say(f"letting the job work for {WORK_SECONDS:.0f} s")
    time.sleep(WORK_SECONDS)
    victim = next(e for e in executors if e.pool == "spot")
    say(f"interrupting node {victim.node}, where {victim.name} runs")
    interruption = _interrupt(cluster, victim.node)
    with _timed(story, "loss"):
        view.wait(lambda found: _is_leaving(found, victim.name), f"{victim.name} leaving", seconds=30)
        # A triggerer that dies before it has written that down can only be told of it by what is missing.
        path = f"/api/v1/namespaces/{setting.namespace}/configmaps"
        wait_until(
            f"the loss of {victim.name} to be noted", lambda: victim.name in str(cluster.api.get(path)), seconds=30
        )
    airflow.kill("triggerer", signal.SIGKILL)
    say("the executor is lost; the triggerer was killed with -9 before its replacement came")
    with _timed(story, "replacement gated"):
        view.wait(lambda found: any(e.gated for e in found), "a gated replacement", seconds=90)
    say("Spark asked for a replacement; it waits, gated, and nobody is there to place it")
    airflow.start("triggerer")
    say("the triggerer is back and takes over from what is in the cluster")
    with _timed(story, "replacement running"):
        executors = view.wait(lambda found: _replaced(found, victim.name), "the replacement running", seconds=90)
    say(_mix(executors))
    _expect(_by_pool(executors), {"spot": 1, "on-demand": 4}, "placement after the interruption")

    with _timed(story, "end"):
        state = airflow.api.wait_for_run(DAG_ID, run_id, timeout=300)
    interruption.join()
    log = airflow.api.task_log(DAG_ID, run_id, TASK_ID)
    _expect(state, "success", "state of the DAG run")
    story.job_result = _job_result(log)
    say(f"the job checked its own result: {story.job_result}")
    story.report = airflow.api.xcom(DAG_ID, run_id, TASK_ID)
    _check(story.report, victim)
    return story


def _check(report: dict[str, Any], victim: Executor) -> None:
    """The fleet report must tell what we saw with our own eyes."""
    _expect(report["target"], {"spot": 2, "on-demand": 3}, "report: target")
    _expect(report["initial"], {"spot": 2, "on-demand": 3}, "report: initial")
    _expect([i["executor"] for i in report["interruptions"]], [victim.name], "report: interruptions")
    _expect([i["cause"] for i in report["interruptions"]], ["spot-interruption"], "report: cause")
    replaced = [(r["replaces"], r["pool"]) for r in report["replacements"]]
    _expect(replaced, [(victim.name, "on-demand")], "report: replacements")
    _expect(report["result"], "succeeded", "report: result")


def write_report(story: Story, path: Path) -> None:
    """Write the demo's report: the fleet's own, and how long each act took."""
    path.parent.mkdir(parents=True, exist_ok=True)
    acts = {act: round(seconds, 1) for act, seconds in story.seconds.items()}
    path.write_text(json.dumps({**story.report, "job_result": story.job_result, "seconds": acts}, indent=2) + "\n")


# -- the cluster, seen with other eyes than the product's


class _View:
    def __init__(self, api: Api, setting: Setting) -> None:
        self._api, self._setting = api, setting
        self._pool_of_node: dict[str, str] = {"": ""}

    def executors(self) -> list[Executor]:
        selector = f"{labels.SPARK_ROLE}=executor,{labels.FLEET}"
        pods = self._api.items(f"/api/v1/namespaces/{self._setting.namespace}/pods", labelSelector=selector)
        return [
            Executor(
                name=pod["metadata"]["name"],
                phase=pod["status"]["phase"],
                node=pod["spec"].get("nodeName", ""),
                pool=self._pool_of(pod["spec"].get("nodeName", "")),
                gated=bool(pod["spec"].get("schedulingGates")),
                leaving="deletionTimestamp" in pod["metadata"],
            )
            for pod in pods
        ]

    def _pool_of(self, node: str) -> str:
        """The pool of the node that an executor really is on, whatever it asked for."""
        if node not in self._pool_of_node:
            body = self._api.find(f"/api/v1/nodes/{node}")
            found = [pool.name for pool in self._setting.pools if body and is_of(body, pool)]
            self._pool_of_node[node] = found[0] if found else ""
        return self._pool_of_node[node]

    def wait(self, check: Callable[[list[Executor]], bool], what: str, *, seconds: float) -> list[Executor]:
        """Poll until the executors are as they must be.

        Raises:
            DemoError: they never were.

        """
        deadline = time.monotonic() + seconds
        while True:
            found = self.executors()
            if check(found):
                return [e for e in found if e.phase == "Running" and not e.leaving]
            if time.monotonic() > deadline:
                raise DemoError(f"waited {seconds:.0f} s for {what}; executors: {found or 'none'}")
            time.sleep(0.1)


def _running(executors: list[Executor]) -> int:
    return sum(e.phase == "Running" and not e.leaving for e in executors)


def _is_leaving(executors: list[Executor], name: str) -> bool:
    return all(e.leaving or e.phase != "Running" for e in executors if e.name == name)


def _replaced(executors: list[Executor], name: str) -> bool:
    return _running(executors) == 5 and all(e.name != name or e.leaving for e in executors)


def _by_pool(executors: list[Executor]) -> dict[str, int]:
    return {pool: sum(e.pool == pool for e in executors) for pool in ("spot", "on-demand")}


def _mix(executors: list[Executor]) -> str:
    where = ", ".join(f"{e.name.rsplit('-', 2)[-1]} on {e.node}" for e in sorted(executors, key=lambda e: e.name))
    mix = " : ".join(f"{count} {pool}" for pool, count in _by_pool(executors).items())
    return f"{len(executors)} executors run, {mix} ({where})"


def _interrupt(cluster: Cluster, node: str) -> threading.Thread:
    """Play Karpenter in the background: it evicts at once and terminates the instance after the lead time."""
    thread = threading.Thread(target=cluster.interrupt, args=(node, "karpenter"), kwargs={"lead_seconds": LEAD_SECONDS})
    thread.start()
    return thread


def _job_result(log: str) -> str:
    found = re.search(r"RESULT [^\n\"\\]*", log)
    if not found:
        raise DemoError("the driver's log, told at the end of the task's log, has no RESULT line")
    return found.group().strip()


def _expect(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise DemoError(f"{what}: expected {expected}, found {found}")


@contextmanager
def _timed(story: Story, act: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    story.seconds[act] = time.monotonic() - started
