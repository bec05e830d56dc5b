"""Plays the operator and the driver of one SparkApplication, to the API server as like the real ones as matters here.

What is modelled: executors asked for in batches, numbered upwards within a submission; a replacement once the doomed
pod has left Running; dead peers given up after missed heartbeats; the budget of failures; a driver that is started
again; dynamic allocation that lets the newest go. Unlike tests/support/played_spark.py it needs no real kubelet.
"""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import Conflict, Forbidden, KubeError, NotFound
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import PODS
from tests.chaos.machines import SAFE_LABEL

APPLICATIONS = Kubeflow.resource
POLL_SECONDS = 0.25
HEARTBEATS_SECONDS = 3.0  # 120 in the real Spark

Pods = Callable[[], list[Pod]]


class Spark:
    """One application's operator and driver. ``pods``: all pods of its namespace as they are now."""

    def __init__(
        self, operator: Kube, driver: Kube, manifest: Mapping[str, Any], pods: Pods, *, executors: int, batch: int
    ) -> None:
        self._operator = operator
        self._driver = driver
        self._manifest = manifest
        self._pods = pods
        self._batch = batch
        self.wanted = executors
        self.name: str = manifest["metadata"]["name"]
        self._namespace: str = manifest["metadata"]["namespace"]
        self.max_failures = max(3, 2 * executors)
        self._failed: set[str] = set()
        self._dying: dict[str, float] = {}
        self.submission = ""
        self._attempts = 0
        self._last_id = 0
        self._driver_uid = ""
        self._application_uid = ""
        self._restarting = asyncio.Lock()
        self.over = False

    # -- the operator

    async def submit(self, after_seconds: float = 0.0) -> None:
        """See the application, and make its driver; again after a driver's end."""
        await asyncio.sleep(after_seconds)
        try:
            await self._submit()
        except (NotFound, Forbidden):
            if not self.over:  # somebody has deleted the application, or its namespace
                raise

    async def _submit(self) -> None:
        found = await self._operator.get(APPLICATIONS, self.name, self._namespace)
        self._application_uid = found.metadata.uid
        self._attempts += 1
        await self._say("SUBMITTED")
        self.submission, self._last_id = f"spark-{uuid.uuid4().hex}", 0
        body = self._pod("driver", f"{self.name}-driver", {"spark-role": "driver"})
        body["metadata"]["ownerReferences"] = [
            {
                "apiVersion": APPLICATIONS.api_version,
                "kind": APPLICATIONS.kind,
                "name": self.name,
                "uid": found.metadata.uid,
            }
        ]
        body["spec"]["nodeSelector"] = {**(body["spec"].get("nodeSelector") or {}), SAFE_LABEL: "yes"}
        self._driver_uid = (await self._operator.create(PODS, body, self._namespace)).metadata.uid
        while not self._driver_runs():  # noqa: ASYNC110 - a poll
            await asyncio.sleep(POLL_SECONDS)
        await self._say("RUNNING")

    async def restart_driver(self) -> None:
        """The driver is gone; the operator starts it again, as a new submission."""
        async with self._restarting:
            await self._restart()

    async def _restart(self) -> None:
        self.submission = ""
        with suppress(NotFound):
            await self._operator.delete(PODS, f"{self.name}-driver", self._namespace, grace_period_seconds=0)
        await self._say("PENDING_RERUN")
        while any(pod.metadata.uid == self._driver_uid for pod in self._pods()):  # noqa: ASYNC110 - a poll
            await asyncio.sleep(POLL_SECONDS)
        await self.submit()

    async def end(self, word: str, message: str = "") -> None:
        """The driver deletes its executors and ends; the operator says how."""
        if self.over:
            return
        self.over = True
        for pod in self.executors():
            await self._delete(pod)
        await asyncio.sleep(POLL_SECONDS)
        await self._say(word, message)

    async def _say(self, word: str, message: str = "") -> None:
        state = {"state": word, "errorMessage": message}
        status: dict[str, Any] = {"applicationState": state, "driverInfo": {"podName": f"{self.name}-driver"}}
        status["executionAttempts"] = self._attempts
        with suppress(NotFound):
            await self._operator.patch(
                APPLICATIONS, self.name, {"status": status}, self._namespace, subresource="status"
            )

    # -- the driver

    def _driver_runs(self) -> bool:
        mine = [pod for pod in self._pods() if pod.metadata.uid == self._driver_uid]
        return any(pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None for pod in mine)

    def executors(self) -> list[Pod]:
        """Executors of the current submission."""
        return [
            pod
            for pod in self._pods()
            if pod.metadata.labels.get("spark-app-selector") == self.submission
            and pod.metadata.labels.get("spark-role") == "executor"
        ]

    @property
    def has_all(self) -> bool:
        """Whether as many executors as are wanted run, and none is about to go."""
        live = [pod for pod in self.executors() if pod.metadata.deletion_timestamp is None]
        return len(live) == self.wanted and all(pod.status.phase == "Running" for pod in live)

    async def run(self, is_alive: Callable[[str], bool]) -> None:
        """Be the driver, whenever there is one, until the application is over. ``is_alive``: of a node."""
        while not self.over:
            await asyncio.sleep(POLL_SECONDS)
            if not self.submission or not self._driver_runs():
                continue
            with suppress(KubeError):  # a quota, an application that is being deleted: asked again
                await self._look_after(is_alive)

    async def _look_after(self, is_alive: Callable[[str], bool]) -> None:
        loop = asyncio.get_running_loop()
        for pod in self.executors():
            uid, deleting = pod.metadata.uid, pod.metadata.deletion_timestamp is not None
            if pod.status.phase == "Failed" and not deleting and uid not in self._failed:
                self._failed.add(uid)
                await self._delete(pod)
            elif pod.status.phase == "Running" and not deleting and not is_alive(pod.spec.node_name):
                silent_since = self._dying.setdefault(uid, loop.time())
                if loop.time() - silent_since > HEARTBEATS_SECONDS:
                    await self._delete(pod)
        if len(self._failed) > self.max_failures:
            await self.end("FAILED", f"Max number of executor failures ({self.max_failures}) reached")
            return
        counted = [pod for pod in self.executors() if _counts(pod)]
        for pod in sorted(counted, key=_number)[self.wanted :]:  # dynamic allocation: too many
            await self._delete(pod)
        for _ in range(min(self._batch, self.wanted - len(counted))):
            await self._create(self._last_id + 1)
            self._last_id += 1

    async def _create(self, number: int) -> None:
        name = f"{self.name}-{self.submission[-8:]}-exec-{number}"
        body = self._pod("executor", name, {"spark-role": "executor", "spark-exec-id": str(number)})
        owner = {"apiVersion": "v1", "kind": "Pod", "name": f"{self.name}-driver", "uid": self._driver_uid}
        body["metadata"]["ownerReferences"] = [owner]
        await self._driver.create(PODS, body, self._namespace)
        with suppress(TimeoutError):
            async with asyncio.timeout(5):  # Spark too waits for its own snapshot
                while not any(pod.metadata.name == name for pod in self._pods()):  # noqa: ASYNC110 - a poll
                    await asyncio.sleep(0.02)

    async def _delete(self, pod: Pod) -> None:
        with suppress(NotFound, Conflict, Forbidden):
            await self._driver.delete(PODS, pod.metadata.name, self._namespace, uid=pod.metadata.uid)

    def _pod(self, role: str, name: str, marks: dict[str, str]) -> dict[str, Any]:
        template: dict[str, Any] = copy.deepcopy(self._manifest["spec"][role]["template"])
        template["metadata"]["labels"] |= {**marks, "spark-app-selector": self.submission}
        template["metadata"]["name"] = name
        template["spec"]["containers"][0] |= {"image": "played"}
        template["spec"].update(restartPolicy="Never", automountServiceAccountToken=False)
        return template


def _counts(pod: Pod) -> bool:
    """Whether Spark takes it for there: one that is deleted counts until it leaves Running."""
    if pod.status.phase == "Running":
        return True
    return pod.status.phase == "Pending" and pod.metadata.deletion_timestamp is None


def _number(pod: Pod) -> int:
    return int(pod.metadata.labels["spark-exec-id"])
