"""A fleet's progress: what a person sees of it while it runs, and after it. Schema 1; later versions only add keys.

Pure: it is told what is true and what time it is. It stays below `MAX_BYTES`, however large the fleet is, and whatever
others have written into names and reasons.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_spotmix.core.actions import Topic
from airflow_provider_spotmix.core.cost import Costs, costs
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.history import Breaker, BreakerChange, BreakerStatus
from airflow_provider_spotmix.core.ledger import so_far
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import ApplicationState, Executor, FleetState
from airflow_provider_spotmix.fleet.happenings import Happening, cut, happenings, read_time, written
from airflow_provider_spotmix.fleet.overhead import Overhead
from airflow_provider_spotmix.fleet.report import REPORTED_AS_INTERRUPTIONS, ledger_rows
from airflow_provider_spotmix.fleet.timeline import SERIES, Point, Timeline

SCHEMA = 1
MAX_BYTES = 60_000  # as JSON; an XCom of 64 kB is what every database of Airflow takes
MAX_DRIVERS = 50
MAX_PERIODS = 50
MAX_LATENCIES = 1000
_MAX_MESSAGE = 300
# How often it is looked at whether anything has changed: a large fleet is not counted anew at each event.
_LOOK_SECONDS = 0.9
# What histories do not have, and a page shows.
_REMEMBERED = {Topic.NOTICE: "notice", Topic.RESTARTED: "driver", Topic.GIVEN_UP: "driver"}


class Period(Struct, frozen=True, kw_only=True):
    """A time in which the fleet was not as it should be. ``until`` is None while it goes on."""

    kind: str
    since: float
    why: str
    pool: str = ""
    until: float | None = None

    def plain(self) -> dict[str, Any]:
        """As plain JSON."""
        until = None if self.until is None else written(self.until)
        since, why = written(self.since), cut(self.why, _MAX_MESSAGE)
        return {"kind": self.kind, "pool": self.pool, "since": since, "until": until, "why": why}


class Progress:
    """Follows a fleet's state, and makes the picture of it that is shown."""

    def __init__(
        self, spec: FleetSpec, *, before: Mapping[str, Any] | None = None, changed: Callable[[], None] = lambda: None
    ) -> None:
        """Begin, or go on where an earlier controller was.

        Args:
            spec: the fleet.
            before: the picture that it left, if any. What cannot be read of it is ignored.
            changed: called when there is something new to show.

        """
        self._spec = spec
        self._changed = changed
        self._state = FleetState.new(spec)
        self._looked_at = 0.0
        self._seen: tuple[object, ...] = ()
        self._now = Point(0.0, {}, {}, {})
        before = before if before and before.get("fleet") == spec.fleet_id else {}
        self._timeline = Timeline(tuple(pool.name for pool in spec.pools), before.get("timeline"))
        self._remembered = _read(before.get("events"), _happening)
        self._fallbacks = _read(before.get("periods"), _fallback_period)
        self._notices = _number(before.get("counts"), "notices")
        self._relayed: dict[str, Any] | None = None
        self._result: tuple[str, str] | None = None
        self._ended_at: float | None = None
        self._overhead: Overhead | None = None
        self._gate_latencies_ms: deque[float] = deque(maxlen=MAX_LATENCIES)

    @property
    def is_going_on(self) -> bool:
        """Whether costs grow while nothing happens: the fleet has been seen, here, and is not over."""
        return bool(self._looked_at) and self._result is None and self._relayed is None

    def observe(self, state: FleetState, at: float) -> None:
        """Take what is true at a time (seconds since the epoch). Cheap enough to be called at every event."""
        self._state = state
        if at - self._looked_at >= _LOOK_SECONDS:
            self._look(at)

    def relay(self, picture: dict[str, Any]) -> None:
        """Show a picture that somebody else has made: the agent that looks after the fleet."""
        if picture != self._relayed:
            self._relayed = picture
            self._changed()

    def told(self, topic: Topic, text: str, at: float) -> None:
        """Remember what a person was told, and no history has."""
        kind = _REMEMBERED.get(topic)
        if kind is None:
            return
        self._notices += topic is Topic.NOTICE
        self._remembered = [*self._remembered, Happening(at=at, kind=kind, text=text)][-MAX_PERIODS:]
        self._changed()

    def lost_work(self, overhead: Overhead | None) -> None:
        """Remember what interruptions have cost in work so far."""
        if overhead != self._overhead:
            self._overhead = overhead
            self._changed()

    def driver_pods(self) -> list[str]:
        """Return the pods of the drivers that have begun to run, those that have ended among them."""
        if self._relayed is not None:
            return [driver["pod"] for driver in self._relayed.get("drivers", ()) if driver.get("pod")]
        apps = self._state.applications.values()
        return [app.driver.pod for app in apps if app.driver and app.driver.started]

    def placed(self, gate_latency_ms: float) -> None:
        """Remember how long an executor waited for its placement, for `take_gate_latencies`."""
        self._gate_latencies_ms.append(gate_latency_ms)

    def take_gate_latencies(self) -> list[float]:
        """Return what `placed` was told since the last time, in milliseconds; the newest, if they are very many."""
        taken = list(self._gate_latencies_ms)
        self._gate_latencies_ms.clear()
        return taken

    def end(self, result: str, message: str, at: float | None = None) -> None:
        """The fleet is over: ``succeeded``, ``failed`` or ``killed``. No executor is there any more."""
        at = at or self._looked_at
        self._result, self._ended_at = (result, message), at
        self._look(at)
        self._now = Point(at, {}, {}, {})
        self._timeline.add(self._now)
        self._fallbacks = [
            msgspec.structs.replace(each, until=at) if each.until is None else each for each in self._fallbacks
        ]
        self._changed()

    def _look(self, at: float) -> None:
        state, self._looked_at = self._state, at
        self._now = Point(at, *(_counts(state, name) for name in SERIES))
        self._timeline.add(self._now)
        away = _counts(state, "away")
        self._note_fallbacks(away, at)
        seen = (
            self._now.counts,
            away,
            *((app.phase, app.state, app.message, app.driver) for app in state.applications.values()),
            tuple(state.losses_by_cause.items()),
            tuple(state.replacements_by_pool.items()),
            tuple(state.fallbacks_by_cause.items()),
            tuple(state.returns_by_pool.items()),
            state.breaker_changes[-1:],
            state.outages[-1:],
            len(state.resubmissions),
        )
        if seen != self._seen:
            self._seen = seen
            self._changed()

    def _note_fallbacks(self, away: Mapping[str, int], at: float) -> None:
        """Begin a period for each pool whose seats are elsewhere, and end those of which none is any more."""
        going_on = {each.pool for each in self._fallbacks if each.until is None}
        periods = [
            msgspec.structs.replace(each, until=at) if each.until is None and each.pool not in away else each
            for each in self._fallbacks
        ]
        for pool in away.keys() - going_on:
            last = next((each for each in reversed(self._state.fallbacks) if each.seat_pool == pool), None)
            began = min(at, last.at) if last else at
            periods.append(Period(kind="fallback", pool=pool, since=began, why=last.cause if last else ""))
        self._fallbacks = periods[-MAX_PERIODS:]

    def picture(self, at: float | None = None) -> dict[str, Any]:
        """Return what is to be shown, as plain JSON: as of a time (seconds since the epoch), or when last looked."""
        if self._relayed is not None:
            return self._relayed
        at = self._ended_at or at or self._looked_at
        state, spec = self._state, self._spec
        accounts = so_far(state, at)
        cost = costs(spec, accounts)
        result, message = self._result or (_phase(state), "")
        drivers = _drivers(state)
        picture = {
            "schema": SCHEMA,
            "fleet": spec.fleet_id,
            "namespace": spec.namespace,
            "applications": [application.name for application in spec.first_attempts],
            "summary": self._summary(result, cost, at),
            "message": cut(message, _MAX_MESSAGE),
            "controller": spec.controller,
            "mix": {
                "ratio": {share.pool: share.weight for share in spec.mix.shares},
                "on_demand_base": spec.mix.on_demand_base,
            },
            "pools": {pool.name: {"capacity_type": pool.capacity_type.value} for pool in spec.pools},
            "fallback_pool": spec.fallback_pool,
            "target": _target(state),
            "seats": self._now.seats,
            "placed": self._now.placed,
            "running": self._now.running,
            "waiting": 0 if self._result else sum(len(app.tally.waiting) for app in _living(state)),
            "leaving": 0 if self._result else sum(_is_leaving(each) for _, each in state.executors()),
            "drivers": drivers[:MAX_DRIVERS],
            "more": max(0, len(drivers) - MAX_DRIVERS),
            "counts": {
                "notices": self._notices,
                "losses": state.losses_by_cause,
                "replacements": state.replacements_by_pool,
                "fallbacks": state.fallbacks_by_cause,
                "returns": state.returns_by_pool,
            },
            "breaker": {pool: _breaker(state, pool, breaker) for pool, breaker in state.breakers.items()},
            "timeline": self._timeline.columns(at),
            "periods": [each.plain() for each in self._periods()],
            "events": [each.plain() for each in happenings(state, self._remembered)],
            "ledger": ledger_rows(spec, accounts),
            "costs": msgspec.to_builtins(cost),
            "overhead": msgspec.to_builtins(self._overhead),
        }
        return _bounded(picture)

    def _summary(self, result: str, cost: Costs | None, at: float) -> dict[str, Any]:
        """The few values that a list of many fleets shows."""
        state = self._state
        created = [app.created_at for app in state.applications.values() if app.created_at]
        placed = self._now.placed
        spot = sum(count for pool, count in placed.items() if self._spec.is_spot(pool))
        return {
            "fleet": self._spec.fleet_id,
            "namespace": self._spec.namespace,
            "state": result,
            "started_at": written(min(created)) if created else None,
            "ended_at": written(self._ended_at) if self._ended_at else None,
            "updated_at": written(at),
            "placement": self._spec.placement,
            "executors": sum(placed.values()),
            "spot": spot,
            "on_demand": sum(placed.values()) - spot,
            "interruptions": sum(state.losses_by_cause.get(cause.value, 0) for cause in REPORTED_AS_INTERRUPTIONS),
            "replacements": sum(state.replacements_by_pool.values()),
            "fallbacks": sum(state.fallbacks_by_cause.values()),
            "in_fallback": any(each.until is None for each in self._fallbacks),
            "currency": cost.currency if cost else None,
            "total": str(cost.total) if cost else None,
            "all_on_demand": str(cost.all_on_demand) if cost else None,
            "saved": str(cost.saved) if cost else None,
            "estimated": cost.estimated if cost else False,
        }

    def _periods(self) -> list[Period]:
        outages = [Period(kind="outage", since=e.since, until=e.until, why=e.why) for e in self._state.outages]
        periods = [*self._fallbacks, *outages, *_open_breakers(self._state.breaker_changes, self._ended_at)]
        return sorted(periods, key=lambda each: each.since)[-MAX_PERIODS:]


