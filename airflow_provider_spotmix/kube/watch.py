"""Follow a collection for as long as one wants: LIST, then WATCH, and again, whatever breaks in between.

The stream of a :class:`Reflector` is a complete account: applying its items in order to an empty cache gives the
collection's state, except between :class:`Disconnected` and :class:`Connected`, when it may lag.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from airflow_provider_spotmix.kube.errors import Forbidden, Gone, KubeError, NotFound, Unauthorized
from airflow_provider_spotmix.kube.objects import metadata_of
from airflow_provider_spotmix.kube.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from airflow_provider_spotmix.kube.client import Kube, Listing
    from airflow_provider_spotmix.kube.resources import Resource

T = TypeVar("T")

# What the server refuses and waiting does not cure, unless somebody changes RBAC or installs the CRD meanwhile.
_REFUSALS = (Forbidden, NotFound, Unauthorized)


@dataclass(frozen=True, slots=True)
class Synced(Generic[T]):
    """The whole collection as of now: forget what you knew. Objects that vanished unseen are simply absent."""

    objects: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class Changed(Generic[T]):
    """One object was added, modified or deleted (then ``object`` is its last state)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: T


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Changes may go unseen, because of ``error``; we keep trying.

    ``since`` is the last sign of life from the server, seconds since the epoch: on a quiet watch it lies up to
    ``Limits.watch_seconds`` before the break, never after it.
    """

    since: float
    error: KubeError


@dataclass(frozen=True, slots=True)
class Connected:
    """Changes are seen again. What happened meanwhile follows as changes, or has just come as a :class:`Synced`."""

    at: float


Item: TypeAlias = Synced[T] | Changed[T] | Disconnected | Connected


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a reflector is; all in seconds.

    ``refusal_seconds``: how long a refused LIST (403, 404, 401) is tried again once it has worked before, which rides
    out a mistake in RBAC. ``poll_seconds`` and ``retry_watch_seconds``: how often to LIST while WATCH is forbidden, and
    how often to try WATCH again. A watch that ends sooner than ``short_watch_seconds`` counts as a failure.
    """

    refusal_seconds: float = 300.0
    poll_seconds: float = 5.0
    retry_watch_seconds: float = 300.0
    short_watch_seconds: float = 1.0
    backoff_base_seconds: float = 0.5
    backoff_cap_seconds: float = 15.0


class Reflector(Generic[T]):
    """Mirror one collection.

    Use: ``async for item in Reflector(kube, PODS, "spark", label_selector="spotmix.io/fleet").stream()``.
    ``now`` gives seconds since the epoch, for the times in items.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        pace: Pace | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._pace = pace or Pace()
        self._now = now
        self._backoff = Backoff(self._pace.backoff_base_seconds, self._pace.backoff_cap_seconds)
        self._version: str | None = None
        self._has_listed = False
        self._outage: Disconnected | None = None
        self._refused_at: float | None = None
        self._alive_at = now()

    async def stream(self) -> AsyncGenerator[Item[T], None]:
        """Yield items for ever; one stream per reflector.

        Raises what the first LIST is refused with (:class:`~.errors.Forbidden`, :class:`~.errors.NotFound` when the
        kind is not served, :class:`~.errors.Unauthorized`); later refusals are :class:`Disconnected` until they have
        lasted for ``Pace.refusal_seconds``.
        """
        while True:
            started = _clock()
            try:
                if self._version is None:
                    listing = await self._list()
                    yield Synced(listing.items)
                    for connected in self._recovered():
                        yield connected
                async with aclosing(self._follow(self._version or "")) as items:
                    async for item in items:
                        yield item
            except Gone:
                # Not an outage: the server only forgot the version that we would resume from.
                self._version = None
            except KubeError as error:
                self._give_up_if_refused_for_good(error)
                if self._outage is None:
                    self._outage = Disconnected(self._alive_at, error)
                    yield self._outage
                await asyncio.sleep(self._backoff.next_seconds())
                continue
            if _clock() - started < self._pace.short_watch_seconds:
                await asyncio.sleep(self._backoff.next_seconds())
            else:
                self._backoff.reset()

    async def _follow(self, version: str) -> AsyncGenerator[Item[T], None]:
        """Yield the changes of one watch, or of polling for a while where watching is forbidden."""
        try:
            opening = self._kube.watch(
                self._resource,
                self._namespace,
                resource_version=version,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
            )
            async with opening as events:
                self._alive_at = self._now()
                for connected in self._recovered():
                    yield connected
                async for event in events:
                    self._alive_at = self._now()
                    self._version = event.resource_version
                    if event.type != "BOOKMARK":
                        yield Changed(event.type, event.object)
                self._alive_at = self._now()
        except Forbidden:
            async with aclosing(self._poll()) as items:
                async for item in items:
                    yield item

    async def _poll(self) -> AsyncGenerator[Item[T], None]:
        """LIST every few seconds and tell the differences. Raises :class:`KubeError` when a LIST fails."""
        until = _clock() + self._pace.retry_watch_seconds
        listing = await self._list()
        yield Synced(listing.items)
        for connected in self._recovered():
            yield connected
        while _clock() < until:
            await asyncio.sleep(self._pace.poll_seconds)
            before, listing = listing, await self._list()
            for change in differences(before, listing):
                yield change

    async def _list(self) -> Listing[T]:
        listing = await self._kube.list(
            self._resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        self._alive_at = self._now()
        self._version = listing.resource_version
        self._has_listed = True
        self._refused_at = None
        return listing

    def _recovered(self) -> tuple[Connected, ...]:
        if self._outage is None:
            return ()
        self._outage = None
        return (Connected(self._now()),)

    def _give_up_if_refused_for_good(self, error: KubeError) -> None:
        if not isinstance(error, _REFUSALS):
            self._refused_at = None
            return
        # List again: after a refusal nobody knows what the watch would have missed.
        self._version = None
        if self._refused_at is None:
            self._refused_at = _clock()
        if not self._has_listed or _clock() - self._refused_at >= self._pace.refusal_seconds:
            raise error


def differences(before: Listing[T], after: Listing[T]) -> list[Changed[T]]:
    """Tell what a watch would have told between two listings: additions and modifications first, then deletions."""
    old, new = ({metadata_of(each).uid: each for each in listing.items} for listing in (before, after))
    changes: list[Changed[T]] = []
    for uid, each in new.items():
        if uid not in old:
            changes.append(Changed("ADDED", each))
        elif _version(old[uid]) != _version(each):
            changes.append(Changed("MODIFIED", each))
    changes.extend(Changed("DELETED", each) for uid, each in old.items() if uid not in new)
    return changes


def _version(thing: Any) -> str:
    return metadata_of(thing).resource_version


def _clock() -> float:
    return asyncio.get_running_loop().time()
