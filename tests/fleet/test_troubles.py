"""The runner in trouble, on a real API server: dead nodes, outages, rivals, and people who delete things."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from airflow_provider_spotmix.fleet.hold import CONCURRENT_CALLS
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.lease import DURATION_SECONDS
from airflow_provider_spotmix.kube.client import Kube, PatchType
from airflow_provider_spotmix.kube.clock import ServerClock
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES, NODES
from airflow_provider_spotmix.kube.retry import Limits
from airflow_provider_spotmix.lab.lab import Lab
from tests.fleet.scene import Scene, controlled, staged
from tests.fleet.test_plan import application
from tests.kube.proxy import proxied
from tests.support.played_spark import APPLICATIONS

pytestmark = pytest.mark.cluster

IMPATIENT = Limits(connect_seconds=1, call_seconds=2, attempts=2, watch_seconds=2, watch_slack_seconds=1)


@pytest.mark.parametrize("notice", ["node-deleted", "node-not-ready"])
async def test_executors_of_a_dead_node_are_rescued(scene: Scene, lab: Lab, notice: str) -> None:
    """Nobody but us removes them: the kubelet that would confirm their end is gone."""
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        lost = await scene.one_on("spot")
        node = next(pod.spec.node_name for pod in await scene.spark.pods() if pod.metadata.name == lost)
        doomed = [pod.metadata.name for pod in await scene.spark.pods() if pod.spec.node_name == node]
        try:
            await asyncio.to_thread(lab.interrupt, node, "node-death", 0)
            if notice == "node-deleted":
                await scene.kube.delete(NODES, node)
            else:
                status = {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}
                body = {"status": status}
                await scene.kube.patch(NODES, node, body, kind=PatchType.STRATEGIC, subresource="status")
            await scene.until(
                lambda pods: not {pod.metadata.name for pod in pods} & set(doomed), f"{doomed} are removed", seconds=40
            )
            await scene.spark.request_missing()
            await scene.placed(spot=2 - len(doomed), on_demand=3 + len(doomed))
            await scene.spark.complete()
            report = await run
        finally:
            await asyncio.to_thread(lab.restore, node)
    assert {each["cause"] for each in report.interruptions} == {"spot-interruption"}
    assert sorted(each["executor"] for each in report.interruptions) == sorted(doomed)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """One of another process, as far as the cluster can see."""
    hub = Hub()
    yield hub
    await hub.close()


async def test_an_api_server_that_is_away_at_the_start_is_waited_for(scene: Scene, hub: Hub) -> None:
    async with proxied(scene.cluster, IMPATIENT) as (proxy, cluster):
        proxy.refusing = True
        async with controlled(scene, hub=hub, cluster=cluster) as run:
            await scene.heard("the fleet is left alone for now")
            proxy.refusing = False
            await scene.placed(spot=2, on_demand=3)
            await scene.spark.complete()
            assert (await run).succeeded
        await hub.close()


async def test_an_outage_longer_than_the_lease_loses_nothing(scene: Scene, hub: Hub) -> None:
    async with proxied(scene.cluster, IMPATIENT) as (proxy, cluster):
        async with controlled(scene, hub=hub, cluster=cluster) as run:
            await scene.placed(spot=2, on_demand=3)
            await scene.written(lambda checkpoint: checkpoint.initial is not None)
            proxy.refusing = True
            proxy.cut()
            lost = await scene.one_on("spot")
            await scene.spark.evict(lost)
            await scene.spark.request_missing()
            await asyncio.sleep(DURATION_SECONDS + 2)  # the time itself is what this is about
            proxy.refusing = False
            await scene.placed(spot=1, on_demand=4)
            await scene.spark.complete()
            report = await run
        await hub.close()
    assert (report.result, len(report.interruptions)) == ("succeeded", 1)
    assert [each["pool"] for each in report.replacements] == ["on-demand"]


async def test_a_lease_that_someone_deletes_is_taken_again_before_anything_is_done(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        for lease in (await scene.kube.list(LEASES, scene.spark.namespace)).items:
            await scene.kube.delete(LEASES, lease.metadata.name, scene.spark.namespace)
        async with asyncio.timeout(10):
            while not (await scene.kube.list(LEASES, scene.spark.namespace)).items:  # noqa: ASYNC110 - elsewhere
                await asyncio.sleep(0.1)
        await scene.spark.evict(await scene.one_on("spot"))
        await scene.spark.request_missing()
        await scene.placed(spot=1, on_demand=4)
        await scene.heard("lost hold of the fleet")
        await scene.spark.complete()
        report = await run
    assert [each["pool"] for each in report.replacements] == ["on-demand"]


async def test_a_checkpoint_that_someone_deletes_is_written_again(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.written(lambda checkpoint: checkpoint.initial is not None)
        (found,) = (await scene.kube.list(CONFIG_MAPS, scene.spark.namespace, label_selector="spotmix.io/fleet")).items
        await scene.kube.delete(CONFIG_MAPS, found.metadata.name, scene.spark.namespace)
        await scene.written(lambda checkpoint: checkpoint.initial is not None)  # at once
        await scene.spark.evict(await scene.one_on("spot"))
        await scene.written(lambda checkpoint: len(checkpoint.losses) == 1 and checkpoint.initial is not None)
        await scene.spark.complete()
        assert (await run).succeeded
    assert not any("lost hold" in message for message in scene.told)


async def test_a_person_who_annotates_the_checkpoint_does_no_harm(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.written(lambda checkpoint: checkpoint.initial is not None)
        (found,) = (await scene.kube.list(CONFIG_MAPS, scene.spark.namespace, label_selector="spotmix.io/fleet")).items
        await scene.kube.patch(
            CONFIG_MAPS, found.metadata.name, {"metadata": {"annotations": {"a": "b"}}}, scene.spark.namespace
        )
        await scene.spark.evict(await scene.one_on("spot"))
        await scene.written(lambda checkpoint: len(checkpoint.losses) == 1)
        await scene.spark.complete()
        assert (await run).succeeded
    assert not any("lost hold" in message for message in scene.told)


async def test_an_application_that_loses_its_label_is_still_looked_after(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        unlabelled = {"metadata": {"labels": {"spotmix.io/fleet": None}}}
        await scene.kube.patch(APPLICATIONS, scene.spark.name, unlabelled, scene.spark.namespace)
        await scene.spark.evict(await scene.one_on("spot"))
        await scene.spark.request_missing()
        await scene.placed(spot=1, on_demand=4)
        await scene.spark.complete()
        assert (await run).succeeded
    await scene.kube.delete(APPLICATIONS, scene.spark.name, scene.spark.namespace)


async def test_an_application_that_someone_replaces_is_not_ours(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.kube.delete(APPLICATIONS, scene.spark.name, scene.spark.namespace)
        await scene.kube.create(APPLICATIONS, scene.plan.applications[0], scene.spark.namespace)
        report = await run
    assert report.message == f"{scene.spark.name} DELETED: its object was deleted"


async def test_a_killed_controllers_fleet_is_taken_over_when_its_lease_has_expired(scene: Scene, lab: Lab) -> None:
    spec = msgspec.json.encode(scene.plan.spec).decode()
    module = "tests.fleet.controller_process"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, str(lab.kubeconfig), spec, stdout=asyncio.subprocess.PIPE
    )
    try:
        await scene.placed(spot=2, on_demand=3)
        await scene.written(lambda checkpoint: checkpoint.initial is not None)
    finally:
        process.kill()
        await process.wait()
    killed_at = time.monotonic()
    await scene.spark.evict(await scene.one_on("spot"))
    await scene.spark.request_missing()
    async with controlled(scene) as run:
        await scene.placed(spot=1, on_demand=4)
        seconds = time.monotonic() - killed_at
        await scene.spark.complete()
        report = await run
    print(f"taken over {seconds:.1f} s after the kill")
    assert seconds < DURATION_SECONDS + 4
    assert report.initial == {"spot": 2, "on-demand": 3}
    assert [each["pool"] for each in report.replacements] == ["on-demand"]
    leases = (await scene.kube.list(LEASES, scene.spark.namespace)).items
    assert leases == ()


async def test_a_cancelled_run_leaves_no_task_and_no_lease(scene: Scene) -> None:
    hub = Hub()
    before = asyncio.all_tasks()
    async with controlled(scene, hub=hub):
        await scene.placed(spot=2, on_demand=3)
    assert (await scene.kube.list(LEASES, scene.spark.namespace)).items == ()
    await hub.close()
    assert asyncio.all_tasks() - before == set()


@pytest.fixture
async def crowd(lab: Lab) -> AsyncIterator[Scene]:
    """200 executors that no scheduler binds: placing them is what this is about."""
    template = {"spec": {"schedulerName": "nobody"}}
    async with staged(lab, application(instances=200, template=template)) as scene:
        yield scene


async def test_two_hundred_executors_are_placed_exactly_and_within_one_of_the_mix_on_the_way(crowd: Scene) -> None:
    samples = []
    async with controlled(crowd) as run:
        async with asyncio.timeout(60):
            while True:
                pods = await crowd.spark.pods()
                pools = [pod.metadata.labels.get("spotmix.io/placed-pool") for pod in pods]
                spot, on_demand = pools.count("spot"), pools.count("on-demand")
                samples.append((spot, on_demand))
                if spot + on_demand == 200:
                    break
        await crowd.spark.complete()
        report = await run
    off = max(abs(spot - 0.4 * (spot + on_demand)) for spot, on_demand in samples)
    print(f"gate latency in ms: {report.gate_latency_ms}; at most {off:.1f} off the mix in {len(samples)} samples")
    assert report.initial == {"spot": 80, "on-demand": 120}
    # Seats are within one of the mix at all times; of the calls under way, any number may have been answered first.
    assert off <= 1 + 0.6 * CONCURRENT_CALLS


async def test_calls_without_an_answer_never_put_two_executors_on_one_seat(crowd: Scene, hub: Hub) -> None:
    """Connections break again and again while placements are under way: nobody knows which of them were carried out."""
    async with proxied(crowd.cluster, IMPATIENT) as (proxy, cluster):
        async with controlled(crowd, hub=hub, cluster=cluster) as run:
            for _ in range(12):
                await asyncio.sleep(0.1)  # far less than placing 200 takes
                proxy.cut()
            pods = await crowd.until(
                lambda pods: not any(pod.spec.scheduling_gates for pod in pods), "all are placed", seconds=60
            )
            await crowd.spark.complete()
            report = await run
        await hub.close()
    print(f"{sum('cannot place' in message for message in crowd.told)} placements got no answer")
    assert sorted(int(pod.metadata.labels["spotmix.io/seat"]) for pod in pods) == list(range(200))
    pools = [pod.metadata.labels["spotmix.io/placed-pool"] for pod in pods]
    assert (pools.count("spot"), pools.count("on-demand")) == (80, 120)
    assert (report.initial, report.interruptions) == ({"spot": 80, "on-demand": 120}, [])


@pytest.mark.parametrize("silently", [pytest.param(False, id="refused"), pytest.param(True, id="half-open")])
async def test_a_controller_that_was_cut_off_comes_back_to_a_fleet_that_has_another(
    scene: Scene, hub: Hub, silently: bool
) -> None:
    """It believed itself in charge until its own clock said otherwise; what it does after that must change nothing."""
    async with proxied(scene.cluster, IMPATIENT) as (proxy, cluster):
        async with controlled(scene, hub=hub, cluster=cluster) as cut_off:
            await scene.placed(spot=2, on_demand=3)
            await scene.written(lambda checkpoint: checkpoint.initial is not None)
            if silently:
                proxy.part()
            else:
                proxy.refusing = True
                proxy.cut()
            async with controlled(scene) as other:
                await scene.heard("taking over from controller")
                await scene.spark.evict(await scene.one_on("spot"))
                await scene.spark.request_missing()
                await scene.placed(spot=1, on_demand=4)
                proxy.refusing = False
                proxy.mend()
                await scene.heard("lost hold of the fleet", seconds=20)
                await scene.spark.evict(await scene.one_on("spot"))
                await scene.spark.request_missing()
                await scene.placed(on_demand=5)
                await scene.spark.complete()
                reports = await asyncio.gather(other, cut_off)
        await hub.close()
    assert [report.result for report in reports] == ["succeeded", "succeeded"]
    assert [len(report.replacements) for report in reports] == [2, 2]


async def test_connections_that_die_without_a_word_delay_what_happens_and_lose_nothing(scene: Scene, hub: Hub) -> None:
    """As after the loss of a NAT entry: the watches are silent, calls get no answer, new connections work.

    Nobody has seen why the executor went, and nobody guesses.
    """
    async with proxied(scene.cluster, IMPATIENT) as (proxy, cluster):
        async with controlled(scene, hub=hub, cluster=cluster) as run:
            await scene.placed(spot=2, on_demand=3)
            await scene.running()
            proxy.deaden()
            await scene.spark.evict(await scene.one_on("spot"))
            await scene.spark.request_missing()
            await scene.placed(spot=1, on_demand=4)
            await scene.spark.complete()
            report = await run
        await hub.close()
    assert (report.result, report.losses_by_cause) == ("succeeded", {"unknown": 1})
    assert [each["pool"] for each in report.replacements] == ["on-demand"]


class Skewed:
    """A cluster seen from a machine whose clock is wrong."""

    def __init__(self, scene: Scene, seconds: float) -> None:
        self._cluster = scene.cluster
        self._seconds = seconds

    def identity(self) -> str:
        return self._cluster.identity()

    async def connect(self) -> Kube:
        kube = await self._cluster.connect()
        vars(kube)["_session"].clock = ServerClock(wall=lambda: time.time() + self._seconds)
        return kube


@pytest.mark.parametrize("skew", [-300, 45])
async def test_a_controller_whose_clock_is_wrong_counts_the_right_seconds(scene: Scene, skew: float) -> None:
    hub, began = Hub(), time.monotonic()
    async with controlled(scene, hub=hub, cluster=Skewed(scene, skew)) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        await asyncio.sleep(2)
        await scene.spark.complete()
        report = await run
    await hub.close()
    spent = time.monotonic() - began
    for account in report.ledger.values():
        # Objects have whole seconds.
        assert 0 < account["executor_seconds"] / account["executors"] < spent + 2
