"""What has happened to a fleet, newest last: the lines of a page, each short, in a bounded number."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from msgspec import Struct

from airflow_provider_spotmix.core.history import Cause
from airflow_provider_spotmix.core.state import FleetState

MAX_HAPPENINGS = 100
MAX_TEXT = 160
MAX_NAME = 80


class Happening(Struct, frozen=True, kw_only=True):
    """One line. ``at``: seconds since the epoch; every text is cut to a bounded length."""

    at: float
    kind: str
    text: str
    pool: str = ""
    executor: str = ""
    node: str = ""
    cause: str = ""

    def plain(self) -> dict[str, str]:
        """As plain JSON."""
        return {
            "at": written(self.at),
            "kind": self.kind,
            "text": cut(self.text, MAX_TEXT),
            **{name: cut(getattr(self, name), MAX_NAME) for name in ("pool", "executor", "node", "cause")},
        }


def happenings(state: FleetState, remembered: Sequence[Happening]) -> list[Happening]:
    """Return the newest ones: from the state's histories, and what else was ``remembered`` (notices, drivers)."""
    found = [*remembered[-MAX_HAPPENINGS:], *_losses(state), *_placements(state), *_others(state)]
    return sorted(found, key=lambda each: each.at)[-MAX_HAPPENINGS:]


def _losses(state: FleetState) -> Iterable[Happening]:
    for loss in state.losses[-MAX_HAPPENINGS:]:
        why = f": {loss.evidence[0]}" if loss.evidence else ""
        is_spot_gone = loss.cause is Cause.SPOT_UNOBTAINABLE
        said = "had no spot node in time" if is_spot_gone else f"is lost ({loss.cause.value})"
        yield Happening(
            at=loss.at,
            kind="loss",
            pool=loss.pool,
            executor=loss.executor,
            node=loss.node,
            cause=loss.cause.value,
            text=f"{loss.executor} {said}{why}",
        )


def _placements(state: FleetState) -> Iterable[Happening]:
    replaced = set()
    for each in state.replacements[-MAX_HAPPENINGS:]:
        replaced.add(each.executor)
        yield Happening(
            at=each.at,
            kind="replacement",
            pool=each.pool,
            executor=each.executor,
            cause=each.cause.value,
            text=f"{each.executor} takes the seat of {each.replaces}, on {each.pool}",
        )
    for fallback in state.fallbacks[-MAX_HAPPENINGS:]:
        if fallback.executor not in replaced:
            yield Happening(
                at=fallback.at,
                kind="fallback",
                pool=fallback.pool,
                executor=fallback.executor,
                cause=fallback.cause,
                text=f"{fallback.executor} is on {fallback.pool}, not on {fallback.seat_pool} ({fallback.cause})",
            )
    for back in state.returns[-MAX_HAPPENINGS:]:
        yield Happening(
            at=back.at,
            kind="return",
            pool=back.pool,
            executor=back.executor,
            cause=back.cause,
            text=f"{back.executor} takes the seat of {back.replaces} back from {back.from_pool} to {back.pool}",
        )


def _others(state: FleetState) -> Iterable[Happening]:
    for change in state.breaker_changes[-MAX_HAPPENINGS:]:
        text = f"the breaker of {change.pool} is {change.status.value}: {change.cause}"
        yield Happening(at=change.at, kind="breaker", pool=change.pool, cause=change.status.value, text=text)
    for outage in state.outages[-MAX_HAPPENINGS:]:
        text = f"nobody looked after the fleet for {outage.until - outage.since:.0f} s: {outage.why}"
        yield Happening(at=outage.until, kind="outage", text=text)
    for resubmission in state.resubmissions.values():
        if not resubmission.void:
            text = (
                f"group {resubmission.group} is submitted again on {resubmission.pool}"
                f" ({resubmission.cause}: {resubmission.reason})"
            )
            yield Happening(
                at=resubmission.at, kind="resubmission", pool=resubmission.pool, cause=resubmission.cause, text=text
            )


def cut(text: str, most: int) -> str:
    """Cut a text that somebody else has written to a length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def written(at: float) -> str:
    """A time as ISO 8601, in UTC."""
    return dt.datetime.fromtimestamp(at, tz=dt.UTC).isoformat(timespec="milliseconds")


def read_time(text: str) -> float:
    """The seconds since the epoch of a time as `written`.

    Raises:
        ValueError: it is none.

    """
    return dt.datetime.fromisoformat(text).timestamp()
