"""What is left of fleets that have no application any more, and what only looks so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_spotmix.fleet.lease import ControllerLease
from airflow_provider_spotmix.fleet.leftovers import delete_leftover, find_leftovers
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES, PODS
from tests.fleet.test_plan import application, plan
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime

GATED = {"schedulingGates": [{"name": "spotmix.io/placement"}]}


def marked(name: str, fleet: str, **marks: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"spotmix.io/fleet": fleet, **marks}}}


async def found(server: MemoryServer) -> list[tuple[str, str]]:
    return [(each.resource.kind, each.metadata.name) for each in await find_leftovers(server.client(), "spark")]


async def test_what_has_no_application_is_left_over_and_what_has_one_is_not() -> None:
    server, planned = MemoryServer(), plan(application())
    kube, alive = server.client(), planned.spec.fleet_id
    await submit(kube, planned, tell=lambda *_: None)
    executor = {"spark-role": "executor"}
    for fleet in (alive, "lost"):
        await kube.create(CONFIG_MAPS, marked(f"checkpoint-{fleet}", fleet), "spark")
        await kube.create(PODS, marked(f"gated-{fleet}", fleet, **executor) | {"spec": GATED}, "spark")
        await kube.create(PODS, marked(f"placed-{fleet}", fleet, **executor), "spark")
    await kube.create(CONFIG_MAPS, {"metadata": {"name": "somebody-elses"}}, "spark")
    assert await found(server) == [("ConfigMap", "checkpoint-lost"), ("Pod", "gated-lost")]


async def test_a_lease_that_is_renewed_is_not_left_over() -> None:
    server = MemoryServer()
    kube = server.client()
    dead = ControllerLease(kube, "spark", "dead")
    await dead._take()
    async with ControllerLease(kube, "spark", "alive"):
        assert await found(server) == [("Lease", "spotmix-dead")]


async def test_a_controller_that_comes_back_to_life_keeps_its_lease() -> None:
    server = MemoryServer()
    kube = server.client()
    late = ControllerLease(kube, "spark", "late")
    await late._take()
    (leftover,) = await find_leftovers(kube, "spark")
    await late._renew()
    assert not await delete_leftover(kube, leftover)
    await asyncio.sleep(0)
    assert len((await kube.list(LEASES, "spark")).items) == 1


async def test_it_is_deleted_once() -> None:
    server = MemoryServer()
    kube = server.client()
    await kube.create(CONFIG_MAPS, marked("checkpoint", "lost"), "spark")
    (leftover,) = await find_leftovers(kube, "spark")
    assert [await delete_leftover(kube, leftover) for _ in range(2)] == [True, False]
    assert await found(server) == []
