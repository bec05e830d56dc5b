"""The runner on a real API server, with Spark played: place, lose, replace, die, take over, end.

Real Spark is in tests/e2e. Here the cluster is real and quick, so every kind of trouble can be had on purpose.
"""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_spotmix.core import journal
from airflow_provider_spotmix.core.errors import FleetConflictError
from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, EVENTS
from airflow_provider_spotmix.manifests.labels import IDENTITY
from tests.fleet.scene import Scene, controlled
from tests.support.played_spark import APPLICATIONS

pytestmark = pytest.mark.cluster


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


async def test_its_events_tell_what_was_done_and_why(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        lost = await scene.one_on("spot")
        await scene.spark.evict(lost)
        (replacement,) = await scene.spark.request_missing()
        await scene.placed(spot=1, on_demand=4)
        await scene.spark.complete()
        await run
    (uid,) = {app.metadata.uid for app in (await scene.kube.list(APPLICATIONS, scene.spark.namespace)).items}
    events = (await scene.kube.list(EVENTS, scene.spark.namespace, field_selector=f"involvedObject.uid={uid}")).items
    ours = {event.reason: event for event in events if event.reporting_component == "spotmix"}
    assert {reason: (event.type, event.count) for reason, event in ours.items()} == {
        "ExecutorsPlaced": ("Normal", 1),
        "ExecutorLost": ("Warning", 1),
        "ExecutorReplaced": ("Normal", 1),
        "FleetSucceeded": ("Normal", 1),
    }
    assert ours["ExecutorsPlaced"].message == "all 5 executors are placed: 2 spot, 3 on-demand"
    assert ours["ExecutorLost"].message.startswith(f"lost {lost} (seat 1, spot) on node ")
    assert ours["ExecutorReplaced"].message == (
        f"{replacement} replaces {lost} on on-demand (fallback of a spot seat: spot-interruption)"
    )


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
        await scene.written(lambda checkpoint: len(checkpoint.losses) == 1)
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
        await scene.written(lambda checkpoint: checkpoint.initial is not None)
    await scene.spark.remove(lost)
    await scene.spark.request_missing()
    async with controlled(scene) as run:
        await scene.placed(spot=1, on_demand=4)
        await scene.spark.complete()
        report = await run
    assert [(i["seat_pool"], i["cause"], i["estimated"]) for i in report.interruptions] == [("spot", "unknown", True)]
    assert [(r["pool"], r["fallback"]) for r in report.replacements] == [("on-demand", True)]


@pytest.mark.parametrize("elsewhere", [pytest.param(False, id="one-process"), pytest.param(True, id="two-processes")])
async def test_two_controllers_at_once_are_harmless(scene: Scene, elsewhere: bool) -> None:
    """The second waits for the first to end, and finds nothing left to do."""
    other = Hub() if elsewhere else scene.hub
    async with controlled(scene) as first:
        await scene.placed(spot=2, on_demand=3)
        async with controlled(scene, hub=other) as second:
            await scene.spark.evict(await scene.one_on("spot"))
            await scene.spark.request_missing()
            await scene.placed(spot=1, on_demand=4)
            await scene.spark.complete()
            reports = await asyncio.gather(first, second)
    if elsewhere:
        await other.close()
    assert [report.result for report in reports] == ["succeeded", "succeeded"]
    assert [report.initial for report in reports] == [{"spot": 2, "on-demand": 3}] * 2
    assert len(reports[1].replacements) == 1


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
