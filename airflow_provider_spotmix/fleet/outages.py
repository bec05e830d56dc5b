"""Note when a fleet was not looked after: the API server was away, or no controller was there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from airflow_provider_spotmix.core.events import OutageSeen
from airflow_provider_spotmix.fleet.hub import FeedItem
from airflow_provider_spotmix.kube.watch import Connected, Disconnected

# What is shorter is no news: watches are renewed all the time.
SHORTEST_SECONDS = 2.0
# The part of an outage that is not any feed's.
HOLD = "hold"


class Outages:
    """The outages of one fleet, as its feeds and calls tell of them; it outlives a lost hold.

    Args:
        now: the clock, in seconds since the epoch.

    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._troubled: set[str] = set()
        self._since = 0.0
        self._why = ""

    def heard(self, feed: str, item: FeedItem[Any]) -> list[OutageSeen]:
        """Take in what a feed says; returns the outage that is over with it, if one is."""
        if isinstance(item, Disconnected):
            self.began(feed, str(item.error), silent_seconds=time.time() - item.since)
        return self.ended(feed) if isinstance(item, Connected) else []

    def held_again(self) -> None:
        """Begin anew with the feeds, which will say what is still cut off; the outage goes on until `ended(HOLD)`."""
        self._troubled = {HOLD} if self._troubled else set()

    def began(self, part: str, why: str, *, silent_seconds: float = 0.0) -> None:
        """Note that a part is cut off, since its last sign of life."""
        if not self._troubled:
            self._since, self._why = self._now() - max(silent_seconds, 0.0), why
        self._troubled.add(part)

    def ended(self, part: str) -> list[OutageSeen]:
        """Note that a part is well. The outage is over when all are."""
        if part not in self._troubled:
            return []
        self._troubled.discard(part)
        return [] if self._troubled else self.seen(self._since, self._why)

    def seen(self, since: float, why: str) -> list[OutageSeen]:
        """An outage that ends now, if it was long enough to be told."""
        now = self._now()
        return [OutageSeen(at=now, id="outage", since=since, why=why)] if now - since >= SHORTEST_SECONDS else []
