"""Find what is left of fleets that have no application any more: checkpoints, gated executors, Leases of the dead.

Kubernetes deletes the first two with the application that owns them, unless somebody has orphaned them; a Lease belongs
to nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from msgspec import Struct

from airflow_provider_spotmix.backends import backends
from airflow_provider_spotmix.fleet.lease import DURATION_SECONDS, LEASE_SELECTOR
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import Conflict, NotFound
from airflow_provider_spotmix.kube.objects import ObjectMeta
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES, PODS, Resource
from airflow_provider_spotmix.manifests import labels

# A living controller has renewed its Lease in this time.
_OBSERVED_SECONDS = DURATION_SECONDS + 2
Sleep = Callable[[float], Awaitable[Any]]


class Leftover(Struct, frozen=True, kw_only=True):
    """Something that nobody needs any more, and why."""

    resource: Resource[Any]
    metadata: ObjectMeta
    why: str


async def find_leftovers(kube: Kube, namespace: str | None, *, sleep: Sleep = asyncio.sleep) -> list[Leftover]:
    """List what is left in a namespace (None: in all of them) without anything that needs it.

    Raises:
        KubeError: the API server refused.

    """
    # Applications are listed last: whatever was there before them and has none now has lost it.
    config_maps = (await kube.list(CONFIG_MAPS, namespace, label_selector=labels.FLEET)).items
    pods = (await kube.list(PODS, namespace, label_selector=f"{labels.FLEET},{labels.SPARK_ROLE}=executor")).items
    gated = [pod for pod in pods if any(gate.name == labels.GATE for gate in pod.spec.scheduling_gates)]
    dead = await find_dead_leases(kube, namespace, sleep=sleep)
    fleets = set()
    for api in backends():
        fleets |= {
            _fleet(app.metadata)
            for app in (await kube.list(api.resource, namespace, label_selector=labels.FLEET)).items
        }
    return [
        *_without_fleet(CONFIG_MAPS, (each.metadata for each in config_maps), fleets, "checkpoint of a fleet"),
        *_without_fleet(PODS, (pod.metadata for pod in gated), fleets, "executor that waits for its placement"),
        *dead,
    ]


async def find_dead_leases(kube: Kube, namespace: str | None, *, sleep: Sleep = asyncio.sleep) -> list[Leftover]:
    """List the Leases that nobody renews. No clocks are compared: they are looked at twice, some seconds apart.

    Raises:
        KubeError: the API server refused.

    """
    before = {each.metadata.uid: each.metadata.resource_version for each in await _leases(kube, namespace)}
    if not before:
        return []
    await sleep(_OBSERVED_SECONDS)
    now = [each.metadata for each in await _leases(kube, namespace)]
    return [
        Leftover(resource=LEASES, metadata=each, why="its controller has stopped renewing it")
        for each in now
        if before.get(each.uid) == each.resource_version
    ]


async def delete_leftover(kube: Kube, leftover: Leftover) -> bool:
    """Delete it; False when it is gone, or is not what it was: a Lease that is renewed after all, another pod.

    Raises:
        KubeError: the API server refused.

    """
    metadata = leftover.metadata
    version = metadata.resource_version if leftover.resource is LEASES else None
    try:
        await kube.delete(
            leftover.resource, metadata.name, metadata.namespace, uid=metadata.uid, resource_version=version
        )
    except (NotFound, Conflict):
        return False
    return True


async def _leases(kube: Kube, namespace: str | None) -> Iterable[Any]:
    return (await kube.list(LEASES, namespace, label_selector=LEASE_SELECTOR)).items


def _without_fleet(
    resource: Resource[Any], found: Iterable[ObjectMeta], fleets: set[tuple[str, str]], what: str
) -> list[Leftover]:
    return [
        Leftover(resource=resource, metadata=each, why=f"{what} that has no application any more")
        for each in found
        if _fleet(each) not in fleets and each.deletion_timestamp is None
    ]


def _fleet(metadata: ObjectMeta) -> tuple[str, str]:
    return metadata.namespace, metadata.labels.get(labels.FLEET, "")
