"""Every way a trigger can end, run by Airflow's own trigger runner against a real API server: which leave a fleet?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import structlog
from airflow.jobs.triggerer_job_runner import _USER_ACTION_CANCEL_MSG
from airflow.triggers.base import BaseTrigger

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.triggers import spark_fleet
from airflow_provider_spotmix.triggers.spark_fleet import SparkFleetTrigger
from tests.support.fleet_task import FleetTask
from tests.support.played_spark import PlayedSpark
from tests.support.triggerer import PlayedSupervisor, Triggerer

pytestmark = pytest.mark.cluster


class Scene:
    """A deferred task's fleet, looked after by a triggerer."""

    def __init__(self, kube: Kube, task: FleetTask, trigger: SparkFleetTrigger) -> None:
        self.kube = kube
        self.trigger = trigger
        self.spark = PlayedSpark(kube, task.plan().applications[0], executors=5)
        self.triggerer = Triggerer(trigger, task.ti)

    async def is_looked_after(self) -> None:
        """Wait until executors are placed."""
        await self.spark.state("RUNNING")
        await self.spark.request_missing()
        async with asyncio.timeout(30):
            while any(pod.spec.scheduling_gates for pod in await self.spark.pods()):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)

    async def fleet_is_there(self) -> bool:
        """Whether the application is. Deleting it goes on when the trigger has ended, so that is waited for."""
        await asyncio.gather(*spark_fleet._deleting)
        return bool((await self.kube.list(Kubeflow.resource, self.spark.namespace)).items)


@pytest.fixture
async def scene(lab: Lab, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setenv("AIRFLOW_CONN_SPOTMIX_DEFAULT", f"spotmix://?kube_config_path={lab.kubeconfig}")
    task = FleetTask(lab.kubeconfig, namespace)
    plan = task.plan()
    trigger = task.operator._trigger(plan.spec)
    async with Hub.shared().client(task.cluster) as kube:
        await submit(kube, plan, tell=lambda *_: None)
        found = Scene(kube, task, trigger)
        await found.is_looked_after()
        yield found
        await found.triggerer.end()
    await Hub.shared().close()


KILLED = (_USER_ACTION_CANCEL_MSG,)
SHUT_DOWN = ()


@pytest.mark.parametrize(
    ("reason", "state", "left"),
    [
        pytest.param(KILLED, "failed", False, id="marked-failed"),
        pytest.param(KILLED, "success", False, id="marked-success"),
        pytest.param(KILLED, None, False, id="cleared"),
        pytest.param(KILLED, "deferred", True, id="moved-to-another-triggerer"),
        pytest.param(SHUT_DOWN, "deferred", True, id="triggerer-shuts-down"),
        pytest.param(SHUT_DOWN, "failed", True, id="triggerer-shuts-down-meanwhile-killed"),
    ],
)
async def test_who_ends_it_decides(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, reason: tuple[str, ...], state: str | None, left: bool
) -> None:
    PlayedSupervisor({"daily": state}, seconds=0.3).install(monkeypatch)
    assert await scene.triggerer.end(*reason) == []
    assert await scene.fleet_is_there() is left


@pytest.mark.parametrize(
    ("state", "left"),
    [
        pytest.param("failed", False, id="killed"),
        pytest.param("scheduled", False, id="timed-out"),
        pytest.param("deferred", True, id="shut-down-or-moved"),
    ],
)
async def test_before_airflow_3_3_cleaning_up_is_all_there_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, state: str, left: bool
) -> None:
    monkeypatch.delattr(BaseTrigger, "on_kill")
    PlayedSupervisor({"daily": state}).install(monkeypatch)
    await scene.triggerer.end()
    assert await scene.fleet_is_there() is left


async def test_once_it_has_fired_the_worker_deletes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    PlayedSupervisor({"daily": "scheduled"}).install(monkeypatch)
    await scene.spark.complete()
    await asyncio.wait_for(scene.triggerer.task, 30)
    (event,) = scene.triggerer.events
    assert event["report"]["result"] == "succeeded"
    await scene.trigger.on_kill()
    await scene.trigger.cleanup()
    assert await scene.fleet_is_there()


async def test_what_it_tells_goes_to_its_own_tasks_log(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow routes a line by the trigger's id in its context, which the runner's tasks must have, too."""
    told: list[tuple[str, Any]] = []
    tell: Callable[[str, bool], None] = scene.trigger._tell

    def listen(message: str, warning: bool) -> None:
        told.append((message, structlog.contextvars.get_contextvars().get("trigger_id")))
        tell(message, warning)

    monkeypatch.setattr(scene.trigger, "_tell", listen)
    await scene.triggerer.end()
    scene.triggerer = Triggerer(scene.trigger, scene.trigger.task_instance)
    await scene.spark.run((await scene.spark.pods())[0].metadata.name)
    await scene.spark.evict((await scene.spark.pods())[0].metadata.name)
    await scene.spark.request_missing()
    await scene.is_looked_after()
    await scene.spark.complete()
    await asyncio.wait_for(scene.triggerer.task, 30)
    assert any(message.startswith("lost ") for message, _ in told), told
    assert {trigger_id for _, trigger_id in told} == {1}
