"""What a try deletes of earlier ones, and of nobody else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.manifests.identity import Identity, TaskRef
from airflow_provider_spotmix.operators.earlier_tries import follow_earlier_tries
from tests.fleet.test_plan import application, plan
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime

TASK = {"dag_id": "etl", "task_id": "daily", "run_id": "monday"}


def of_try(ti: str, *, instance: str = "https://airflow.example", **fields: str) -> FleetPlan:
    return plan(application(), identity=Identity(instance=instance, task_instance=ti), object_labels={**TASK, **fields})


def named(*, keep: bool) -> FleetPlan:
    """An earlier try that says of which task it is."""
    ref = TaskRef(dag_id=TASK["dag_id"], task_id=TASK["task_id"], run_id=TASK["run_id"])
    identity = Identity(instance="https://airflow.example", task_instance="first", task=ref)
    return plan(application(), identity=identity, object_labels=TASK, keep=keep)


async def submitted(server: MemoryServer, planned: FleetPlan, state: str = "") -> str:
    """Have an application in the cluster, in that state; its name."""
    await submit(server.client(), planned, tell=lambda *_: None)
    name: str = planned.applications[0]["metadata"]["name"]
    status = {"status": {"applicationState": {"state": state}}}
    await server.client().patch(Kubeflow.resource, name, status, "spark", subresource="status")
    return name


async def left(server: MemoryServer) -> list[str]:
    return [found.metadata.name for found in (await server.client().list(Kubeflow.resource, "spark")).items]


@pytest.mark.parametrize("state", ["", "SUBMITTED", "RUNNING", "PENDING_RERUN", "SUSPENDED"])
async def test_an_earlier_try_is_deleted(state: str) -> None:
    server, told = MemoryServer(), []
    name = await submitted(server, of_try("first", try_number="1"), state)
    await follow_earlier_tries(server.client(), of_try("second"), reattach=False, tell=lambda *said: told.append(said))
    assert await left(server) == []
    assert told == [(f"deleting {name}, which an earlier try of this task left behind", True)]


@pytest.mark.parametrize(
    ("keep", "state"),
    [
        pytest.param(False, "COMPLETED", id="succeeded-and-nobody-deleted-it"),
        pytest.param(False, "FAILED", id="failed-and-nobody-deleted-it"),
        pytest.param(True, "RUNNING", id="to-be-kept-but-not-over"),
    ],
)
async def test_of_what_says_whether_it_is_kept_only_that_is_kept(keep: bool, state: str) -> None:
    server = MemoryServer()
    await submitted(server, named(keep=keep), state)
    await follow_earlier_tries(server.client(), of_try("second"), reattach=False, tell=lambda *_: None)
    assert await left(server) == []


async def test_a_mapped_task_deletes_only_its_own() -> None:
    server = MemoryServer()
    mapped, other, unmapped = (
        await submitted(server, of_try("a", map_index="3")),
        await submitted(server, of_try("b", map_index="4")),
        await submitted(server, of_try("c")),
    )
    await follow_earlier_tries(server.client(), of_try("second", map_index="3"), reattach=False, tell=lambda *_: None)
    assert await left(server) == [other, unmapped]
    await follow_earlier_tries(server.client(), of_try("second"), reattach=False, tell=lambda *_: None)
    assert await left(server) == [other]
    assert mapped != other


@pytest.mark.parametrize(
    ("planned", "state"),
    [
        pytest.param(of_try("second"), "", id="this-try"),
        pytest.param(named(keep=True), "COMPLETED", id="succeeded-and-kept"),
        pytest.param(named(keep=True), "FAILED", id="failed-and-kept"),
        pytest.param(of_try("first"), "FAILED", id="over-and-of-a-version-that-did-not-say-whether-it-is-kept"),
        pytest.param(of_try("first", run_id="tuesday"), "", id="another-run"),
        pytest.param(of_try("first", task_id="hourly"), "", id="another-task"),
        pytest.param(of_try("first", dag_id="ml"), "", id="another-dag"),
        pytest.param(of_try("first", instance="https://other.example"), "", id="another-airflow"),
    ],
)
async def test_anything_else_is_left_alone(planned: FleetPlan, state: str) -> None:
    server = MemoryServer()
    name = await submitted(server, planned, state)
    await follow_earlier_tries(server.client(), of_try("second"), reattach=False, tell=lambda *_: None)
    assert await left(server) == [name]


async def test_applications_of_others_are_left_alone() -> None:
    """SparkKubernetesOperator's carry the same labels, but are no fleets."""
    server = MemoryServer()
    foreign: dict[str, Any] = copy.deepcopy(of_try("first").applications[0])
    del foreign["metadata"]["labels"]["spotmix.io/fleet"], foreign["metadata"]["annotations"]
    await server.client().create(Kubeflow.resource, foreign, "spark")
    await follow_earlier_tries(server.client(), of_try("second"), reattach=False, tell=lambda *_: None)
    assert await left(server) == [foreign["metadata"]["name"]]
