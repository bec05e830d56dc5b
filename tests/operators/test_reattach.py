"""Which fleet of an earlier try a new one takes over, and that no two drivers of one task run at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.errors import FleetConflictError, InvalidInputError
from airflow_provider_spotmix.core.pools import GKE
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.plan import FleetPlan, of_fleet
from airflow_provider_spotmix.fleet.submit import delete_fleet, submit
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.manifests.identity import Identity, TaskRef
from airflow_provider_spotmix.operators.earlier_tries import GONE_SECONDS, fleet_of, follow_earlier_tries
from tests.fleet.test_plan import MIX, application, plan
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime

TASK = TaskRef(dag_id="etl", task_id="daily", run_id="monday", run="2026-01-05T00:00:00+00:00/0")
GROUPS: dict[str, Any] = {"placement": "groups", "groups": 2}


def of_try(number: int, *, task: TaskRef = TASK, instance: str = "https://a", **arguments: Any) -> FleetPlan:
    """What a try would submit."""
    identity = Identity(instance=instance, task_instance=f"uuid-{number}", task=replace(task, try_number=number))
    found = {"dag_id": task.dag_id, "task_id": task.task_id, "run_id": task.run_id, "try_number": str(number)}
    if task.map_index >= 0:
        found["map_index"] = str(task.map_index)
    return plan(**{"manifest": application(), "identity": identity, "object_labels": found, **arguments})


async def submitted(server: MemoryServer, planned: FleetPlan, state: str = "RUNNING") -> None:
    await submit(server.client(), planned, tell=lambda *_: None)
    for each in planned.applications:
        await report(server, each["metadata"]["name"], state)


async def report(server: MemoryServer, name: str, state: str) -> None:
    status = {"status": {"applicationState": {"state": state}}}
    await server.client().patch(Kubeflow.resource, name, status, "spark", subresource="status")


async def applications(server: MemoryServer) -> list[Raw]:
    return list((await server.client().list(Kubeflow.resource, "spark")).items)


async def follow(server: MemoryServer, planned: FleetPlan, *, reattach: bool = True) -> FleetSpec | None:
    return await follow_earlier_tries(server.client(), planned, reattach=reattach, tell=lambda *_: None)


@pytest.mark.parametrize("arguments", [{}, GROUPS, {"is_name_unique": False}])
@pytest.mark.parametrize("state", ["", "SUBMITTED", "RUNNING", "PENDING_RERUN"])
async def test_a_running_fleet_is_taken_over(arguments: dict[str, Any], state: str) -> None:
    server, first, second = MemoryServer(), of_try(1, **arguments), of_try(2, **arguments)
    await submitted(server, first, state)
    adopted = await follow(server, second)
    assert adopted == replace(first.spec, identity=second.spec.identity)
    for found in await applications(server):
        assert found.metadata.annotations["spotmix.io/identity"] == second.spec.identity
        assert TaskRef.read(found.metadata.annotations["spotmix.io/task"]) == replace(TASK, try_number=2)
    assert await fleet_of(server.client(), second) == adopted
    assert await follow(server, second) == adopted  # the same try again, after a call without an answer


async def test_who_looked_after_it_before_deletes_it_no_more() -> None:
    """A trigger of the earlier try may still be told that its task was killed."""
    server, first = MemoryServer(), of_try(1)
    await submitted(server, first)
    adopted = await follow(server, of_try(2))
    assert adopted is not None
    await delete_fleet(server.client(), first.spec)
    assert len(await applications(server)) == 1
    await delete_fleet(server.client(), adopted)
    assert await applications(server) == []


async def test_it_can_be_taken_over_again_and_again() -> None:
    server, first = MemoryServer(), of_try(1)
    await submitted(server, first)
    await follow(server, of_try(2))
    third = of_try(3)
    assert await follow(server, third) == of_fleet(third.spec, first.spec.fleet_id)


async def test_a_try_that_has_no_earlier_one_has_its_own_fleet() -> None:
    server, only = MemoryServer(), of_try(1)
    assert await follow(server, only) is None
    assert await fleet_of(server.client(), only) == only.spec


async def test_a_group_that_was_submitted_again_is_taken_over_with_the_others() -> None:
    server, first = MemoryServer(), of_try(1, **GROUPS)
    (again,) = first.spec.second_attempts
    members = [dict(each) for each in first.applications]
    lost = next(each for each in members if each["metadata"]["name"] == again.replaces)
    lost["metadata"] = {**lost["metadata"], "name": again.name}
    await submitted(server, FleetPlan(spec=first.spec, applications=tuple(members)))
    assert await follow(server, of_try(2, **GROUPS)) is not None


@pytest.mark.parametrize(
    ("earlier", "state"),
    [
        pytest.param(of_try(1), "COMPLETED", id="it-succeeded"),
        pytest.param(of_try(1), "FAILED", id="it-failed"),
        pytest.param(of_try(1, task=replace(TASK, run="2026-01-06T00:00:00+00:00/0")), "RUNNING", id="run-recreated"),
        pytest.param(of_try(1, task=replace(TASK, run="2026-01-05T00:00:00+00:00/1")), "RUNNING", id="task-cleared"),
        pytest.param(of_try(1, task=replace(TASK, run="")), "RUNNING", id="run-not-known"),
        pytest.param(of_try(3), "RUNNING", id="a-later-try"),
        pytest.param(of_try(1, mix=replace(MIX, on_demand_base=1)), "RUNNING", id="mix-changed"),
        pytest.param(of_try(1, manifest=application(cores=2)), "RUNNING", id="application-changed"),
        pytest.param(of_try(1, name="other"), "RUNNING", id="name-changed"),
        pytest.param(of_try(1, pools=GKE), "RUNNING", id="pools-changed"),
    ],
)
async def test_anything_else_of_the_task_is_deleted(earlier: FleetPlan, state: str) -> None:
    server = MemoryServer()
    await submitted(server, earlier, state)
    assert await follow(server, of_try(2)) is None
    assert await applications(server) == []


async def test_a_fleet_that_is_not_whole_is_deleted() -> None:
    """Its worker was killed between two submissions."""
    server, first = MemoryServer(), of_try(1, **GROUPS)
    await submitted(server, FleetPlan(spec=first.spec, applications=first.applications[:1]))
    assert await follow(server, of_try(2, **GROUPS)) is None
    assert await applications(server) == []


async def test_without_reattach_it_is_deleted() -> None:
    server = MemoryServer()
    await submitted(server, of_try(1))
    assert await follow(server, of_try(2), reattach=False) is None
    assert await applications(server) == []


async def test_without_the_permission_it_is_deleted() -> None:
    server, told = MemoryServer(), []
    await submitted(server, of_try(1))
    server.fail("patch", code=403, reason="Forbidden")
    kube = server.client()
    assert await follow_earlier_tries(kube, of_try(2), reattach=True, tell=lambda *said: told.append(said)) is None
    assert await applications(server) == []
    assert told[0][0].startswith("not taken over, but deleted: ")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(of_try(1, instance="https://b"), id="another-airflow"),
        pytest.param(of_try(1, task=replace(TASK, map_index=3)), id="another-map-index"),
        pytest.param(of_try(1, task=replace(TASK, task_id="hourly")), id="another-task"),
    ],
)
async def test_what_is_of_somebody_else_is_left_alone(other: FleetPlan) -> None:
    server = MemoryServer()
    await submitted(server, other)
    assert await follow(server, of_try(2)) is None
    assert len(await applications(server)) == 1


async def driver(server: MemoryServer, planned: FleetPlan) -> str:
    """Have its driver run; its name."""
    metadata = planned.applications[0]["metadata"]
    name = f"{metadata['name']}-driver"
    labels = {**metadata["labels"], "spark-role": "driver"}
    pod = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "d"}]}}
    await server.client().create(PODS, pod, "spark")
    await server.client().patch(PODS, name, {"status": {"phase": "Running"}}, "spark", subresource="status")
    return name


async def test_no_driver_of_an_earlier_try_runs_when_the_next_is_submitted() -> None:
    server, first, told = MemoryServer(), of_try(1), []
    await submitted(server, first)
    name = await driver(server, first)
    following = asyncio.create_task(
        follow_earlier_tries(server.client(), of_try(2), reattach=False, tell=lambda *said: told.append(said[0]))
    )
    await asyncio.sleep(30)
    assert not following.done()
    await server.client().delete(PODS, name, "spark")
    assert await following is None
    assert told[-1] == f"waiting until {name} of an earlier try has ended"


async def test_a_driver_that_does_not_go_away_fails_the_try() -> None:
    server, first = MemoryServer(), of_try(1)
    await submitted(server, first)
    name = await driver(server, first)
    started = asyncio.get_running_loop().time()
    with pytest.raises(FleetConflictError, match=rf"{name} of an earlier try .*; if its node is dead, delete it"):
        await follow(server, of_try(2), reattach=False)
    assert asyncio.get_running_loop().time() - started >= GONE_SECONDS


async def test_a_name_of_ones_own_is_exact_and_who_else_has_it_is_named() -> None:
    server = MemoryServer()
    other = of_try(1, task=replace(TASK, run_id="tuesday"), is_name_unique=False)
    assert [each.name for each in other.spec.applications] == ["daily-etl"]
    await submitted(server, other)
    with pytest.raises(FleetConflictError, match=r"daily-etl exists and belongs to .* \(etl.daily of run tuesday,"):
        await submit(server.client(), of_try(2, is_name_unique=False), tell=lambda *_: None)


def test_a_name_of_ones_own_is_not_shortened() -> None:
    with pytest.raises(InvalidInputError, match="46 characters long; shorten it to 45, or let random_name_suffix"):
        of_try(1, manifest=application("a" * 46), is_name_unique=False)
