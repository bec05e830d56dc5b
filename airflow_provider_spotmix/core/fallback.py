"""Fallback: what becomes of a spot seat when spot is not to be had, and when it returns (docs/fallback.md).

The seat stays what it is, so the mix does; only where its executor is placed differs, and each difference is listed.
"""

from __future__ import annotations

from math import ceil

from msgspec.structs import replace

from airflow_provider_spotmix.core import breaker
from airflow_provider_spotmix.core.actions import Remove, Topic
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.history import (
    BREAKER_OPEN,
    HISTORY_DETAILS,
    BreakerStatus,
    Cause,
    Fallback,
    Replacement,
    Return,
)
from airflow_provider_spotmix.core.state import ApplicationState, Executor, FleetState, Removal
from airflow_provider_spotmix.core.turn import Turn

# What is said of an application that waited for spot in vain.
UNOBTAINABLE = "SPOT_UNOBTAINABLE"
# How many of the executors that have fallen back are moved at once.
ACTIVE_SHARE = 0.1
# A lost executor with one of these causes says nothing about spot.
_NO_BLAME = (Cause.APPLICATION, Cause.RETURN)


def choose_pool(turn: Turn, executor: Executor, seat_pool: str, lost_to: Cause | None) -> tuple[str, str]:
    """Choose where a seat's next executor is placed, and why there, if it is not the seat's own pool.

    Args:
        turn: the decision in the making.
        executor: who takes the seat.
        seat_pool: the seat's.
        lost_to: why the seat is vacant; None for a new one.

    """
    spec = turn.state.spec
    if not spec.has_pool(seat_pool):  # somebody wrote that label
        return spec.fallback_pool, lost_to.value if lost_to else ""
    policy = spec.policy
    if not spec.is_spot(seat_pool) or policy.fallback in ("spot_only", "fail"):
        return seat_pool, ""
    again = _NO_BLAME if policy.fallback == "on_demand" else set(Cause) - {Cause.SPOT_UNOBTAINABLE}
    if lost_to is not None and lost_to not in again:
        return spec.fallback_pool, lost_to.value
    if breaker.is_used(turn.state) and not breaker.admits(turn, seat_pool, executor.pod.uid):
        return spec.fallback_pool, BREAKER_OPEN
    return seat_pool, ""


def give_up_waiting(turn: Turn) -> None:
    """Find the executors that no spot node has taken in time, and do what the policy says."""
    policy = turn.state.spec.policy
    patience = policy.spot_pending_timeout_seconds if policy.fallback == "on_demand" else policy.spot_wait_seconds
    if not turn.state.synced or policy.fallback == "spot_only" or (policy.fallback == "on_demand" and not patience):
        return
    for app in list(turn.state.applications.values()):
        for uid in app.tally.unbound if not (app.over or app.pool) else ():
            executor = app.executors[uid]
            waited = turn.at - (executor.pod.placed_at or turn.at)
            if waited < patience or executor.is_removing or not _waits_for_spot(turn.state, executor):
                continue
            said = f"no node has taken it in {waited:.0f} s: {executor.pod.unschedulable}"
            if policy.fallback == "fail":
                _fail(turn, app, executor, said)
                break
            remove(turn, app.name, executor, Removal(cause=Cause.SPOT_UNOBTAINABLE, reason=said), unless_bound=True)


def _waits_for_spot(state: FleetState, executor: Executor) -> bool:
    """Whether the scheduler has found no node for it. A node that is slow to start an image is there."""
    pod = executor.pod
    return bool(pod.unschedulable) and pod.placed_at is not None and state.spec.is_spot(executor.placed_pool)


def _fail(turn: Turn, app: ApplicationState, executor: Executor, said: str) -> None:
    message = (
        f"{executor.pod.name} (seat {executor.seat}) is to be on {executor.placed_pool}, and {said} (policy fallback is"
        " 'fail'; 'on_demand' or 'wait' would go on without spot)"
    )
    turn.application(app.name, phase=ApplicationPhase.FAILED, state=UNOBTAINABLE, message=message, given_up=True)
    turn.tell(f"{app.name} is failed: {message}", warning=True, topic=Topic.UNOBTAINABLE, application=app.name)


def remove(turn: Turn, name: str, executor: Executor, removal: Removal, *, unless_bound: bool = False) -> None:
    """Ask for an executor's deletion. Its seat stays its own until the API server says that it is going."""
    turn.executor(name, executor, removing=removal)
    turn.actions.append(
        Remove(
            cause=turn.cause,
            uid=executor.pod.uid,
            pod=executor.pod.name,
            reason=removal.reason,
            unless_bound=unless_bound,
        )
    )


