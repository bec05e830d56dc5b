"""What a sensor waits for, and whether what it sees satisfies that. Pure."""

from __future__ import annotations

from enum import StrEnum
from math import ceil

from msgspec import Struct

from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.mix import Mix


class State(StrEnum):
    """States of a whole fleet that can be waited for."""

    RUNNING = "running"  # every driver has begun to run
    SUCCEEDED = "succeeded"
    OVER = "over"  # whatever the outcome


class Wish(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is waited for; everything that is given must hold at once.

    Attributes:
        state: of the fleet.
        executors: how many run at least, a count.
        share: how many run at least, a share of those that the applications start with.
        mix: how the running executors are split between pools.
        tolerance: by how many executors each pool may differ from the mix.

    """

    state: State | None = None
    executors: int | None = None
    share: float | None = None
    mix: Mix | None = None
    tolerance: int = 1

    @property
    def needs_executors(self) -> bool:
        """Whether executors have to be looked at."""
        return self.executors is not None or self.share is not None or self.mix is not None


class ApplicationSeen(Struct, frozen=True, kw_only=True):
    """One application. ``state`` and ``message`` are its backend's; ``executors``: how many it starts with."""

    name: str
    phase: ApplicationPhase
    state: str = ""
    message: str = ""
    executors: int = 0


class Seen(Struct, frozen=True, kw_only=True):
    """What there is of a fleet.

    ``running``: executors that run, by the pool that they were placed on. ``fallen_back``: those of them that are not
    on their seat's pool, by cause. ``quorum``: how many applications have to succeed; 0 for all.
    """

    applications: tuple[ApplicationSeen, ...] = ()
    running: dict[str, int] = {}
    fallen_back: dict[str, int] = {}
    quorum: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether enough applications have."""
        count = sum(app.phase is ApplicationPhase.SUCCEEDED for app in self.applications)
        return count >= (self.quorum or len(self.applications))

    @property
    def failed(self) -> bool:
        """Whether so many applications have failed that the rest cannot make up for it."""
        count = sum(app.phase is ApplicationPhase.FAILED for app in self.applications)
        return count > len(self.applications) - (self.quorum or len(self.applications))

    @property
    def over(self) -> bool:
        """Whether the outcome is certain."""
        return self.succeeded or all(app.phase.over for app in self.applications)


class Verdict(StrEnum):
    """What follows from what was seen."""

    SATISFIED = "satisfied"
    WAITING = "waiting"
    HOPELESS = "hopeless"  # it can never be


class Judgement(Struct, frozen=True):
    """A verdict, and why, in words for a person."""

    verdict: Verdict
    why: str


def judge(wish: Wish, seen: Seen) -> Judgement:
    """Judge a fleet of which at least one application is there. One that is not there yet is the caller's business."""
    if seen.failed and wish.state is not State.OVER:
        failed = [app for app in seen.applications if app.phase is ApplicationPhase.FAILED]
        said = "; ".join(f"{app.name} is {app.state}: {app.message or 'no reason given'}" for app in failed)
        return Judgement(Verdict.HOPELESS, said)
    for found in (_state(wish, seen), _executors(wish, seen), _mix(wish, seen)):
        if found is not None:
            return found
    return Judgement(Verdict.SATISFIED, told(seen))


def told(seen: Seen) -> str:
    """What was seen, in words."""
    said = ", ".join(f"{app.name} is {app.state or 'NEW'}" for app in seen.applications) or "no application"
    return f"{said}; running executors: {seen.running or 'none'}"


def _state(wish: Wish, seen: Seen) -> Judgement | None:
    phases = [app.phase for app in seen.applications]
    reached = {
        None: True,
        State.RUNNING: ApplicationPhase.PENDING not in phases,
        State.SUCCEEDED: seen.succeeded,
        State.OVER: seen.over,
    }[wish.state]
    return None if reached else Judgement(Verdict.WAITING, f"not {wish.state} yet: {told(seen)}")


def _executors(wish: Wish, seen: Seen) -> Judgement | None:
    if not wish.needs_executors:
        return None
    expected = sum(app.executors for app in seen.applications)
    wanted = (
        wish.executors if wish.executors is not None else ceil(expected * (1.0 if wish.share is None else wish.share))
    )
    if sum(seen.running.values()) >= wanted:
        return None
    return _not_yet(f"fewer than {wanted} executors run", seen)


def _mix(wish: Wish, seen: Seen) -> Judgement | None:
    if wish.mix is None:
        return None
    target = wish.mix.seats(sum(seen.running.values()))
    pools = target.keys() | seen.running.keys()
    if all(abs(seen.running.get(pool, 0) - target.get(pool, 0)) <= wish.tolerance for pool in pools):
        return None
    return _not_yet(f"the mix is not {target} within {wish.tolerance}", seen)


def _not_yet(what: str, seen: Seen) -> Judgement:
    """Executors of applications that are over do not come back."""
    if seen.over:
        return Judgement(Verdict.HOPELESS, f"{what}, and the fleet is over: {told(seen)}")
    return Judgement(Verdict.WAITING, f"{what}: {told(seen)}")
