"""Fallback on a real API server and scheduler: spot nodes that do not exist, a storm, a breaker, a way back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core.actions import Remove
from airflow_provider_spotmix.core.events import RemoveFailed
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import KARPENTER, Pool
from airflow_provider_spotmix.fleet.apply import Applier
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.voice import Voice
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.lab.lab import Lab
from tests.fleet.scene import Scene, staged
from tests.fleet.test_plan import MIX, application

pytestmark = pytest.mark.cluster

SPOT, ON_DEMAND = KARPENTER
# Of a kind that no node of the lab is.
EXHAUSTED: tuple[Pool, ...] = (
    replace(SPOT, node_selector={**SPOT.node_selector, "tests/exhausted": "true"}),
    ON_DEMAND,
)


def quick(**settings: Any) -> Policy:
    return Policy(**{"spot_pending_timeout_seconds": 3.0, "breaker_losses": 0, **settings})


async def begun(scene: Scene) -> asyncio.Task[Any]:
    await scene.spark.state("RUNNING")
    await scene.spark.request_missing()
    return scene.control(Hub())


def is_going(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def fallbacks(pods: list[Pod]) -> dict[str, str]:
    """Cause by executor of those that are not on their seat's pool."""
    marks = {pod.metadata.name.rpartition("-")[2]: pod.metadata.labels for pod in pods}
    return {number: each["spotmix.io/fallback"] for number, each in marks.items() if "spotmix.io/fallback" in each}


async def test_seats_that_no_spot_node_takes_fall_back_and_open_the_breaker(lab: Lab) -> None:
    """The scheduler says so, we delete, Spark asks again; a new controller goes on with the same breaker."""
    policy = quick(breaker_losses=2, breaker_cooldown_seconds=3600.0)
    async with staged(lab, application(), pools=EXHAUSTED, mix=MIX, policy=policy) as scene:
        controller = await begun(scene)
        await scene.until(lambda pods: len(pods) == 3, "those on spot are removed")
        await scene.spark.request_missing()
        await scene.placed(on_demand=5)
        await scene.heard("the breaker of spot is open: 2 spot nodes lost or unobtainable")
        await scene.written(lambda saved: saved.breakers["spot"].status == "open")
        controller.cancel()
        await asyncio.gather(controller, return_exceptions=True)
        second = scene.control(Hub())
        scene.spark.executors = 8
        await scene.spark.request_missing()
        pods = await scene.until(lambda pods: len(fallbacks(pods)) == 3, "a new spot seat falls back at once")
        assert sorted(fallbacks(pods).values()) == ["breaker-open", "spot-unobtainable", "spot-unobtainable"]
        await scene.spark.complete()
        report = await asyncio.wait_for(second, 30)
    assert report.fallbacks_by_cause == {"spot-unobtainable": 2, "breaker-open": 1}
    assert all("nodes are available" in each["evidence"][0] for each in report.unobtainable)
    assert [change["status"] for change in report.breaker] == ["open"]
    assert report.interruptions == []


async def test_an_executor_that_has_got_its_node_is_not_removed_for_want_of_one(scene: Scene) -> None:
    controller = scene.control()
    await scene.placed(spot=2, on_demand=3)
    await scene.running()
    name = await scene.one_on("spot")
    pod = await scene.kube.get(PODS, name, scene.spark.namespace)
    applier = Applier(scene.kube, scene.plan.spec, voice=Voice(lambda *_: None), now=time.time)
    action = Remove(cause="tests", uid=pod.metadata.uid, pod=name, reason="it had none", unless_bound=True)
    *_, answer = await applier.remove(action)
    assert isinstance(answer, RemoveFailed)
    assert (await scene.kube.get(PODS, name, scene.spark.namespace)).metadata.deletion_timestamp is None
    await scene.spark.complete()
    assert (await asyncio.wait_for(controller, 30)).fallbacks == []


async def test_fail_ends_the_task_with_what_the_scheduler_says(lab: Lab) -> None:
    policy = quick(fallback="fail", spot_wait_seconds=3.0)
    async with staged(lab, application(), pools=EXHAUSTED, mix=MIX, policy=policy) as scene:
        report = await asyncio.wait_for(await begun(scene), 60)
    assert report.result == "failed"
    assert "is to be on spot, and no node has taken it in" in report.message
    assert "nodes are available" in report.message


async def test_a_seat_is_moved_back_to_spot_while_its_executor_runs(lab: Lab) -> None:
    policy = quick(active_return_seconds=3.0)
    async with staged(lab, application(), pools=KARPENTER, mix=MIX, policy=policy) as scene:
        controller = await begun(scene)
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        await scene.spark.evict(await scene.one_on("spot"))
        await scene.spark.request_missing()
        await scene.placed(spot=1, on_demand=4)
        pods = await scene.until(lambda pods: any(map(is_going, pods)), "the one that has fallen back is removed")
        (moved,) = [pod for pod in pods if is_going(pod)]
        assert moved.metadata.labels["spotmix.io/fallback"] == "spot-interruption"
        await scene.spark.remove(moved.metadata.name)  # `sleep` does not heed the signal
        await scene.spark.request_missing()
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        await scene.spark.complete()
        report = await asyncio.wait_for(controller, 30)
    assert [(each["from_pool"], each["pool"], each["cause"]) for each in report.returns] == [
        ("on-demand", "spot", "return")
    ]