def return_actively(turn: Turn) -> None:
    """Move some executors that have fallen back to spot again, if the fleet is whole and spot seems to be there."""
    state = turn.state
    every = state.spec.policy.active_return_seconds
    if not every or not state.synced or turn.at - state.returned_at < every:
        return
    for app in list(state.applications.values()):
        fallen = [e for e in app.seated() if _may_return(turn.state, e, turn.at)] if _is_whole(app) else []
        fallen.sort(key=lambda e: (-(e.pod.scheduled_at or 0.0), e.pod.executor_id))  # the youngest has least to move
        halves = {e.seat_pool for e in fallen if breaker.status(state, e.seat_pool) is BreakerStatus.HALF_OPEN}
        count = 1 if halves else ceil(ACTIVE_SHARE * len(fallen))
        for executor in fallen[:count]:
            said = f"its seat returns from {executor.placed_pool} to {executor.seat_pool}"
            remove(turn, app.name, executor, Removal(cause=Cause.RETURN, reason=said))
            turn.state = replace(turn.state, returned_at=turn.at)
            turn.save()


def _is_whole(app: ApplicationState) -> bool:
    """Whether every executor that was asked for has a node and none is about to go."""
    if app.over or app.dynamic or app.pool or app.vacancies or app.tally.unbound or app.tally.waiting:
        return False
    seated = list(app.seated())
    steady = all(e.pod.phase == "Running" and not (e.placing or e.is_removing or e.rescuing) for e in seated)
    return steady and len(seated) == app.executors_expected


def _may_return(state: FleetState, executor: Executor, now: float) -> bool:
    since = executor.pod.scheduled_at
    if since is None or now - since < state.spec.policy.active_return_seconds:
        return False
    has_fallen = executor.placed_pool != executor.seat_pool and state.spec.is_spot(executor.seat_pool)
    known = state.breakers.get(executor.seat_pool)
    return has_fallen and (known is None or (known.status is not BreakerStatus.OPEN and not known.probe))


def note_fallbacks(turn: Turn, name: str) -> None:
    """List what an earlier controller has not come to list."""
    for executor in list(turn.state.applications[name].seated()):
        if not executor.placing:
            note_fallback(turn, name, executor, None)


def note_fallback(turn: Turn, name: str, executor: Executor, lost_to: Cause | None) -> None:
    """List an executor that is on another pool than its seat's for sure, once."""
    cause = lost_to.value if lost_to and not executor.fallback else executor.fallback
    app, number = turn.state.applications[name], executor.pod.executor_id
    is_listed = number in app.fallback_ids
    if executor.placed_pool == executor.seat_pool or is_listed or not cause or executor.seat is None:
        return
    turn.application(name, fallback_ids=app.fallback_ids.put(number))
    fallback = Fallback(
        at=turn.at,
        application=name,
        executor=executor.pod.name,
        seat=executor.seat,
        seat_pool=executor.seat_pool,
        pool=executor.placed_pool,
        cause=cause,
    )
    counts = {**turn.state.fallbacks_by_cause, cause: turn.state.fallbacks_by_cause.get(cause, 0) + 1}
    turn.state = replace(
        turn.state, fallbacks=(*turn.state.fallbacks, fallback)[-HISTORY_DETAILS:], fallbacks_by_cause=counts
    )
    if lost_to is None:
        where = f"seat {executor.seat} ({executor.seat_pool})"
        turn.tell(
            f"{executor.pod.name} takes {where} on {executor.placed_pool}: {cause}",
            topic=Topic.FELL_BACK,
            application=name,
        )
    turn.save()


def note_return(turn: Turn, replacement: Replacement, from_pool: str) -> None:
    """List a seat that had fallen back and is on its own pool again."""
    if from_pool == replacement.seat_pool or replacement.pool != replacement.seat_pool:
        return
    back = Return(
        at=turn.at,
        application=replacement.application,
        executor=replacement.executor,
        seat=replacement.seat,
        pool=replacement.pool,
        from_pool=from_pool,
        replaces=replacement.replaces,
        cause=replacement.cause.value,
    )
    counts = {**turn.state.returns_by_pool, back.pool: turn.state.returns_by_pool.get(back.pool, 0) + 1}
    turn.state = replace(turn.state, returns=(*turn.state.returns, back)[-HISTORY_DETAILS:], returns_by_pool=counts)
    turn.tell(
        f"seat {back.seat} has returned from {from_pool} to {back.pool} with {back.executor}",
        topic=Topic.RETURNED,
        application=back.application,
    )
