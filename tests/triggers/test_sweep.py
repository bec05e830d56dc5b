"""The sweep that a trigger starts: what it asks Airflow, how often, and that no fleet notices. No cluster."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult

from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.lease import ControllerLease
from airflow_provider_spotmix.fleet.sweep import GONE, key_of
from airflow_provider_spotmix.kube.resources import LEASES
from airflow_provider_spotmix.manifests.identity import TaskRef
from airflow_provider_spotmix.triggers.sweep import INTERVAL_SECONDS, ask_states, sweep_in_background
from tests.fleet.test_sweep import DAILY, HERE, left, submitted
from tests.kube.memory import MemoryServer
from tests.support.triggerer import PlayedSupervisor

States = dict[str, dict[str, str | None]]


class Supervisor:
    """Answers as Airflow's execution API does: by run, then by task and map index."""

    def __init__(self, states: States) -> None:
        self.states = states
        self.asked: list[tuple[str, list[str] | None, list[str] | None, int | None]] = []

    def send(self, message: Any) -> TaskStatesResult:
        assert isinstance(message, GetTaskStates)
        self.asked.append((message.dag_id, message.task_ids, message.run_ids, message.map_index))
        return TaskStatesResult(
            task_states={run: self.states[run] for run in message.run_ids or [] if run in self.states}
        )


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", HERE)


def ref(task_id: str = "daily", run_id: str = "monday", map_index: int = -1) -> TaskRef:
    return TaskRef(dag_id="etl", task_id=task_id, run_id=run_id, map_index=map_index)


async def test_states_are_asked_for_task_by_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task `daily_3` and the map index 3 of a task `daily` have the same name in an answer."""
    of_daily: dict[str, str | None] = {"daily": "success", "daily_3": "deferred"}
    supervisor = Supervisor({"monday": of_daily, "tuesday": {"daily": None}})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    tasks = [ref(), ref(map_index=3), ref(map_index=4), ref(run_id="tuesday"), ref(run_id="gone"), ref("daily_3")]
    assert await ask_states(tasks) == {
        key_of(ref()): "success",
        key_of(ref(map_index=3)): "deferred",
        key_of(ref(map_index=4)): GONE,
        key_of(ref(run_id="tuesday")): None,
        key_of(ref(run_id="gone")): GONE,
        key_of(ref("daily_3")): "deferred",
    }
    assert supervisor.asked == [
        ("etl", ["daily"], ["gone", "monday", "tuesday"], None),
        ("etl", ["daily_3"], ["monday"], None),
    ]


async def test_many_runs_are_asked_for_in_several_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [f"run-{number:02}" for number in range(45)]
    supervisor = Supervisor({run: {"daily": "failed"} for run in runs})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    assert set((await ask_states([ref(run_id=run) for run in runs])).values()) == {"failed"}
    assert [len(asked[2] or []) for asked in supervisor.asked] == [20, 20, 5]


async def swept(server: MemoryServer, hub: Hub) -> bool:
    """Whether a sweep was started; it is over."""
    work = sweep_in_background(hub, server, "spark")  # type: ignore[arg-type]
    if work:
        await work
    return work is not None


async def test_what_a_killed_task_left_is_deleted_when_a_trigger_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server, hub = MemoryServer(), Hub()
    PlayedSupervisor({"daily": "failed"}).install(monkeypatch)
    name = await submitted(server)
    with caplog.at_level(logging.INFO):
        assert await swept(server, hub)
    assert await left(server) == []
    assert f"deleted {name} in namespace spark: {DAILY}, is failed" in caplog.text
    await hub.close()


@pytest.mark.parametrize(
    ("base_url", "answer", "said"),
    [
        pytest.param("", {"daily": "failed"}, "this Airflow has no name of its own", id="could-be-another-airflow's"),
        pytest.param(HERE, RuntimeError("no answer"), "not looked for: no answer", id="airflow-does-not-answer"),
        pytest.param(HERE, {"daily": "deferred"}, "", id="it-still-waits"),
    ],
)
async def test_without_certainty_nothing_is_deleted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, base_url: str, answer: Any, said: str
) -> None:
    server, hub = MemoryServer(), Hub()
    name = await submitted(server)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    PlayedSupervisor(answer).install(monkeypatch)
    with caplog.at_level(logging.INFO):
        assert await swept(server, hub)
    assert await left(server) == [name]
    assert said in caplog.text
    await hub.close()


async def test_an_api_server_that_is_away_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    server, hub = MemoryServer(), Hub()
    server.fail()
    assert await swept(server, hub)
    assert "are not looked for" in caplog.text
    await hub.close()


@pytest.mark.looptime
async def test_one_sweep_serves_the_triggers_of_some_minutes() -> None:
    server, hub = MemoryServer(), Hub()
    assert await swept(server, hub)
    assert not await swept(server, hub)
    await asyncio.sleep(INTERVAL_SECONDS)
    assert await swept(server, hub)
    await hub.close()


@pytest.mark.looptime
async def test_the_lease_of_a_dead_controller_is_deleted_and_that_of_a_living_one_is_not() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()
    async with ControllerLease(kube, "spark", "alive"):
        body = {"metadata": {"name": "spotmix-dead", "labels": {"spotmix.io/lease": "controller"}}}
        await kube.create(LEASES, body, "spark")
        assert await swept(server, hub)
        assert [each.metadata.name for each in (await kube.list(LEASES, "spark")).items] == ["spotmix-alive"]
    await hub.close()
