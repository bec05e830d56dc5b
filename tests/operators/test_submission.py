"""Submitting while the API server comes and goes, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.errors import ClusterNotReadyError
from airflow_provider_spotmix.kube.errors import ApiUnavailable, Forbidden, KubeError, ServerError
from airflow_provider_spotmix.operators.submission import PATIENCE_SECONDS, submit_patiently
from tests.fleet.test_plan import application, plan
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime


async def submit_to(server: MemoryServer) -> tuple[float, list[str]]:
    """Submit; how long it took, and what was told."""
    told: list[str] = []
    start = asyncio.get_running_loop().time()
    planned = plan(application(), object_labels={"dag_id": "etl", "task_id": "daily", "run_id": "monday"})
    await submit_patiently(server.client(), planned, tell=lambda message, _: told.append(message))
    return asyncio.get_running_loop().time() - start, told


async def names(server: MemoryServer) -> list[str]:
    listing = await server.client().list(Kubeflow.resource, "spark")
    return [found.metadata.name for found in listing.items]


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda server: server.fail(), id="no-answer"),
        pytest.param(lambda server: server.fail("create", code=503), id="unavailable"),
        pytest.param(lambda server: server.fail("create", code=429), id="overloaded"),
    ],
)
async def test_it_waits_for_the_api_server(break_it: Callable[[MemoryServer], None]) -> None:
    server = MemoryServer()
    break_it(server)
    asyncio.get_running_loop().call_later(60, server.heal)
    seconds, told = await submit_to(server)
    assert 60 <= seconds <= 75
    assert all(line.startswith("not submitted yet, trying again in ") for line in told[:-1])
    assert told[-1] == f"submitted {(await names(server))[0]} to namespace spark"
    assert len(told) < 15, "a person reads this"


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [pytest.param(0, "", ApiUnavailable, id="no-answer"), pytest.param(503, "", ServerError, id="unavailable")],
)
async def test_but_not_for_ever(code: int, reason: str, error: type[KubeError]) -> None:
    server = MemoryServer()
    server.fail(code=code, reason=reason)
    start = asyncio.get_running_loop().time()
    with pytest.raises(error):
        await submit_to(server)
    assert PATIENCE_SECONDS - 15 <= asyncio.get_running_loop().time() - start <= PATIENCE_SECONDS


async def test_a_refusal_is_final() -> None:
    server = MemoryServer()
    server.fail("create", code=403, reason="Forbidden")
    with pytest.raises(Forbidden):
        await submit_to(server)
    assert asyncio.get_running_loop().time() == 0
    assert await names(server) == []


async def test_a_cluster_that_is_not_ready_gets_nothing() -> None:
    server = MemoryServer()
    server.denied = {("patch", "pods/status")}
    with pytest.raises(ClusterNotReadyError, match="permission in namespace 'spark': patch on pods/status"):
        await submit_to(server)
    assert (server.calls["create"], asyncio.get_running_loop().time()) == (0, 0)


async def test_what_an_earlier_attempt_created_is_adopted() -> None:
    server = MemoryServer()
    await submit_to(server)
    _, told = await submit_to(server)
    assert told[0].startswith("adopted ")
    assert len(await names(server)) == 1
