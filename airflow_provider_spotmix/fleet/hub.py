"""The watch hub: one LIST+WATCH per (cluster, credentials, namespace, kind) for all fleets of this process.

Use, in a trigger, a worker or the agent alike::

    hub = Hub.shared()
    async with hub.client(cluster) as kube, hub.subscribe(cluster, PODS, "spark", key=fleet_id) as pods:
        async for item in pods:            # Synced, then Changed | Disconnected | Connected | Synced ...
            ...

``Synced`` is the first item unless the API server cannot be reached: then one ``Disconnected`` comes before it.
A hub belongs to one event loop. Its background tasks start with an empty ``contextvars.Context``, so nothing of the
first subscriber (its task log, for one) sticks to them.
"""

from __future__ import annotations

import asyncio
import weakref
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from airflow_provider_spotmix.fleet.feed import Feed, FeedItem, Unavailable
from airflow_provider_spotmix.fleet.sharing import Shared
from airflow_provider_spotmix.manifests import labels

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable

    from airflow_provider_spotmix.kube.client import Cluster, Kube
    from airflow_provider_spotmix.kube.resources import Resource

__all__ = ["FLEET_LABEL", "FeedItem", "Hub", "Unavailable"]

T = TypeVar("T")
V = TypeVar("V")

FLEET_LABEL: Final = labels.FLEET

# Fleets often follow one another: keep a watch that long for the next one.
_LINGER_SECONDS: Final = 10.0

_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


class Hub:
    """Shares clients and watches between the fleets of one process and event loop.

    ``linger_seconds``: how long what nobody uses any more is kept for the next user.
    """

    def __init__(self, *, linger_seconds: float = _LINGER_SECONDS) -> None:
        self._shared = Shared(linger_seconds)

    @classmethod
    def shared(cls) -> Hub:
        """Return the hub of the running event loop, made at first use."""
        loop = asyncio.get_running_loop()
        for other in [each for each in _hubs if each.is_closed()]:
            del _hubs[other]
        return _hubs.setdefault(loop, cls())

    @asynccontextmanager
    async def client(self, cluster: Cluster) -> AsyncGenerator[Kube, None]:
        """Share one client per cluster identity; it is closed some time after its last user has left.

        Raises :class:`~.errors.ConfigError`.
        """
        async with self._shared.use(("client", cluster.identity()), lambda: _connected(cluster)) as kube:
            yield kube

    @asynccontextmanager
    async def subscribe(
        self,
        cluster: Cluster,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        key: str | None = None,
        index_label: str = FLEET_LABEL,
        selector: str | None = None,
        optional: bool = False,
        queue_size: int = 1000,
    ) -> AsyncGenerator[AsyncIterator[FeedItem[T]], None]:
        """Follow a collection through the shared watch.

        - ``key``: deliver only objects whose label ``index_label`` has this value; the shared watch then selects on the
          mere presence of that label. An object that loses the value is delivered as DELETED. ``None``: everything.
        - ``selector``: label selector of the shared watch when ``key`` is ``None``. Keep it constant in the program:
          each different one is another watch.
        - ``optional``: a refused LIST yields one :class:`Unavailable` and ends, instead of raising.
        - ``queue_size``: items kept for a slow subscriber; on overflow they collapse into one fresh ``Synced``.

        The iterator raises a :class:`~.errors.KubeError` when the LIST is refused for good.
        """
        if key == "":
            raise ValueError(f"empty key; give the value of the label {index_label!r}, or None for everything")
        chosen = index_label if key is not None else selector
        identity = cluster.identity()
        feed_key = ("feed", identity, resource.path(namespace), chosen, index_label)

        @asynccontextmanager
        async def opening() -> AsyncGenerator[Feed[T], None]:
            feed = Feed(resource, namespace, chosen, index_label, on_failure=lambda: self._shared.forget(feed_key))
            async with self.client(cluster) as kube, feed.running(kube):
                yield feed

        async with self._shared.use(feed_key, opening) as feed:
            subscription = feed.subscribe(key, queue_size, optional=optional)
            try:
                yield subscription
            finally:
                feed.unsubscribe(subscription)

    def share(
        self,
        key: Hashable,
        opening: Callable[[], AbstractAsyncContextManager[V]],
        *,
        linger_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[V]:
        """Share anything else in the same way: opened by its first user in a task of its own, closed after the last."""
        return self._shared.use(("other", key), opening, linger_seconds=linger_seconds)

    def lock(self, key: Hashable) -> AbstractAsyncContextManager[asyncio.Lock]:
        """Share a lock between those of this process who name the same thing."""

        @asynccontextmanager
        async def opening() -> AsyncGenerator[asyncio.Lock, None]:
            yield asyncio.Lock()

        return self.share(("lock", key), opening, linger_seconds=0)

    async def close(self) -> None:
        """Stop all watches and close all clients now."""
        await self._shared.close()


@asynccontextmanager
async def _connected(cluster: Cluster) -> AsyncGenerator[Kube, None]:
    kube = await cluster.connect()
    try:
        yield kube
    finally:
        await kube.close()
