"""Executors by pool over time, in a bounded number of points: what a chart shows of a fleet's life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

MAX_POINTS = 240
# With many pools there are fewer points: so many numbers in all.
_MAX_NUMBERS = 3000
SERIES = ("placed", "seats", "running")


class Point(Struct, frozen=True):
    """How many executors each pool had from ``at`` (seconds since the epoch) on."""

    at: float
    placed: Mapping[str, int]
    seats: Mapping[str, int]
    running: Mapping[str, int]

    @property
    def counts(self) -> tuple[Mapping[str, int], ...]:
        """The three series."""
        return self.placed, self.seats, self.running


class Timeline:
    """Steps in time. A point is kept as long as the chart would look different without it."""

    def __init__(self, pools: tuple[str, ...], before: Any = None) -> None:
        """Begin, or go on with the columns of an earlier one (as `columns` returns them; anything else is ignored)."""
        self._pools = pools
        self._most = max(2, min(MAX_POINTS, _MAX_NUMBERS // (len(SERIES) * max(1, len(pools)))))
        self._points = _points(before, pools)

    def add(self, point: Point) -> None:
        """Take what is true from now on; what was so already needs no point."""
        if self._points and (self._points[-1].counts == point.counts or point.at < self._points[-1].at):
            return
        self._points.append(point)
        if len(self._points) > self._most:
            self._forget_one()

    def columns(self, until: float) -> dict[str, Any]:
        """The columns of the contract: ``at`` and, by pool, ``placed``, ``seats`` and ``running``; up to now."""
        points = list(self._points)
        if points and until > points[-1].at:
            points.append(Point(until, *points[-1].counts))
        return {
            "at": [round(point.at, 1) for point in points],
            **{
                name: {pool: [getattr(point, name).get(pool, 0) for point in points] for pool in self._pools}
                for name in SERIES
            },
        }

    def _forget_one(self) -> None:
        """Forget the point that is missed least: its change was small, or did not last."""
        points = self._points
        least = min(
            range(1, len(points) - 1),
            key=lambda i: _distance(points[i - 1], points[i]) * (points[i + 1].at - points[i].at),
        )
        del points[least]


def _distance(a: Point, b: Point) -> int:
    return sum(
        abs(one.get(pool, 0) - other.get(pool, 0))
        for one, other in zip(a.counts, b.counts, strict=True)
        for pool in {*one, *other}
    )


def _points(before: Any, pools: tuple[str, ...]) -> list[Point]:
    """Read columns that an earlier controller wrote, be it of another version."""
    try:
        return [
            Point(float(at), *({pool: int(before[name].get(pool, ())[i]) for pool in pools} for name in SERIES))
            for i, at in enumerate(before["at"][:MAX_POINTS])
        ]
    except (TypeError, KeyError, IndexError, ValueError, AttributeError):
        return []
