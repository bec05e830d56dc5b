"""The storm breaker: while a spot pool keeps losing nodes, or has none to give, nobody else is sent there.

Each spot pool has its own, since a storm is a matter of one market. It only ever turns spot into on-demand. Closed, it
counts spot nodes that were lost (one node once, however many executors were on it) and seats that could not have one.
When the window holds too many it opens. After a cooldown it is half open: one executor, the probe, tries the pool. A
node for it closes the breaker; none, or its loss, opens it for twice as long.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from airflow_provider_spotmix.core.actions import Topic
from airflow_provider_spotmix.core.history import (
    HISTORY_DETAILS,
    Breaker,
    BreakerChange,
    BreakerStatus,
    Cause,
    Loss,
    Mark,
)
from airflow_provider_spotmix.core.state import Executor, FleetState
from airflow_provider_spotmix.core.turn import Turn

# The longest cooldown, in first ones.
MAX_COOLDOWNS = 8
# What a spot pool is to blame for.
_BLAMED = (Cause.SPOT_INTERRUPTION, Cause.SPOT_UNOBTAINABLE)


def is_used(state: FleetState) -> bool:
    """Whether there is anything for a breaker to decide: some policies never leave spot."""
    return state.spec.policy.breaker_losses > 0 and state.spec.policy.fallback in ("on_demand", "wait")


def status(state: FleetState, pool: str) -> BreakerStatus:
    """State of a pool's breaker."""
    return state.breakers.get(pool, Breaker()).status


def admits(turn: Turn, pool: str, uid: str) -> bool:
    """Whether an executor may be sent to a spot pool; through a half-open breaker it then goes as its probe."""
    breaker = turn.state.breakers.get(pool, Breaker())
    if breaker.status is BreakerStatus.HALF_OPEN and breaker.probe in ("", uid):
        if not breaker.probe:
            _change(turn, pool, breaker, probe=uid)
        return True
    return breaker.status is BreakerStatus.CLOSED


def count(turn: Turn, loss: Loss) -> None:
    """Count what a spot pool is to blame for. What nobody watched has no time, and is not counted."""
    if loss.cause not in _BLAMED or loss.estimated or not turn.state.spec.is_spot(loss.pool) or not is_used(turn.state):
        return
    policy = turn.state.spec.policy
    breaker = turn.state.breakers.get(loss.pool, Breaker())
    recent = [mark for mark in breaker.marks if loss.at - mark.at < policy.breaker_window_seconds]
    what = f"node {loss.node}" if loss.node else f"seat {loss.seat} of {loss.application}"
    if all(mark.what != what for mark in recent):
        recent.append(Mark(loss.at, what))
    breaker = _change(turn, loss.pool, breaker, marks=tuple(recent[-policy.breaker_losses :]))
    if len(recent) >= policy.breaker_losses and breaker.status is not BreakerStatus.OPEN:
        named = ", ".join(mark.what for mark in breaker.marks)
        window = f"{policy.breaker_window_seconds:g} s"
        _open(turn, loss.pool, f"{len(recent)} spot nodes lost or unobtainable in {window}: {named}")


def probe_seen(turn: Turn, executor: Executor) -> None:
    """A probe that has a node shows that there are nodes."""
    pool, breaker = executor.placed_pool, turn.state.breakers.get(executor.placed_pool)
    if breaker is None or breaker.probe != executor.pod.uid or not executor.pod.node or executor.released:
        return
    if breaker.status is BreakerStatus.HALF_OPEN:
        _turn_to(turn, pool, BreakerStatus.CLOSED, f"{executor.pod.name} has got a node there", cooldown_seconds=0.0)


def probe_ended(turn: Turn, executor: Executor, cause: Cause) -> None:
    """A probe that spot is to blame for opens the breaker again; after any other the next executor is the probe."""
    pool, breaker = executor.placed_pool, turn.state.breakers.get(executor.placed_pool)
    if breaker is None or breaker.probe != executor.pod.uid:
        return
    if cause in _BLAMED:
        _open(turn, pool, f"its probe {executor.pod.name} failed: {cause.value}")
    else:
        _change(turn, pool, breaker, probe="")


def cool_down(turn: Turn) -> None:
    """Half open the breakers that have been open long enough, and give up probes that are no longer there."""
    for pool, breaker in turn.state.breakers.items():
        if breaker.status is BreakerStatus.OPEN and turn.at - breaker.since >= breaker.cooldown_seconds:
            cause = f"{breaker.cooldown_seconds:g} s are over: the next executor tries"
            _turn_to(turn, pool, BreakerStatus.HALF_OPEN, cause)
        elif breaker.probe and turn.state.synced and not _is_there(turn.state, breaker.probe):
            _change(turn, pool, breaker, probe="")


def _is_there(state: FleetState, uid: str) -> bool:
    return any(not executor.released for _, executor in state.find(uid))


def _open(turn: Turn, pool: str, cause: str) -> None:
    first = turn.state.spec.policy.breaker_cooldown_seconds
    last = turn.state.breakers.get(pool, Breaker()).cooldown_seconds
    cooldown = min(2 * last, MAX_COOLDOWNS * first) if last else first
    said = f"{cause}; none is sent there for {cooldown:g} s"
    _turn_to(turn, pool, BreakerStatus.OPEN, said, cooldown_seconds=cooldown)


def _turn_to(turn: Turn, pool: str, status: BreakerStatus, cause: str, **changes: Any) -> None:
    breaker = turn.state.breakers.get(pool, Breaker())
    _change(turn, pool, breaker, status=status, since=turn.at, marks=(), probe="", **changes)
    change = BreakerChange(at=turn.at, pool=pool, status=status, cause=cause)
    changes_so_far = (*turn.state.breaker_changes, change)[-HISTORY_DETAILS:]
    turn.state = replace(turn.state, breaker_changes=changes_so_far)
    is_open = status is BreakerStatus.OPEN
    turn.tell(f"the breaker of {pool} is {status.value}: {cause}", warning=is_open, topic=Topic.BREAKER)


def _change(turn: Turn, pool: str, breaker: Breaker, **changes: Any) -> Breaker:
    changed = replace(breaker, **changes)
    turn.state = replace(turn.state, breakers={**turn.state.breakers, pool: changed})
    turn.save()
    return changed
