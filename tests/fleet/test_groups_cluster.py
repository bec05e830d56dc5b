"""Groups on a real API server, with Spark played: submit, lose, submit again, die in between, kill, end.

The garbage collector is real: a driver goes with its application, executors go with their driver.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.actions import Resubmit
from airflow_provider_spotmix.core.events import ResubmitVoid
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import KARPENTER, CapacityType, Pool
from airflow_provider_spotmix.core.spec import ApplicationSpec
from airflow_provider_spotmix.fleet.resubmit import resubmit
from airflow_provider_spotmix.fleet.submit import delete_fleet, submit
from airflow_provider_spotmix.kube.errors import NotFound
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests import labels
from tests.fleet.scene import Scene, controlled, staged
from tests.fleet.test_plan import application
from tests.support.played_spark import APPLICATIONS, PlayedSpark

pytestmark = pytest.mark.cluster

SPOT, ON_DEMAND = KARPENTER
NOWHERE = Pool(name="spot", capacity_type=CapacityType.SPOT, node_selector={"capacity": "never"})


class Groups:
    """A group on spot with one executor, one on on-demand with two."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.spec = scene.plan.spec
        (self.spot, self.on_demand), (self.again,) = self.spec.first_attempts, self.spec.second_attempts
        self.played: dict[str, PlayedSpark] = {}

    async def start(self, application: ApplicationSpec) -> PlayedSpark:
        """Play what the operator and Spark do of an application that is there."""
        found = await self.until(lambda: self.find(application), f"{application.name} is there")
        meta = {"name": application.name, "namespace": found.metadata.namespace}
        spark = PlayedSpark(self.scene.kube, {"metadata": meta, "spec": found.spec}, executors=application.executors)
        await spark.start_driver()
        self.played[application.name] = spark
        return spark

    async def run(self, application: ApplicationSpec) -> PlayedSpark:
        spark = await self.start(application)
        for pod in await spark.request_missing():
            if self.spec.pool(application.pool) is not NOWHERE:
                await spark.run(pod)
        return spark

    async def fail_on_spot(self) -> None:
        """Spot takes the group's executor, and Spark gives up."""
        spark = self.played[self.spot.name]
        (pod,) = await spark.pods()
        await spark.evict(pod.metadata.name)
        await self.scene.heard("lost")
        await spark.state("FAILED", "too many executor failures")

    async def find(self, application: ApplicationSpec) -> Raw | None:
        try:
            return await self.scene.kube.get(APPLICATIONS, application.name, self.spec.namespace)
        except NotFound:
            return None

    async def until(self, check: Callable[[], Coroutine[Any, Any, Any]], what: str) -> Any:
        try:
            async with asyncio.timeout(60):
                while not (found := await check()):  # noqa: ASYNC110 - a poll
                    await asyncio.sleep(0.05)
                return found
        except TimeoutError:
            raise AssertionError(f"never: {what}; told: {self.scene.told}") from None

    async def runs(self, spark: PlayedSpark) -> bool:
        """Whether nothing keeps the driver from running."""
        driver = await spark.driver()
        return driver is not None and not driver.spec.scheduling_gates and driver.status.phase == "Running"

    async def has_pods(self, application: ApplicationSpec) -> bool:
        selector = f"{labels.APPLICATION}={application.name}"
        return bool((await self.scene.kube.list(PODS, self.spec.namespace, label_selector=selector)).items)

    async def take_over_from_spot(self) -> PlayedSpark:
        """Play the second attempt from its creation on; it runs only when nothing is left of the first."""
        spark = await self.start(self.again)
        assert not await self.runs(spark) or not await self.has_pods(self.spot)
        while not await self.runs(spark):  # noqa: ASYNC110 - a poll
            await asyncio.sleep(0.02)
        assert not await self.has_pods(self.spot), "both attempts run"
        assert await self.find(self.spot) is None
        await spark.request_missing()
        return spark


@asynccontextmanager
async def on_stage(lab: Lab, **arguments: Any) -> AsyncIterator[Groups]:
    manifest = application()
    manifest["spec"]["executor"]["instances"] = 3
    async with staged(lab, manifest, placement="groups", **arguments) as scene:
        yield Groups(scene)


@pytest.fixture
async def groups(lab: Lab) -> AsyncIterator[Groups]:
    async with on_stage(lab) as found:
        yield found


async def test_groups_run_side_by_side_and_are_reported_together(groups: Groups) -> None:
    async with controlled(groups.scene) as fleet, asyncio.timeout(90):
        spot, on_demand = [await groups.run(each) for each in (groups.spot, groups.on_demand)]
        await groups.scene.heard("all 3 executors are placed: 1 spot, 2 on-demand")
        for spark in (spot, on_demand):
            await spark.complete()
        report = await fleet
    assert (report.result, report.target, report.initial) == (
        "succeeded",
        {"spot": 1, "on-demand": 2},
        {"spot": 1, "on-demand": 2},
    )
    assert [(a["group"], a["pool"], a["attempt"], a["state"]) for a in report.applications] == [
        ("spot", "spot", 1, "COMPLETED"),
        ("on-demand", "on-demand", 1, "COMPLETED"),
    ]
    assert (report.resubmissions, report.interruptions) == ([], [])


