"""The life of a task on real parts: what a person does to it in Airflow, what the test plays of Spark, what is left."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests import labels
from tests.support.played_spark import PlayedSpark

T = TypeVar("T")
Json = dict[str, Any]

# For every single wait: generous, as the machine may be busy with other things.
SECONDS = 120
# The official client keeps certificates in files that several threads must not make at once.
_CONNECTING = threading.Lock()
# What Kubernetes itself puts into every namespace.
_OF_KUBERNETES = ("kube-root-ca.crt",)


def kind(namespace: str, plural: str) -> str:
    """Path of a namespace's objects of a kind that a fleet makes, or has made for it."""
    groups = {"sparkapplications": "apis/sparkoperator.k8s.io/v1beta2", "leases": "apis/coordination.k8s.io/v1"}
    return f"/{groups.get(plural, 'api/v1')}/namespaces/{namespace}/{plural}"


def until(check: Callable[[], T], what: str, tell: Callable[[], Any] = str) -> T:
    """Wait until something is true (or not empty), and return it."""
    deadline = time.monotonic() + SECONDS
    while not (found := check()):
        assert time.monotonic() < deadline, f"never: {what}; {tell()}"
        time.sleep(0.2)
    return found


def nothing_left(lab: Lab, namespace: str) -> None:
    """Wait until a namespace holds nothing of any fleet: no application, pod, checkpoint, service or Lease."""

    def left() -> list[str]:
        plurals = ("sparkapplications", "pods", "configmaps", "services", "leases")
        found = [(plural, each) for plural in plurals for each in lab.api.items(kind(namespace, plural))]
        names = [f"{plural}/{each['metadata']['name']}" for plural, each in found]
        return [name for name in names if not name.endswith(_OF_KUBERNETES)]

    until(lambda: not left(), f"nothing is left in namespace {namespace}", left)


class Fleet:
    """One application that a task submitted, with Spark played."""

    def __init__(self, life: Life, manifest: Json) -> None:
        self.life = life
        self.name: str = manifest["metadata"]["name"]
        self.uid: str = manifest["metadata"]["uid"]
        self.labels: dict[str, str] = manifest["metadata"]["labels"]
        self.map_index = int(self.labels.get("map_index", -1))
        self.key = ""  # the try that looks after it, as Airflow's scheduler writes it
        self.spark = PlayedSpark(life.kube, manifest, executors=manifest["spec"]["executor"]["instances"])
        life.fleets.append(self)

    def is_looked_after(self) -> None:
        """Play a driver that asks for the executors that are missing, and wait until somebody has placed them all."""
        self.runs()
        self.life.is_known_to_have_deferred(self)

    def runs(self) -> None:
        """The same for one of several applications of a task."""
        if not self.spark.driver_uid:
            self.life.do(self.spark.start_driver())
        self.life.do(self.spark.request_missing())
        until(self._placed, f"the executors of {self.name} are placed", self.life.log)

    def completes(self) -> None:
        """Play the end of the application."""
        self.life.do(self.spark.complete())

    def fails(self, message: str) -> None:
        """Play an application that fails."""
        self.life.do(self.spark.delete_all())
        self.life.do(self.spark.state("FAILED", message))

    def exists(self) -> bool:
        """Whether this very application is there, and nobody deletes it."""
        return any(each["metadata"]["uid"] == self.uid for each in self.life.applications())

    def executors(self) -> set[str]:
        """The UIDs of its executors that nobody deletes."""
        pods = self.life.do(self.spark.pods())
        return {pod.metadata.uid for pod in pods if pod.metadata.deletion_timestamp is None}

    def holder(self) -> str:
        """The controller that looks after it."""
        return str(self.checkpoint()["holder"])

    def checkpoint(self) -> Json:
        """What that has written down."""
        path = kind(self.life.namespace, "configmaps") + f"/spotmix-{self.labels['spotmix.io/fleet']}"
        found: Json = json.loads(self.life.lab.api.get(path)["data"]["checkpoint"])
        return found

    def loses_its_spot_executor(self) -> None:
        """Play an eviction."""
        (spot,) = [pod for pod in self.life.do(self.spark.pods()) if pod.metadata.labels[labels.PLACED_POOL] == "spot"]
        self.life.do(self.spark.evict(spot.metadata.name))

    def gone(self) -> None:
        """Wait until it is deleted."""
        until(lambda: not self.exists(), f"{self.name} is deleted", self.life.log)

    def _placed(self) -> bool:
        pods = self.life.do(self.spark.pods())
        return len(pods) == self.spark.executors and not any(pod.spec.scheduling_gates for pod in pods)


