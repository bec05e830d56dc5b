"""What a table of Spark applications needs: they all run at once, and what was seen of each is kept.

An application is submitted as it is, with nothing of ours; or as a fleet, which our controller looks after meanwhile.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.plan import plan_fleet
from airflow_provider_spotmix.fleet.report import Report
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.lab.api import ApiError, Json
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests.identity import Identity
from tests.fleet.test_plan import MIX
from tests.lab.conformance import Event, Stage

PATIENCE_SECONDS = 240.0
ENDED = {"COMPLETED", "FAILED", "SUBMISSION_FAILED"}

# Nothing in it is the lab's.
APPLICATION: dict[str, Any] = {
    "apiVersion": "sparkoperator.k8s.io/v1beta2",
    "kind": "SparkApplication",
    "metadata": {"name": "job"},
    "spec": {
        "type": "Python",
        "mode": "cluster",
        "image": "apache/spark:4.0.4",
        "sparkVersion": "4.0.4",
        "mainApplicationFile": "local:///opt/spark/examples/src/main/python/pi.py",
        "restartPolicy": {"type": "Never"},
        "driver": {"cores": 1, "memory": "512m", "serviceAccount": "spark"},
        "executor": {"cores": 1, "instances": 2, "memory": "512m"},
    },
}


def application(file: str, arguments: tuple[str, ...] = (), **spec: Any) -> Json:
    """`APPLICATION` with another job; further fields of its spec replace those that it has."""
    manifest = copy.deepcopy(APPLICATION)
    manifest["spec"] |= {"mainApplicationFile": f"local://{file}", "arguments": list(arguments), **spec}
    return manifest


@dataclass
class Story:
    """What was seen of an application, which is over. `report`: of its fleet, if it was one."""

    state: str = ""
    driver_log: str = ""
    histories: dict[str, list[Event]] = field(default_factory=dict)
    report: Report | None = None

    def pods(self, role: str) -> list[Json]:
        """The last that was seen of each driver or executor, in the order of their creation."""
        last: dict[str, Json] = {}
        for history in self.histories.values():
            last |= {event.body["metadata"]["uid"]: event.body for event in history}
        found = [body for body in last.values() if body["metadata"].get("labels", {}).get("spark-role") == role]
        return sorted(found, key=lambda body: (body["metadata"]["creationTimestamp"], executor_id(body)))

    def fleet_report(self) -> Report:
        assert self.report is not None, "it was no fleet"
        return self.report


def executor_id(pod: Json) -> int:
    return int(pod["metadata"]["labels"].get("spark-exec-id", 0))


def exit_of(pod: Json) -> str:
    """How a pod's container has ended, for example ``OOMKilled 137``; empty while it has not."""
    for status in pod["status"].get("containerStatuses", []):
        if ended := status["state"].get("terminated"):
            return f"{ended.get('reason')} {ended['exitCode']}"
    return ""