async def test_a_lost_group_is_submitted_again_on_on_demand(groups: Groups) -> None:
    async with controlled(groups.scene) as fleet, asyncio.timeout(120):
        await groups.run(groups.spot)
        on_demand = await groups.run(groups.on_demand)
        await groups.scene.heard("all 3 executors are placed")
        await groups.fail_on_spot()
        again = await groups.take_over_from_spot()
        (executor,) = await again.pods()
        assert executor.spec.node_selector == ON_DEMAND.node_selector
        for spark in (again, on_demand):
            await spark.complete()
        report = await fleet
    assert report.result == "succeeded"
    assert [(a["group"], a["pool"], a["attempt"], a["state"]) for a in report.applications] == [
        ("spot", "spot", 1, "FAILED"),
        ("on-demand", "on-demand", 1, "COMPLETED"),
        ("spot", "on-demand", 2, "COMPLETED"),
    ]
    (resubmission,) = report.resubmissions
    assert (resubmission["group"], resubmission["cause"], resubmission["from_pool"], resubmission["pool"]) == (
        "spot",
        "lost",
        "spot",
        "on-demand",
    )


async def test_a_group_for_which_no_spot_comes_is_submitted_again(lab: Lab) -> None:
    patience = Policy(group_lost_seconds=2)
    async with (
        on_stage(lab, pools=(NOWHERE, ON_DEMAND), policy=patience) as groups,
        controlled(groups.scene) as fleet,
        asyncio.timeout(120),
    ):
        await groups.run(groups.spot)
        on_demand = await groups.run(groups.on_demand)
        again = await groups.take_over_from_spot()
        for spark in (again, on_demand):
            await spark.complete()
        report = await fleet
    assert (report.result, [each["cause"] for each in report.resubmissions]) == ("succeeded", ["starved"])


async def _decided(groups: Groups) -> None:
    """Nothing has been done yet, only the loss is written down."""


async def _created(groups: Groups) -> None:
    live = await groups.find(groups.spot)
    assert live
    moved = Kubeflow().moved(live, name=groups.again.name, from_pool=SPOT, to_pool=ON_DEMAND)
    await groups.scene.kube.create(APPLICATIONS, moved, groups.spec.namespace)


async def _deleted(groups: Groups) -> None:
    await _created(groups)
    await groups.scene.kube.delete(
        APPLICATIONS, groups.spot.name, groups.spec.namespace, propagation_policy="Background"
    )


async def _emptied(groups: Groups) -> None:
    await _deleted(groups)

    async def empty() -> bool:
        return not await groups.has_pods(groups.spot)

    await groups.until(empty, "nothing is left of the first attempt")


@pytest.mark.parametrize("step", [_decided, _created, _deleted, _emptied])
async def test_a_controller_that_dies_after_any_step_is_followed_by_one_that_goes_on(
    groups: Groups, step: Callable[[Groups], Coroutine[Any, Any, None]]
) -> None:
    async with controlled(groups.scene), asyncio.timeout(90):
        await groups.run(groups.spot)
        on_demand = await groups.run(groups.on_demand)
        await groups.scene.heard("all 3 executors are placed")
        (pod,) = await groups.played[groups.spot.name].pods()
        await groups.played[groups.spot.name].evict(pod.metadata.name)
        await groups.scene.written(lambda saved: len(saved.losses) == 1)
    await groups.played[groups.spot.name].state("FAILED")
    await step(groups)
    async with controlled(groups.scene) as fleet, asyncio.timeout(120):
        again = await groups.take_over_from_spot()
        for spark in (again, on_demand):
            await spark.complete()
        report = await fleet
    assert (report.result, len(report.resubmissions)) == ("succeeded", 1)


async def test_one_that_succeeds_in_the_last_moment_is_kept(groups: Groups) -> None:
    spark = await groups.run(groups.spot)
    await _created(groups)
    await spark.state("COMPLETED")
    action = Resubmit(
        cause="c", application=groups.spot.name, replacement=groups.again.name, from_pool="spot", pool="on-demand"
    )
    answer = await resubmit(groups.scene.kube, groups.spec, action, at=1.0)
    assert answer == ResubmitVoid(
        at=1.0, application=groups.spot.name, succeeded=True, reason="it has succeeded after all"
    )
    assert (await groups.find(groups.again), (await groups.find(groups.spot)) is not None) == (None, True)


async def test_submitting_again_does_not_bring_back_what_was_lost(groups: Groups) -> None:
    await groups.run(groups.spot)
    await _emptied(groups)
    await submit(groups.scene.kube, groups.scene.plan, tell=lambda *_: None)
    assert (await groups.find(groups.spot), await groups.find(groups.again) is not None) == (None, True)


async def test_a_kill_in_the_middle_of_it_leaves_nothing(groups: Groups) -> None:
    await groups.run(groups.spot)
    await groups.run(groups.on_demand)
    await _created(groups)
    await groups.start(groups.again)
    await delete_fleet(groups.scene.kube, groups.spec)

    async def nothing_left() -> bool:
        return not (await groups.scene.kube.list(PODS, groups.spec.namespace, label_selector=labels.FLEET)).items

    assert [await groups.find(each) for each in groups.spec.applications] == [None] * 3
    await groups.until(nothing_left, "all pods are gone")


async def test_the_fleet_ends_with_the_first_success_and_deletes_the_others(lab: Lab) -> None:
    async with on_stage(lab, quorum=1) as groups:
        async with controlled(groups.scene) as fleet, asyncio.timeout(90):
            await groups.run(groups.spot)
            on_demand = await groups.run(groups.on_demand)
            await on_demand.complete()
            report = await fleet
        assert report.result == "succeeded"
        assert await groups.find(groups.spot) is None
        assert await groups.find(groups.on_demand) is not None, "what is over may be kept"