@dataclass
class Life:
    """One run of a DAG with one task, in a namespace of its own."""

    lab: Lab
    airflow: AirflowHarness
    namespace: str
    kube: Kube
    runner: asyncio.Runner
    dag_id: str
    run_id: str = ""
    task_id: str = "fleet"
    fleets: list[Fleet] = field(default_factory=list)

    def begins(self, run_id: str | None = None, **conf: Any) -> None:
        """Trigger the run."""
        conf["namespace"] = self.namespace
        self.run_id = self.airflow.api.trigger(self.dag_id, run_id=run_id, conf=conf)

    def beside(self, dag_id: str, task_id: str) -> Life:
        """A run of another DAG in the same namespace."""
        return replace(self, dag_id=dag_id, task_id=task_id, run_id="", fleets=[])

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the cluster."""
        return self.runner.run(work)

    def applications(self) -> list[Json]:
        """Those that nobody deletes."""
        found = self.lab.api.items(kind(self.namespace, "sparkapplications"))
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def submits(self, *known: Fleet, count: int = 1) -> list[Fleet]:
        """Wait for so many applications that are none of these."""

        def new() -> list[Json]:
            uids = {fleet.uid for fleet in known}
            found = [each for each in self.applications() if each["metadata"]["uid"] not in uids]
            return found if len(found) >= count else []

        found = until(new, "the task submits an application", self.log)
        assert len(found) == count
        return [Fleet(self, manifest) for manifest in found]

    def is_under_way(self, *known: Fleet) -> Fleet:
        """Wait until its fleet, which is none of these, is submitted and looked after."""
        (fleet,) = self.submits(*known)
        fleet.is_looked_after()
        return fleet

    def is_known_to_have_deferred(self, fleet: Fleet) -> None:
        """Wait until the scheduler has heard of the end of the worker's process that deferred.

        Airflow (3.3.2) fails a task that is queued or runs again before that, whatever its operator: "Executor reported
        that the task instance finished with state success, but the task instance's state attribute is running". No
        real application is over so soon, and no person that fast.
        """
        ti = self.airflow.api.task_instance(self.dag_id, self.run_id, self.task_id, map_index=fleet.map_index)
        if ti["state"] == "running":  # in the worker, without a trigger
            return
        fleet.key = key = f"run_id={self.run_id!r}, try_number={ti['try_number']}, map_index={fleet.map_index})"
        # A run that was deleted and created again under its id has the same key.
        deferrals = sum(each.key == key for each in self.fleets)
        log = self.airflow.logs / "scheduler.log"

        def is_known() -> bool:
            lines = log.read_text(errors="replace").splitlines()
            return (
                sum("Received executor event with state success" in line and key in line for line in lines) >= deferrals
            )

        until(is_known, f"the scheduler knows that {key} has deferred")

    def task_is(self, state: str, *, map_index: int = -1) -> None:
        """Wait until the task is in that state."""

        def found() -> bool:
            ti = self.airflow.api.task_instance(self.dag_id, self.run_id, self.task_id, map_index=map_index)
            return str(ti["state"]) == state

        until(found, f"the task is {state}", self.log)

    def mark(self, state: str, *, map_index: int = -1) -> None:
        """Do what a person does."""
        self.airflow.api.mark(self.dag_id, self.run_id, self.task_id, state, map_index=map_index)

    def report(self, *, map_index: int = -1) -> Json:
        """What the task returned."""
        report: Json = self.airflow.api.xcom(self.dag_id, self.run_id, self.task_id, map_index=map_index)
        assert report["namespace"] == self.namespace
        return report

    def log(self, try_number: int = 1, *, map_index: int = -1) -> str:
        """What the task said."""
        return self.airflow.api.task_log(
            self.dag_id, self.run_id, self.task_id, try_number=try_number, map_index=map_index
        )

    def log_has(self, words: str, *, try_number: int = 1) -> None:
        """Wait until that try of the task has begun, and has said so."""

        def said() -> bool:
            ti = self.airflow.api.task_instance(self.dag_id, self.run_id, self.task_id)
            return bool(ti["try_number"] >= try_number) and words in self.log(try_number)

        until(said, f"the log has {words!r}", self.log)

    def gc(self, *options: str, renamed: str = "") -> list[Json]:
        """Run `spotmix gc` as an administrator of this Airflow, which may have got another name since."""
        command = [str(Path(sys.executable).with_name("spotmix")), "gc", "--kubeconfig", str(self.lab.kubeconfig)]
        command += ["--namespace", self.namespace, "--older-than", "0", "--output", "json", *options]
        env = self.airflow.environment() | ({"AIRFLOW__SPOTMIX__INSTANCE": renamed} if renamed else {})
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        found: list[Json] = json.loads(done.stdout)
        return [each for each in found if each["kind"] == "SparkApplication"]

    def succeeded(self, fleet: Fleet | None = None) -> Json:
        """Wait until the task has succeeded, and return its report: of this fleet, which was placed as it should be."""
        self.task_is("success")
        report = self.report()
        assert (report["result"], report["initial"]) == ("succeeded", {"spot": 1, "on-demand": 2})
        assert fleet is None or [each["name"] for each in report["applications"]] == [fleet.name]
        return report

    def failed(self, *said: str, try_number: int = 1) -> None:
        """Wait until the task has failed, and told why in the log of that try."""
        self.task_is("failed")
        log = self.log(try_number)
        assert [words for words in said if words not in log] == [], log


@contextmanager
def life(lab: Lab, airflow: AirflowHarness, dag_id: str, task_id: str = "fleet") -> Iterator[Life]:
    """Live one life, after which nothing may be left."""
    namespace = lab.create_namespace(f"life-{secrets.token_hex(4)}")
    try:
        with asyncio.Runner() as runner:
            with _CONNECTING:
                kube = runner.run(ClusterConfig(config_file=str(lab.kubeconfig)).connect())
            try:
                yield Life(lab, airflow, namespace, kube, runner, dag_id, task_id=task_id)
            finally:
                runner.run(kube.close())
        nothing_left(lab, namespace)
    finally:
        lab.delete_namespace(namespace)
