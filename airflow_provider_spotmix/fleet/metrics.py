"""What the metrics system is told of a fleet, made from two pictures of its progress. Pure; docs/metrics.md lists all.

Counters grow by what is new since the picture before. Gauges are of one fleet: `Gauges` adds up those that share a name
and tags, as the fleets of a mapped task do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from msgspec import Struct


class Kind(StrEnum):
    """How the metrics system takes it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    TIMER = "timer"


class Metric(Struct, frozen=True):
    """A metric. ``tags``: beside ``dag_id`` and ``task_id``, which all have."""

    kind: Kind
    unit: str
    tags: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "spotmix.executors": Metric(Kind.GAUGE, "executors", ("pool",)),
    "spotmix.executors_running": Metric(Kind.GAUGE, "executors", ("pool",)),
    "spotmix.executors_waiting": Metric(Kind.GAUGE, "executors"),
    "spotmix.seats": Metric(Kind.GAUGE, "seats", ("pool",)),
    "spotmix.fleets": Metric(Kind.GAUGE, "fleets"),
    "spotmix.fleets_in_fallback": Metric(Kind.GAUGE, "fleets"),
    "spotmix.breakers_open": Metric(Kind.GAUGE, "breakers", ("pool",)),
    "spotmix.notices": Metric(Kind.COUNTER, "notices"),
    "spotmix.losses": Metric(Kind.COUNTER, "executors", ("cause",)),
    "spotmix.interruptions": Metric(Kind.COUNTER, "executors"),
    "spotmix.replacements": Metric(Kind.COUNTER, "executors", ("pool",)),
    "spotmix.fallbacks": Metric(Kind.COUNTER, "executors", ("cause",)),
    "spotmix.returns": Metric(Kind.COUNTER, "executors", ("pool",)),
    "spotmix.executor_seconds": Metric(Kind.COUNTER, "seconds", ("pool",)),
    "spotmix.cost": Metric(Kind.COUNTER, "currency", ("currency",)),
    "spotmix.cost_all_on_demand": Metric(Kind.COUNTER, "currency", ("currency",)),
    "spotmix.gate_latency": Metric(Kind.TIMER, "milliseconds"),
}

Tags = dict[str, str]
Picture = Mapping[str, Any]


class Measure(Struct, frozen=True):
    """One value of a metric: a gauge's, or what a counter grows by."""

    name: str
    value: float
    tags: Tags


def grown(before: Picture, now: Picture) -> list[Measure]:
    """Return by how much counters have grown from one picture to the next; from nothing, if that is another fleet's."""
    before = before if before.get("fleet") == now.get("fleet") else {}
    then = {(each.name, *each.tags.values()): each.value for each in _counts(before)}
    found = []
    for each in _counts(now):
        more = each.value - then.get((each.name, *each.tags.values()), 0.0)
        if more > 0:  # an estimate may have been corrected downwards: what was counted stays counted
            found.append(Measure(each.name, round(more, 6), each.tags))
    return found


def gauges(picture: Picture) -> list[Measure]:
    """Return the gauges of one fleet; none when it is over."""
    summary = _mapping(picture.get("summary"))
    if summary.get("state") not in ("submitted", "running"):
        return []
    found = [
        Measure("spotmix.fleets", 1, {}),
        Measure("spotmix.fleets_in_fallback", int(bool(summary.get("in_fallback"))), {}),
        Measure("spotmix.executors_waiting", _number(picture.get("waiting")), {}),
    ]
    for name, key in (("executors", "placed"), ("executors_running", "running"), ("seats", "seats")):
        values = _mapping(picture.get(key))
        pools = _mapping(picture.get("pools"))
        found += [Measure(f"spotmix.{name}", _number(values.get(pool)), {"pool": pool}) for pool in pools]
    for pool, breaker in _mapping(picture.get("breaker")).items():
        is_open = _mapping(breaker).get("state") != "closed"
        found.append(Measure("spotmix.breakers_open", int(is_open), {"pool": pool}))
    return found


class Gauges:
    """Adds up gauges of the fleets of a process which share a name and tags."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_fleet: dict[object, dict[tuple[str, frozenset[tuple[str, str]]], float]] = {}

    def set(self, fleet: object, measures: list[Measure]) -> list[Measure]:
        """Take a fleet's gauges, and return the sums of all that it has, or had: what it has no more is taken off."""
        old = self._by_fleet.pop(fleet, {})
        new = {(each.name, frozenset(each.tags.items())): each.value for each in measures}
        if new:
            self._by_fleet[fleet] = new
        return [Measure(name, self._sum(name, tags), dict(tags)) for name, tags in {**old, **new}]

    def forget(self, fleet: object) -> None:
        """Somebody else goes on with it, and with its gauges."""
        self._by_fleet.pop(fleet, None)

    def _sum(self, name: str, tags: frozenset[tuple[str, str]]) -> float:
        return sum(values.get((name, tags), 0.0) for values in self._by_fleet.values())


def _counts(picture: Picture) -> Iterator[Measure]:
    """All that has been counted so far."""
    summary, counts = _mapping(picture.get("summary")), _mapping(picture.get("counts"))
    yield Measure("spotmix.notices", _number(counts.get("notices")), {})
    yield Measure("spotmix.interruptions", _number(summary.get("interruptions")), {})
    by_tag = (("losses", "cause"), ("replacements", "pool"), ("fallbacks", "cause"), ("returns", "pool"))
    for name, tag in by_tag:
        for value, count in _mapping(counts.get(name)).items():
            yield Measure(f"spotmix.{name}", _number(count), {tag: value})
    for pool, row in _mapping(picture.get("ledger")).items():
        yield Measure("spotmix.executor_seconds", _number(_mapping(row).get("executor_seconds")), {"pool": pool})
    currency = summary.get("currency")
    if isinstance(currency, str):
        yield Measure("spotmix.cost", _number(summary.get("total")), {"currency": currency})
        yield Measure("spotmix.cost_all_on_demand", _number(summary.get("all_on_demand")), {"currency": currency})


def _mapping(value: object) -> Mapping[str, Any]:
    """A picture that somebody else wrote may be anything."""
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return 0.0
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return 0.0
    return float(number) if number.is_finite() else 0.0
