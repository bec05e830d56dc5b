"""Hub and leases on a real API server, over wires that break."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow_provider_spotmix.fleet.hub import FLEET_LABEL, FeedItem, Hub
from airflow_provider_spotmix.fleet.lease import ControllerLease, HolderWatch, lease_name, shared_lease
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import NotFound
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES
from airflow_provider_spotmix.kube.retry import Limits
from airflow_provider_spotmix.kube.watch import Changed, Connected, Disconnected, Synced
from tests.kube.conftest import admin, cluster, namespace
from tests.kube.proxy import proxied

__all__ = ["admin", "cluster", "namespace"]  # fixtures

pytestmark = pytest.mark.cluster

QUICK = Limits(watch_seconds=1, watch_slack_seconds=0.5, connect_seconds=1)


async def add(kube: Kube, namespace: str, name: str, fleet: str) -> None:
    await kube.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": {FLEET_LABEL: fleet}}}, namespace)


async def hear(stream: AsyncIterator[FeedItem[ConfigMap]]) -> Any:
    async with asyncio.timeout(20):
        item = await anext(stream)
    match item:
        case Synced(objects):
            return "synced", *sorted(each.metadata.name for each in objects)
        case Changed(kind, each):
            return kind, each.metadata.name
    return type(item)


async def test_each_fleet_hears_its_own_and_nothing_else(cluster: ClusterConfig, admin: Kube, namespace: str) -> None:
    hub = Hub()

    async def fleet(name: str) -> None:
        async with hub.subscribe(cluster, CONFIG_MAPS, namespace, key=name) as stream:
            assert await hear(stream) == ("synced",)
            for number in range(3):
                await add(admin, namespace, f"{name}-{number}", name)
                assert await hear(stream) == ("ADDED", f"{name}-{number}")
            await admin.delete(CONFIG_MAPS, f"{name}-0", namespace)
            assert await hear(stream) == ("DELETED", f"{name}-0")

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(fleet(f"fleet{number}"))
    await hub.close()


async def test_a_cut_wire_loses_nothing(cluster: ClusterConfig, admin: Kube, namespace: str) -> None:
    hub = Hub()
    async with proxied(cluster, Limits()) as (proxy, reached):
        async with hub.subscribe(reached, CONFIG_MAPS, namespace, key="f") as stream:
            assert await hear(stream) == ("synced",)
            await add(admin, namespace, "before", "f")
            assert await hear(stream) == ("ADDED", "before")
            proxy.refusing = True
            proxy.cut()
            assert await hear(stream) is Disconnected
            await add(admin, namespace, "meanwhile", "f")
            await admin.delete(CONFIG_MAPS, "before", namespace)
            proxy.refusing = False
            assert await hear(stream) is Connected
            assert [await hear(stream) for _ in range(2)] == [("ADDED", "meanwhile"), ("DELETED", "before")]
        await hub.close()


async def test_a_dead_wire_is_noticed(cluster: ClusterConfig, admin: Kube, namespace: str) -> None:
    hub = Hub()
    async with proxied(cluster, QUICK) as (proxy, reached):
        async with hub.subscribe(reached, CONFIG_MAPS, namespace, key="f") as stream:
            assert await hear(stream) == ("synced",)
            await add(admin, namespace, "before", "f")
            assert await hear(stream) == ("ADDED", "before")
            proxy.deaden()
            await add(admin, namespace, "meanwhile", "f")
            assert await hear(stream) is Disconnected
            assert await hear(stream) is Connected
            assert await hear(stream) == ("ADDED", "meanwhile")
        await hub.close()


async def test_a_quiet_watch_is_renewed_without_a_word(cluster: ClusterConfig, admin: Kube, namespace: str) -> None:
    hub = Hub()
    async with proxied(cluster, QUICK) as (_, reached):
        async with hub.subscribe(reached, CONFIG_MAPS, namespace, key="f") as stream:
            assert await hear(stream) == ("synced",)
            pending = asyncio.ensure_future(hear(stream))
            done, _pending = await asyncio.wait([pending], timeout=2.5)
            assert not done
            await add(admin, namespace, "a", "f")
            assert await pending == ("ADDED", "a")
        await hub.close()


async def test_a_dead_controller_is_taken_over_and_its_lease_removed(admin: Kube, namespace: str) -> None:
    dead = ControllerLease(admin, namespace, "dead", duration_seconds=1.0, renew_seconds=0.2)
    await dead.__aenter__()
    holders = HolderWatch(admin, namespace, poll_seconds=0.2)
    assert not await holders.is_expired("dead")
    assert dead._renewals is not None
    dead._renewals.cancel()
    async with asyncio.timeout(10):
        await holders.wait_until_expired("dead")
    assert not dead.held
    assert await holders.remove_expired("dead")
    with pytest.raises(NotFound):
        await admin.get(LEASES, lease_name("dead"), namespace)


async def test_a_live_lease_is_renewed_and_goes_with_its_last_fleet(
    cluster: ClusterConfig, admin: Kube, namespace: str
) -> None:
    hub = Hub()
    async with shared_lease(hub, cluster, namespace) as lease:
        name = lease_name(lease.controller_id)
        first = await admin.get(LEASES, name, namespace)
        assert first.spec.renew_time is not None
        version = first.metadata.resource_version
        async with asyncio.timeout(10), admin.watch(LEASES, namespace, resource_version=version) as events:
            renewed = (await anext(events)).object
        assert renewed.spec.renew_time is not None
        assert 1.5 < renewed.spec.renew_time - first.spec.renew_time < 4
        assert lease.holds(1)
    with pytest.raises(NotFound):
        await admin.get(LEASES, name, namespace)
    await hub.close()