class Running:
    """An application that runs, for what a case does to it."""

    def __init__(self, stage: Stage) -> None:
        self.lab, self.api, self.namespace = stage.lab, stage.lab.api, stage.namespace

    def driver_log(self) -> str:
        for pod in self.api.items(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector="spark-role=driver"):
            try:
                return self.api.text(f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}/log")
            except ApiError as error:
                return str(error)
        return "there is no driver"

    def executors(self) -> list[Json]:
        pods = self.api.items(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector="spark-role=executor")
        return sorted(pods, key=executor_id)

    def evict(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        self.api.create(f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction", body)

    def state(self) -> str:
        base = f"/apis/sparkoperator.k8s.io/v1beta2/namespaces/{self.namespace}/sparkapplications"
        states = [app.get("status", {}).get("applicationState", {}).get("state", "") for app in self.api.items(base)]
        return str(states[0]) if states else ""


@dataclass(frozen=True)
class Case:
    """One row: an application, and what becomes of it.

    Attributes:
        name: of the test.
        doc: the page that says what must come.
        manifest: what is submitted.
        check: fails if the story is not as the page says.
        fleet: whether our controller looks after it.
        remembers: whether its driver has a directory /memory that outlives it.
        ends: state in which the application ends.
        act: called now and then while the application runs, until it returns True.

    """

    name: str
    doc: str
    manifest: Json
    check: Callable[[Story], None]
    fleet: bool = False
    remembers: bool = False
    ends: str = "COMPLETED"
    act: Callable[[Running], bool] = lambda _: True


def play_all(lab: Lab, cases: list[Case]) -> dict[str, Story | BaseException]:
    """Play all rows at the same time, each in a namespace of its own."""

    def played(case: Case) -> Story | BaseException:
        try:
            return _play(lab, case)
        except Exception as error:  # noqa: BLE001 - its own test tells it
            return error

    with ThreadPoolExecutor(len(cases)) as threads:
        return dict(zip([case.name for case in cases], threads.map(played, cases), strict=True))


def _play(lab: Lab, case: Case) -> Story:
    with tempfile.TemporaryDirectory(prefix="spotmix-tests-") as memory:
        manifest = with_memory(case.manifest, memory) if case.remembers else case.manifest
        return _played(lab, case, manifest)


def with_memory(manifest: Json, directory: str) -> Json:
    volume = "spark.kubernetes.driver.volumes.hostPath.memory"
    conf = {f"{volume}.mount.path": "/memory", f"{volume}.options.path": directory}
    spec = manifest["spec"]
    return manifest | {"spec": spec | {"sparkConf": spec.get("sparkConf", {}) | conf}}


def _played(lab: Lab, case: Case, manifest: Json) -> Story:
    stage = Stage(lab, lab.create_namespace(f"test-{secrets.token_hex(4)}"))
    story = Story()
    try:
        running = Running(stage)
        with ThreadPoolExecutor(1) as thread:
            fleet: Future[Report] | None = None
            if case.fleet:
                nothing = asyncio.sleep(0)
                fleet = thread.submit(asyncio.run, run_as_fleet(lab.kubeconfig, manifest, stage.namespace, nothing))
            else:
                base = f"/apis/sparkoperator.k8s.io/v1beta2/namespaces/{stage.namespace}/sparkapplications"
                running.api.create(base, manifest)
            _until_over(running, case.act, fleet)
            story.report = fleet.result() if fleet else None
        story.state, story.driver_log = running.state(), running.driver_log()
    finally:
        stage.close()
    story.histories = stage.histories
    return story


def _until_over(running: Running, act: Callable[[Running], bool], fleet: Future[Report] | None) -> None:
    deadline, done = time.monotonic() + PATIENCE_SECONDS, False
    while (state := running.state()) not in ENDED:
        assert time.monotonic() < deadline, f"the application is still {state!r}: {running.driver_log()[-3000:]}"
        done = done or act(running)
        if fleet and fleet.done():
            fleet.result()  # what went wrong there is why the application is not over
        time.sleep(0.3)
    assert done, f"it was over before it could be acted upon: {running.driver_log()[-3000:]}"


async def run_as_fleet(kubeconfig: Path, manifest: Json, namespace: str, meanwhile: Awaitable[None]) -> Report:
    """Submit an application as a fleet and look after it until it is over; something else happens meanwhile."""
    plan = plan_fleet(
        manifest,
        identity=Identity(instance="tests", task_instance=str(uuid.uuid4())),
        mix=MIX,
        pools=KARPENTER,
        namespace=namespace,
    )
    cluster, hub = ClusterConfig(config_file=str(kubeconfig)), Hub.shared()
    async with hub.client(cluster) as kube:
        await submit(kube, plan, tell=lambda *_: None)
        fleet = run_fleet(hub, cluster, plan.spec, tell=lambda *_: None)
        report, _ = await asyncio.wait_for(asyncio.gather(fleet, meanwhile), PATIENCE_SECONDS)
    await hub.close()
    return report