def _living(state: FleetState) -> list[ApplicationState]:
    return [app for app in state.applications.values() if not app.over]


def _counts(state: FleetState, name: str) -> dict[str, int]:
    """Sum up what the applications' tallies have of that name."""
    counts: dict[str, int] = {}
    for app in _living(state):
        for pool, count in getattr(app.tally, name).items():
            counts[pool] = counts.get(pool, 0) + count
    return counts


def _target(state: FleetState) -> dict[str, int]:
    """What the mix asks for the seats that there are now; at first, for those that there will be."""
    counts: dict[str, int] = {}
    for app in _living(state):
        seats = sum(app.seats().values()) or (0 if app.submission else app.executors_expected)
        for pool, count in ({app.pool: seats} if app.pool else state.spec.mix.seats(seats)).items():
            counts[pool] = counts.get(pool, 0) + count
    return counts


def _phase(state: FleetState) -> str:
    is_running = any(app.started or app.submission for app in state.applications.values())
    return "running" if is_running else "submitted"


def _is_leaving(executor: Executor) -> bool:
    return not executor.pod.ended and (executor.pod.deleting or executor.is_removing)


def _drivers(state: FleetState) -> list[dict[str, Any]]:
    found = []
    for application in state.spec.applications:
        app = state.applications[application.name]
        if application.replaces and app.phase is ApplicationPhase.PENDING and not app.uid:
            continue
        found.append(
            {
                "application": app.name,
                "group": cut(application.group, _MAX_MESSAGE),
                "pool": application.pool,
                "attempt": 2 if application.replaces else 1,
                "state": cut(app.state or app.phase.value, 80),
                "message": cut(app.message, _MAX_MESSAGE),
                "spark_application": cut(app.driver.submission, 80) if app.driver else "",
                "pod": app.driver.pod if app.driver else "",
                "node": app.driver.node if app.driver else "",
            }
        )
    return found


