"""The watch hub: one LIST+WATCH per (cluster, credentials, namespace, kind) for all fleets of this process.

Use, in a trigger, a worker or the agent alike::

    hub = Hub.shared()
    async with hub.client(cluster) as kube, hub.subscribe(cluster, PODS, "spark", key=fleet_id) as pods:
        async for item in pods:            # Synced first, then Changed | Disconnected | Connected | Synced ...
            ...

A hub belongs to one event loop. Its background tasks start with an empty ``contextvars.Context``, so nothing of the
first subscriber (its task log, for one) sticks to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from airflow_provider_spotmix.kube.watch import Item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.config import ClusterConfig
    from airflow_provider_spotmix.kube.errors import KubeError
    from airflow_provider_spotmix.kube.resources import Resource

T = TypeVar("T")

FLEET_LABEL = "spotmix.io/fleet"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The only item of an ``optional`` subscription that RBAC (or the cluster) does not permit."""

    error: KubeError


FeedItem: TypeAlias = Item[T] | Unavailable


class Hub:
    """Shares clients and watches between the fleets of one process and event loop."""

    @classmethod
    def shared(cls) -> Hub:
        """Return the hub of the running event loop, made at first use."""
        raise NotImplementedError

    def client(self, cluster: ClusterConfig) -> AbstractAsyncContextManager[Kube]:
        """Share one client per cluster identity; it is closed some time after its last user has left."""
        raise NotImplementedError

    def subscribe(
        self,
        cluster: ClusterConfig,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        key: str | None = None,
        index_label: str = FLEET_LABEL,
        selector: str | None = None,
        optional: bool = False,
        queue_size: int = 1000,
    ) -> AbstractAsyncContextManager[AsyncIterator[FeedItem[T]]]:
        """Follow a collection through the shared watch.

        - ``key``: deliver only objects whose label ``index_label`` has this value; the shared watch then selects on the
          mere presence of that label. An object that loses the value is delivered as DELETED. ``None``: everything.
        - ``selector``: label selector of the shared watch when ``key`` is ``None``. Keep it constant in the program:
          each different one is another watch.
        - ``optional``: a refused LIST yields one :class:`Unavailable` and ends, instead of raising.
        - ``queue_size``: items kept for a slow subscriber; on overflow they collapse into one fresh ``Synced``.

        The iterator raises a :class:`~.errors.KubeError` when the LIST is refused for good.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Stop all watches and close all clients now."""
        raise NotImplementedError
