"""One shared watch: its cache, its index, and a queue for every subscriber. No I/O here but the reflector's.

Delivery: nobody blocks anybody and nothing is lost. A subscriber that lags by more than its queue holds gets a fresh
``Synced`` from the cache instead of the changes it missed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.objects import metadata_of
from airflow_provider_spotmix.kube.watch import Changed, Connected, Disconnected, Item, Reflector, Synced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.resources import Resource

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The only item of an ``optional`` subscription that RBAC (or the cluster) does not permit."""

    error: KubeError


FeedItem: TypeAlias = Item[T] | Unavailable


class Feed(Generic[T]):
    """Mirrors one collection and hands its changes to subscribers, by the value of one label or all of it."""

    def __init__(
        self,
        resource: Resource[T],
        namespace: str | None,
        selector: str | None,
        index_label: str,
        *,
        on_failure: Callable[[], None],
    ) -> None:
        self._resource = resource
        self._namespace = namespace
        self._selector = selector
        self._index_label = index_label
        self._on_failure = on_failure
        self._objects: dict[str, T] = {}
        self._index: dict[str, dict[str, T]] = {}
        self._subscriptions: dict[str | None, list[Subscription[T]]] = {}
        self.synced = False
        self.outage: Disconnected | None = None
        self.failure: Exception | None = None

    @asynccontextmanager
    async def running(self, kube: Kube) -> AsyncGenerator[Feed[T], None]:
        """Mirror the collection while inside."""
        task = asyncio.get_running_loop().create_task(self._mirror(kube))
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def subscribe(self, key: str | None, queue_size: int, *, optional: bool) -> Subscription[T]:
        """Add a subscriber; it sees the cache's state first, however late it comes."""
        subscription = Subscription(self, key, queue_size, optional=optional)
        self._subscriptions.setdefault(key, []).append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription[T]) -> None:
        """Remove a subscriber."""
        remaining = self._subscriptions[subscription.key]
        remaining.remove(subscription)
        if not remaining:
            del self._subscriptions[subscription.key]

    def snapshot(self, key: str | None) -> Synced[T]:
        """Return what the cache holds for ``key`` (``None``: everything)."""
        chosen = self._objects if key is None else self._index.get(key, {})
        return Synced(tuple(chosen.values()))

    async def _mirror(self, kube: Kube) -> None:
        reflector = Reflector(kube, self._resource, self._namespace, label_selector=self._selector)
        try:
            async with aclosing(reflector.stream()) as items:
                async for item in items:
                    self._apply(item)
        except Exception as error:  # noqa: BLE001 - whatever it is, subscribers must hear of it, or they wait for ever
            self.failure = error
            self._on_failure()
            for subscription in self._everyone():
                subscription.wake()

    def _apply(self, item: Item[T]) -> None:
        match item:
            case Synced(objects):
                self._replace(objects)
            case Changed(kind, thing):
                self._change(kind, thing)
            case Disconnected():
                self.outage = item
                self._tell_all(item)
            case Connected():
                self.outage = None
                self._tell_all(item)

    def _replace(self, objects: tuple[T, ...]) -> None:
        self._objects.clear()
        self._index.clear()
        for each in objects:
            self._store(each)
        self.synced = True
        for subscription in self._everyone():
            subscription.resync()

    def _change(self, kind: str, thing: T) -> None:
        uid = metadata_of(thing).uid
        old = self._objects.get(uid)
        new_key = self._key_of(thing)
        if old is not None:
            self._drop(old)
        if kind != "DELETED":
            self._store(thing)
        change = Changed(kind, thing)  # type: ignore[arg-type]  # the watch knows no other kinds
        self._tell(None, change)
        if old is not None and (old_key := self._key_of(old)) != new_key:
            # Somebody changed the label: the object left one fleet and joined another.
            self._tell(old_key, Changed("DELETED", old))
            change = Changed("ADDED", thing) if kind != "DELETED" else change
        self._tell(new_key, change)

    def _store(self, thing: T) -> None:
        uid = metadata_of(thing).uid
        self._objects[uid] = thing
        if key := self._key_of(thing):
            self._index.setdefault(key, {})[uid] = thing

    def _drop(self, thing: T) -> None:
        uid = metadata_of(thing).uid
        self._objects.pop(uid, None)
        key = self._key_of(thing)
        if (group := self._index.get(key)) is not None:
            group.pop(uid, None)
            if not group:
                del self._index[key]

    def _key_of(self, thing: T) -> str:
        return metadata_of(thing).labels.get(self._index_label) or ""

    def _tell(self, key: str | None, item: Item[T]) -> None:
        for subscription in self._subscriptions.get(key, ()):
            subscription.put(item)

    def _tell_all(self, item: Item[T]) -> None:
        for subscription in self._everyone():
            subscription.put(item)

    def _everyone(self) -> list[Subscription[T]]:
        return [subscription for group in self._subscriptions.values() for subscription in group]


class Subscription(Generic[T]):
    """One subscriber's view of a feed: an async iterator of items."""

    def __init__(self, feed: Feed[T], key: str | None, queue_size: int, *, optional: bool) -> None:
        self.key = key
        self._feed = feed
        self._queue: deque[Item[T]] = deque()
        self._queue_size = queue_size
        self._optional = optional
        # Stale: the next item is a snapshot of the cache, which holds every change up to the moment it is taken.
        self._stale = feed.synced
        self._told_outage = False
        self._ended = False
        self._news = asyncio.Event()
        if not feed.synced and feed.outage is not None:
            self.put(feed.outage)

    def put(self, item: Item[T]) -> None:
        """Queue an item, or fall back to a snapshot when the subscriber lags too far behind."""
        if not self._stale:
            if len(self._queue) >= self._queue_size:
                self.resync()
            else:
                self._queue.append(item)
        self._news.set()

    def resync(self) -> None:
        """Forget what is queued: a snapshot follows."""
        if self._feed.synced:
            self._queue.clear()
            self._stale = True
        self._news.set()

    def wake(self) -> None:
        """Make the subscriber look at the feed's failure."""
        self._news.set()

    def __aiter__(self) -> Subscription[T]:
        return self

    async def __anext__(self) -> FeedItem[T]:
        while True:
            if self._stale:
                self._take_snapshot()
            if self._queue:
                return self._hand_over(self._queue.popleft())
            if self._ended:
                raise StopAsyncIteration
            if self._feed.failure is not None:
                return self._fail(self._feed.failure)
            self._news.clear()
            await self._news.wait()

    def _take_snapshot(self) -> None:
        self._stale = False
        self._queue.clear()
        self._queue.append(self._feed.snapshot(self.key))
        if self._told_outage and self._feed.outage is None:
            self._queue.append(Connected(time.time()))
        if self._feed.outage is not None and not self._told_outage:
            self._queue.append(self._feed.outage)

    def _hand_over(self, item: Item[T]) -> Item[T]:
        if isinstance(item, Disconnected):
            self._told_outage = True
        elif isinstance(item, Connected):
            self._told_outage = False
        return item

    def _fail(self, failure: Exception) -> Unavailable:
        self._ended = True
        if isinstance(failure, KubeError):
            if self._optional and not self._feed.synced:
                return Unavailable(failure)
            raise failure
        raise RuntimeError("the shared watch stopped because of a defect; see the cause") from failure