def _breaker(state: FleetState, pool: str, breaker: Breaker) -> dict[str, Any]:
    last = next((each for each in reversed(state.breaker_changes) if each.pool == pool), None)
    since = written(breaker.since) if breaker.since else None
    return {"state": breaker.status.value, "since": since, "why": cut(last.cause, _MAX_MESSAGE) if last else ""}


def _open_breakers(changes: tuple[BreakerChange, ...], ended_at: float | None) -> list[Period]:
    """From each opening to the next closing of the same pool's breaker."""
    periods: list[Period] = []
    began: dict[str, BreakerChange] = {}
    for change in changes:
        if change.status is BreakerStatus.CLOSED and (first := began.pop(change.pool, None)):
            periods.append(Period(kind="breaker", pool=change.pool, since=first.at, until=change.at, why=first.cause))
        elif change.status is BreakerStatus.OPEN:
            began.setdefault(change.pool, change)
    still = [Period(kind="breaker", pool=e.pool, since=e.at, until=ended_at, why=e.cause) for e in began.values()]
    return [*periods, *still]


def _bounded(picture: dict[str, Any]) -> dict[str, Any]:
    """Leave the oldest out, until it is small enough: many pools with long names make it large."""
    for part in ("events", "periods", "drivers"):
        while len(json.dumps(picture)) > MAX_BYTES and picture[part]:
            picture[part] = picture[part][(len(picture[part]) + 1) // 2 :]
    return picture


# -- what an earlier controller left, be it of another version


def _read(values: Any, read: Callable[[Mapping[str, Any]], Any]) -> list[Any]:
    found = []
    for value in values if isinstance(values, list) else ():
        try:
            found.append(read(value))
        except (TypeError, KeyError, ValueError, AttributeError):
            continue
    return [each for each in found if each is not None]


def _happening(value: Mapping[str, Any]) -> Happening | None:
    if value["kind"] not in _REMEMBERED.values():
        return None
    return Happening(at=read_time(value["at"]), kind=value["kind"], text=str(value["text"]))


def _fallback_period(value: Mapping[str, Any]) -> Period | None:
    if value["kind"] != "fallback":
        return None
    until = None if value["until"] is None else read_time(value["until"])
    since, why = read_time(value["since"]), str(value["why"])
    return Period(kind="fallback", pool=str(value["pool"]), since=since, until=until, why=why)


def _number(values: Any, name: str) -> int:
    value = values.get(name) if isinstance(values, Mapping) else 0
    return value if isinstance(value, int) else 0
