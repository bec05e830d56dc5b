"""Which applications a sweep deletes, and above all which it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.fleet import sweep as sweeping
from airflow_provider_spotmix.fleet.submit import delete_patiently, submit
from airflow_provider_spotmix.fleet.sweep import GONE, OVER, States, find, key_of, sweep
from airflow_provider_spotmix.kube.errors import Forbidden
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.identity import Identity, TaskRef
from tests.fleet.test_plan import application, plan
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime

HERE = "https://airflow.example"
DAILY = TaskRef(dag_id="etl", task_id="daily", run_id="monday")
ACTIVE = (None, "scheduled", "queued", "running", "deferred", "restarting", "up_for_retry", "up_for_reschedule")


async def submitted(
    server: MemoryServer,
    task: TaskRef | None = DAILY,
    *,
    uuid: str = "0190",
    instance: str = HERE,
    keep: bool = False,
    state: str = "RUNNING",
) -> str:
    """Have an application in the cluster; its name."""
    identity = Identity(instance=instance, task_instance=uuid, task=task)
    planned = plan(application(), identity=identity, keep=keep)
    await submit(server.client(), planned, tell=lambda *_: None)
    name: str = planned.applications[0]["metadata"]["name"]
    status = {"status": {"applicationState": {"state": state}}}
    await server.client().patch(Kubeflow.resource, name, status, "spark", subresource="status")
    return name


async def left(server: MemoryServer) -> list[str]:
    return [found.metadata.name for found in (await server.client().list(Kubeflow.resource, "spark")).items]


def airflow(states: States) -> Any:
    async def ask(tasks: Sequence[TaskRef]) -> States:
        return {key_of(task): states.get(key_of(task)) for task in tasks}

    return ask


async def swept(server: MemoryServer, states: States) -> list[str]:
    """Sweep with an Airflow that knows these states; what was logged."""
    told: list[str] = []
    await sweep(server.client(), "spark", instance=HERE, ask=airflow(states), log=lambda said, _: told.append(said))
    return told


@pytest.mark.parametrize("state", sorted(OVER))
async def test_what_is_over_is_deleted_and_it_is_said_why(state: str) -> None:
    server = MemoryServer()
    name = await submitted(server)
    assert await swept(server, {key_of(DAILY): state}) == [
        f"deleted {name} in namespace spark: etl.daily of run monday, try 1, is {state}"
    ]
    assert await left(server) == []


async def test_what_airflow_does_not_have_any_more_is_deleted() -> None:
    server = MemoryServer()
    await submitted(server)
    (said,) = await swept(server, {key_of(DAILY): GONE})
    assert said.endswith("etl.daily of run monday, try 1: Airflow has no such task instance any more")
    assert await left(server) == []


@pytest.mark.parametrize("state", ACTIVE)
async def test_what_may_go_on_is_left_alone(state: str | None) -> None:
    server = MemoryServer()
    name = await submitted(server)
    assert await swept(server, {key_of(DAILY): state}) == []
    assert await left(server) == [name]


@pytest.mark.parametrize(
    "whose",
    [
        pytest.param({"instance": "https://other.example"}, id="of-another-airflow"),
        pytest.param({"task": None}, id="of-a-version-that-did-not-say-of-which-task"),
        pytest.param({"keep": True, "state": "FAILED"}, id="kept-on-purpose"),
    ],
)
async def test_what_is_not_certain_or_wanted_is_left_alone(whose: dict[str, Any]) -> None:
    server = MemoryServer()
    name = await submitted(server, **whose)
    assert await swept(server, {key_of(DAILY): "failed"}) == []
    assert await left(server) == [name]


async def test_what_is_to_be_kept_when_it_is_over_is_not_kept_running() -> None:
    server = MemoryServer()
    await submitted(server, keep=True, state="RUNNING")
    await swept(server, {key_of(DAILY): "failed"})
    assert await left(server) == []


async def test_map_indexes_are_told_apart() -> None:
    server = MemoryServer()
    third, fourth = (replace(DAILY, map_index=index) for index in (3, 4))
    await submitted(server, third, uuid="a")
    name = await submitted(server, fourth, uuid="b")
    await swept(server, {key_of(third): "failed", key_of(fourth): "deferred"})
    assert await left(server) == [name]


async def test_without_an_answer_nothing_is_deleted() -> None:
    server = MemoryServer()
    name = await submitted(server)

    async def ask(_: Sequence[TaskRef]) -> States:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        await sweep(server.client(), "spark", instance=HERE, ask=ask, log=lambda *_: None)
    assert await left(server) == [name]


async def test_nobody_is_asked_when_there_is_nothing() -> None:
    await sweep(MemoryServer().client(), "spark", instance=HERE, ask=None, log=lambda *_: None)  # type: ignore[arg-type]


async def test_what_a_later_try_has_adopted_meanwhile_is_left_alone() -> None:
    server = MemoryServer()
    name = await submitted(server)
    (found,) = await find(server.client(), "spark", instance=HERE)
    adopted = {"metadata": {"annotations": {labels.IDENTITY: f"{HERE}/0191"}}}
    await server.client().patch(Kubeflow.resource, name, adopted, "spark")
    assert not await sweeping.delete(server.client(), found)
    assert await left(server) == [name]


async def test_what_cannot_be_deleted_is_told_and_the_others_are_deleted() -> None:
    server = MemoryServer()
    name = await submitted(server)
    server.fail("delete", code=403, reason="Forbidden")
    (said,) = await swept(server, {key_of(DAILY): "failed"})
    assert said.startswith(f"cannot delete {name} in namespace spark (etl.daily of run monday, try 1, is failed): ")
    server.heal()
    await swept(server, {key_of(DAILY): "failed"})
    assert await left(server) == []


async def test_a_deletion_waits_for_an_api_server_that_is_away_but_not_for_a_permission() -> None:
    server = MemoryServer()
    planned = plan(application())
    await submit(server.client(), planned, tell=lambda *_: None)
    server.fail("delete", code=403, reason="Forbidden")
    with pytest.raises(Forbidden):
        await delete_patiently(server.client(), planned.spec)
    server.fail("delete", code=503, reason="ServiceUnavailable")
    asyncio.get_running_loop().call_later(40, server.heal)
    await delete_patiently(server.client(), planned.spec)
    assert await left(server) == []
