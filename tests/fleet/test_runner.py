"""The runner on a real API server, with Spark played: place, lose, replace, die, take over, end.

Real Spark is in tests/e2e. Here the cluster is real and quick, so every kind of trouble can be had on purpose.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airflow_provider_spotmix.core import journal
from airflow_provider_spotmix.core.errors import FleetConflictError
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.core.state import FleetState
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
from airflow_provider_spotmix.manifests.labels import IDENTITY
from tests.fleet.test_plan import MIX, application
from tests.support.played_spark import APPLICATIONS, PlayedSpark

pytestmark = pytest.mark.cluster

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

    def control(self) -> asyncio.Task[Report]:
        """Start a controller."""
        work: Coroutine[Any, Any, Report] = run_fleet(
            self.hub,
            self.cluster,
            self.plan.spec,
            tell=lambda message, _: self.told.append(message),
            journal=self.entries.append,
        )
        return asyncio.create_task(work)

    async def until(self, check: Check, what: str) -> list[Pod]:
        """Wait until the executors are as they should be."""
        async with asyncio.timeout(30):
            while True:
                pods = await self.spark.pods()
                if check(pods):
                    return pods
                await asyncio.sleep(0.05)
        raise AssertionError(f"never: {what}; told: {self.told}")

    async def placed(self, **pools: int) -> list[Pod]:
        """Wait until all executors are placed, so many on each pool."""
        expected = {pool.replace("_", "-"): count for pool, count in pools.items()}
        return await self.until(lambda pods: _placed(pods) == expected, f"placed {expected}")

    async def running(self) -> None:
        """Wait until all executors run."""
        await self.until(lambda pods: all(pod.status.phase == "Running" for pod in pods), "all executors run")

    async def heard(self, words: str) -> None:
        """Wait until a person has been told."""
        async with asyncio.timeout(10):
            while not any(words in message for message in self.told):  # noqa: ASYNC110 - told is no event
                await asyncio.sleep(0.01)

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


@pytest.fixture
async def scene(lab: Lab) -> AsyncIterator[Scene]:
    namespace = f"fleet-{uuid.uuid4().hex[:8]}"
    lab.create_namespace(namespace)
    cluster = ClusterConfig(config_file=str(lab.kubeconfig))
    manifest = application()
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
        mix=MIX,
        pools=KARPENTER,
        namespace=namespace,
    )
    hub = Hub.shared()
    async with hub.client(cluster) as kube:
        found = Scene(hub, cluster, kube, plan, PlayedSpark(kube, plan, executors=5))
        await submit(kube, plan, tell=lambda message, _: found.told.append(message))
        await found.spark.state("RUNNING")
        await found.spark.request_missing()
        yield found
        await delete_fleet(kube, plan.spec)
    await hub.close()


@asynccontextmanager
async def controlled(scene: Scene) -> AsyncIterator[asyncio.Task[Report]]:
    """A controller that dies at the end of the block: no farewell, as with kill -9 as far as the cluster can see."""
    task = scene.control()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_executors_are_placed_exactly_and_the_report_says_so(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        await scene.spark.complete()
        report = await run
    assert (report.result, report.target, report.initial) == (
        "succeeded",
        {"spot": 2, "on-demand": 3},
        {"spot": 2, "on-demand": 3},
    )
    assert (report.interruptions, report.replacements) == ([], [])
    assert report.gate_latency_ms["count"] == 5


async def test_what_spot_loses_comes_back_on_on_demand(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        lost = await scene.one_on("spot")
        await scene.spark.evict(lost)
        (replacement,) = await scene.spark.request_missing()
        await scene.placed(spot=1, on_demand=4)
        await scene.spark.complete()
        report = await run
    assert [(i["executor"], i["cause"], i["estimated"]) for i in report.interruptions] == [
        (lost, "spot-interruption", False)
    ]
    assert [(r["executor"], r["replaces"], r["pool"], r["cause"]) for r in report.replacements] == [
        (replacement, lost, "on-demand", "spot-interruption")
    ]


async def test_a_lost_on_demand_executor_comes_back_on_on_demand(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.spark.evict(await scene.one_on("on-demand"))
        await scene.spark.request_missing()
        await scene.placed(spot=2, on_demand=3)
        await scene.spark.complete()
        report = await run
    assert [i["cause"] for i in report.interruptions] == ["infrastructure"]


async def test_a_controller_that_dies_between_loss_and_replacement(scene: Scene) -> None:
    async with controlled(scene):
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        lost = await scene.one_on("spot")
        await scene.spark.evict(lost)
        await scene.until(lambda pods: len(pods) == 4, "the executor is lost")
        await scene.heard("lost ")
    await scene.spark.request_missing()
    async with controlled(scene) as run:
        await scene.placed(spot=1, on_demand=4)
        await scene.spark.complete()
        report = await run
    assert [(i["executor"], i["cause"]) for i in report.interruptions] == [(lost, "spot-interruption")]
    assert [r["pool"] for r in report.replacements] == ["on-demand"]
    assert report.initial == {"spot": 2, "on-demand": 3}


async def test_what_was_lost_while_no_controller_was_there_is_inferred_and_marked(scene: Scene) -> None:
    async with controlled(scene):
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        lost = await scene.one_on("spot")
        await scene.heard("all 5 executors")
    await scene.spark.remove(lost)
    await scene.spark.request_missing()
    async with controlled(scene) as run:
        await scene.placed(spot=1, on_demand=4)
        await scene.spark.complete()
        report = await run
    assert [(i["seat_pool"], i["cause"], i["estimated"]) for i in report.interruptions] == [("spot", "unknown", True)]
    assert [(r["pool"], r["fallback"]) for r in report.replacements] == [("on-demand", True)]


async def test_two_controllers_at_once_are_harmless(scene: Scene) -> None:
    """Both in one process share a Lease; whichever the other fences claims again and finds nothing left to do."""
    async with controlled(scene) as first, controlled(scene) as second:
        await scene.placed(spot=2, on_demand=3)
        await scene.spark.evict(await scene.one_on("spot"))
        await scene.spark.request_missing()
        await scene.placed(spot=1, on_demand=4)
        await scene.spark.complete()
        reports = await asyncio.gather(first, second)
    assert [report.result for report in reports] == ["succeeded", "succeeded"]
    assert [report.initial for report in reports] == [{"spot": 2, "on-demand": 3}] * 2


async def test_an_application_that_someone_deletes_ends_the_fleet_and_its_checkpoint(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.kube.delete(APPLICATIONS, scene.spark.name, scene.spark.namespace)
        report = await run
    assert (report.result, report.message) == ("failed", f"{scene.spark.name} DELETED: its object was deleted")
    # The garbage collector looks for new kinds, such as the operator's, every 30 s: a young lab's first takes as long.
    async with asyncio.timeout(90):
        selector = "spotmix.io/fleet"
        while (await scene.kube.list(CONFIG_MAPS, scene.spark.namespace, label_selector=selector)).items:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def test_a_failed_application_fails_the_fleet_with_the_operators_own_words(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.spark.state("FAILED", "driver container failed with ExitCode: 1")
        report = await run
    assert report.message == f"{scene.spark.name} FAILED: driver container failed with ExitCode: 1"


async def test_submitting_again_adopts_and_a_stranger_is_refused(scene: Scene) -> None:
    told: list[str] = []
    await submit(scene.kube, scene.plan, tell=lambda message, _: told.append(message))
    assert told[0].startswith(f"adopted {scene.spark.name}")
    mine = scene.plan.applications[0]
    metadata = {**mine["metadata"], "annotations": {**mine["metadata"]["annotations"], IDENTITY: "tests/another"}}
    stranger = FleetPlan(spec=scene.plan.spec, applications=({**mine, "metadata": metadata},))
    with pytest.raises(FleetConflictError, match="belongs to tests/"):
        await submit(scene.kube, stranger, tell=lambda message, _: told.append(message))


async def test_the_journal_replays_to_the_same_decisions(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.spark.evict(await scene.one_on("spot"))
        await scene.spark.request_missing()
        await scene.placed(spot=1, on_demand=4)
        await scene.spark.complete()
        await run
    lines = [journal.encode(entry) for entry in scene.entries]
    events = [entry.event for entry in journal.read(lines)]
    _, replayed = journal.replay(FleetState.new(scene.plan.spec), events)
    assert replayed == scene.entries
