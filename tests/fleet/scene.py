"""A submitted application on a real API server, with Spark played, and controllers to look after it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import journal
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.plan import FleetPlan, plan_fleet
from airflow_provider_spotmix.fleet.report import Report
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.fleet.submit import delete_fleet, submit
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests.identity import Identity
from tests.fleet.test_plan import MIX, application
from tests.support.played_spark import PlayedSpark

Check = Callable[[list[Pod]], bool]


class Scene:
    """A submitted application with Spark played, and controllers to look after it."""

    def __init__(self, hub: Hub, cluster: ClusterConfig, kube: Kube, plan: FleetPlan, spark: PlayedSpark) -> None:
        self.hub = hub
        self.cluster = cluster
        self.kube = kube
        self.plan = plan
        self.spark = spark
        self.told: list[str] = []
        self.entries: list[journal.Entry] = []

    def control(self, hub: Hub | None = None, cluster: Any = None) -> asyncio.Task[Report]:
        """Start a controller; one with a hub of its own is as good as one in another process."""
        work: Coroutine[Any, Any, Report] = run_fleet(
            hub or self.hub,
            cluster or self.cluster,
            self.plan.spec,
            tell=lambda message, _: self.told.append(message),
            journal=self.entries.append,
        )
        return asyncio.create_task(work)

    async def until(self, check: Check, what: str, seconds: float = 30) -> list[Pod]:
        """Wait until the executors are as they should be."""
        give_up = time.monotonic() + seconds
        while True:
            pods = await self.spark.pods()
            if check(pods):
                return pods
            if time.monotonic() > give_up:
                here = [(pod.metadata.name, pod.spec.node_name, pod.status.phase) for pod in pods]
                raise AssertionError(f"never: {what}; there are {here}; told: {self.told}")
            await asyncio.sleep(0.05)

    async def placed(self, **pools: int) -> list[Pod]:
        """Wait until all executors are placed, so many on each pool."""
        expected = {pool.replace("_", "-"): count for pool, count in pools.items() if count}
        return await self.until(lambda pods: _placed(pods) == expected, f"placed {expected}")

    async def running(self) -> None:
        """Wait until all executors run."""
        await self.until(lambda pods: all(pod.status.phase == "Running" for pod in pods), "all executors run")

    async def heard(self, words: str, seconds: float = 10) -> None:
        """Wait until a person has been told."""
        async with asyncio.timeout(seconds):
            while not any(words in message for message in self.told):  # noqa: ASYNC110 - told is no event
                await asyncio.sleep(0.01)

    async def checkpoint(self) -> cp.Checkpoint | None:
        """What is written down now."""
        found = (await self.kube.list(CONFIG_MAPS, self.spark.namespace, label_selector="spotmix.io/fleet")).items
        return cp.decode(found[0].data["checkpoint"]) if found else None

    async def written(self, check: Callable[[cp.Checkpoint], bool]) -> None:
        """Wait until the checkpoint says so."""
        async with asyncio.timeout(20):
            while not ((found := await self.checkpoint()) and check(found)):  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.02)

    async def one_on(self, pool: str) -> str:
        """Name of an executor on that pool."""
        pods = await self.spark.pods()
        return next(p.metadata.name for p in pods if p.metadata.labels["spotmix.io/placed-pool"] == pool)


def _placed(pods: list[Pod]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pod in pods:
        pool = "waiting" if pod.spec.scheduling_gates else pod.spec.node_selector["karpenter.sh/capacity-type"]
        counts[pool] = counts.get(pool, 0) + 1
    return counts


@asynccontextmanager
async def staged(lab: Lab, manifest: dict[str, Any] | None = None, **arguments: Any) -> AsyncIterator[Scene]:
    """Submit an application and ask for its executors; delete it at the end.

    With further ``arguments`` of the plan nothing is asked for yet.
    """
    namespace = f"fleet-{uuid.uuid4().hex[:8]}"
    lab.create_namespace(namespace)
    cluster = ClusterConfig(config_file=str(lab.kubeconfig))
    manifest = manifest or application()
    executors = manifest["spec"]["executor"]["instances"]
    manifest["spec"] |= {
        "suspend": True,  # the lab's operator leaves it alone
        "type": "Python",
        "mode": "cluster",
        "sparkVersion": "4.0.4",
        "mainApplicationFile": "local:///opt/app/none.py",
    }
    plan = plan_fleet(
        manifest,
        identity=Identity(instance="tests", task_instance=str(uuid.uuid4())),
        namespace=namespace,
        **{"mix": MIX, "pools": KARPENTER, **arguments},
    )
    hub = Hub.shared()
    async with hub.client(cluster) as kube:
        found = Scene(hub, cluster, kube, plan, PlayedSpark(kube, plan.applications[0], executors=executors))
        await submit(kube, plan, tell=lambda message, _: found.told.append(message))
        if not arguments:
            await found.spark.state("RUNNING")
            await found.spark.request_missing()
        yield found
        await delete_fleet(kube, plan.spec)
    await hub.close()
    lab.delete_namespace(namespace)


@asynccontextmanager
async def controlled(scene: Scene, **others: Any) -> AsyncIterator[asyncio.Task[Report]]:
    """A controller that dies at the end of the block: no farewell, as with kill -9 as far as the cluster can see."""
    task = scene.control(**others)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
