"""Plays the operator and the driver of one SparkApplication on a real API server, for tests that need no Spark.

The application is created suspended, so a real operator leaves it alone; its status is written as the operator would.
Executor pods are created gated from the rendered template with the labels that Spark gives them, one for each that is
missing, numbered as Spark numbers them. They sleep; scheduler and nodes are the lab's own.
"""

from __future__ import annotations

import asyncio
import copy
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.kube.client import Kube, PatchType
from airflow_provider_spotmix.kube.errors import NotFound
from airflow_provider_spotmix.kube.objects import Pod, Timestamp
from airflow_provider_spotmix.kube.resources import PODS

APPLICATIONS = Kubeflow.resource


class PlayedSpark:
    """One application's operator and driver."""

    def __init__(self, kube: Kube, manifest: Mapping[str, Any], *, executors: int) -> None:
        self.kube = kube
        self.manifest = manifest
        self.name: str = self.manifest["metadata"]["name"]
        self.namespace: str = self.manifest["metadata"]["namespace"]
        self.submission = f"spark-{uuid.uuid4().hex}"
        self.executors = executors
        self.last_id = 0
        self.driver_uid = ""

    async def state(self, word: str, message: str = "") -> None:
        """Write the application's state as the operator does."""
        await self.is_left_alone()
        state = {"state": word, "errorMessage": message}
        status = {"status": {"applicationState": state, "driverInfo": {"podName": f"{self.name}-driver"}}}
        await self.kube.patch(APPLICATIONS, self.name, status, self.namespace, subresource="status")

    async def is_left_alone(self) -> None:
        """Wait until the real operator has suspended it: until then it overwrites states, and deletes the driver."""
        async with asyncio.timeout(60):
            while await self._word() not in ("SUSPENDED", "COMPLETED", "FAILED"):  # noqa: ASYNC110 - a poll
                await asyncio.sleep(0.02)

    async def _word(self) -> str:
        status = (await self.kube.get(APPLICATIONS, self.name, self.namespace)).status
        return str(status.get("applicationState", {}).get("state", ""))

    async def start_driver(self) -> None:
        """Make a driver as the operator does: it belongs to the application, and the executors to it."""
        await self.is_left_alone()
        owner = (await self.kube.get(APPLICATIONS, self.name, self.namespace)).metadata.uid
        template = self._pod("driver", f"{self.name}-driver", {"spark-role": "driver"})
        template["metadata"]["ownerReferences"] = [
            {"apiVersion": APPLICATIONS.api_version, "kind": APPLICATIONS.kind, "name": self.name, "uid": owner}
        ]
        template["spec"]["terminationGracePeriodSeconds"] = 1
        self.driver_uid = (await self.kube.create(PODS, template, self.namespace)).metadata.uid

    async def driver(self) -> Pod | None:
        """The driver as it is now."""
        with suppress(NotFound):
            return await self.kube.get(PODS, f"{self.name}-driver", self.namespace)
        return None

    async def request_missing(self) -> list[str]:
        """Ask for executors up to the number that is wanted, as Spark's allocator does."""
        pods = await self.pods()
        alive = [pod for pod in pods if pod.status.phase in ("Pending", "Running")]
        created = []
        for _ in range(self.executors - len(alive)):
            self.last_id += 1
            created.append(await self._create(self.last_id))
        return created

    async def _create(self, number: int) -> str:
        name = f"{self.name}-exec-{number}"
        template = self._pod("executor", name, {"spark-role": "executor", "spark-exec-id": str(number)})
        if self.driver_uid:
            owner = {"apiVersion": "v1", "kind": "Pod", "name": f"{self.name}-driver", "uid": self.driver_uid}
            template["metadata"]["ownerReferences"] = [owner]
            template["spec"]["terminationGracePeriodSeconds"] = 1  # `sleep` does not heed the signal
        await self.kube.create(PODS, template, self.namespace)
        return name

    def _pod(self, role: str, name: str, marks: dict[str, str]) -> dict[str, Any]:
        template: dict[str, Any] = copy.deepcopy(self.manifest["spec"][role]["template"])
        template["metadata"]["labels"] |= {**marks, "spark-app-selector": self.submission}
        template["metadata"]["name"] = name
        template["spec"]["containers"][0] |= {"image": "lab/host", "command": ["sleep", "1000"]}
        template["spec"].update(restartPolicy="Never", automountServiceAccountToken=False)
        return template

    async def pods(self) -> list[Pod]:
        """All executor pods of the application."""
        selector = f"spark-role=executor,spark-app-selector={self.submission}"
        listing = await self.kube.list(PODS, self.namespace, label_selector=selector)
        return list(listing.items)

    async def run(self, pod: str) -> None:
        """Wait until the lab's node runs a placed pod."""
        async with asyncio.timeout(30):
            while (await self.kube.get(PODS, pod, self.namespace)).status.phase != "Running":  # noqa: ASYNC110 - a poll
                await asyncio.sleep(0.05)

    async def evict(self, pod: str) -> None:
        """Play an eviction: the condition, then the deletion with its grace period."""
        # Without a time the disruption controller takes it for stale and sets it to False at once.
        now = Timestamp(time.time()).rfc3339_micro()
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "lastTransitionTime": f"{now[:19]}Z",
        }
        status = {"status": {"conditions": [condition]}}  # strategic: the node's own conditions stay
        await self.kube.patch(PODS, pod, status, self.namespace, kind=PatchType.STRATEGIC, subresource="status")
        await self.kube.delete(PODS, pod, self.namespace, grace_period_seconds=0)

    async def remove(self, pod: str) -> None:
        """Delete a pod with nothing that explains it."""
        await self.kube.delete(PODS, pod, self.namespace, grace_period_seconds=0)

    async def delete_all(self) -> None:
        """Play the driver that deletes its executors, or the garbage collector."""
        for pod in await self.pods():
            with suppress(NotFound):
                await self.remove(pod.metadata.name)

    async def complete(self) -> None:
        """Play the end of the application: the driver deletes its executors, then the operator says so."""
        await self.delete_all()
        await self.state("COMPLETED")
