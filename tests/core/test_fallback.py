"""Fallback and return of spot seats, decision by decision; the storm breaker is in test_breaker.py."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.actions import Finish, Remove, Tell, Topic
from airflow_provider_spotmix.core.controller import Decision, decide
from airflow_provider_spotmix.core.events import PodFacts, RemoveFailed
from airflow_provider_spotmix.core.history import Cause, Fallback, Return
from airflow_provider_spotmix.core.state import FleetState
from tests.core.vocabulary import (
    APP,
    NOON,
    ON_DEMAND,
    SPOT,
    after,
    deleting,
    done,
    evicted,
    fleet,
    gone,
    node_gone,
    notice,
    observed,
    out_of_memory,
    placed,
    places,
    pod,
    run,
    running,
    started,
    synced,
    tick,
    told,
)

WHY = "0/9 nodes are available: 9 node(s) didn't match Pod's node affinity/selector."


def pending(number: int, *, seat: int, pool: str = SPOT, since: float = 0, **facts: Any) -> PodFacts:
    """An executor that is placed and that the scheduler has no node for."""
    said: dict[str, Any] = {"placed_at": NOON + since, "unschedulable": WHY}
    return placed(number, seat=seat, pool=pool, **(said | facts))


def waiting(**policy: Any) -> FleetState:
    """Two executors, one on each pool; that on spot has no node."""
    spec = fleet("1:1", executors=2, **policy)
    seen = (running(1, seat=0, pool=ON_DEMAND), pending(2, seat=1))
    return run(
        spec, synced(), *(e for p in seen for e in (observed(pod(p.executor_id)), done(p.executor_id), observed(p)))
    )


def removes(decision: Decision) -> list[str]:
    return [action.pod for action in decision.actions if isinstance(action, Remove)]


# -- spot that is not to be had


def test_an_executor_that_no_spot_node_takes_is_removed_and_its_seat_falls_back() -> None:
    state = waiting()
    decision = after(state, tick(299.5), tick(300))
    (action,) = decision.actions
    assert action == Remove(
        cause="tick", uid="uid-2", pod="etl-exec-2", reason=f"no node has taken it in 300 s: {WHY}", unless_bound=True
    )
    decision = after(decision.state, gone(pending(2, seat=1), at=301), observed(pod(3), at=302))
    assert places(decision) == {3: (1, ON_DEMAND)}
    (loss,) = decision.state.losses
    assert (loss.cause, loss.evidence) == (Cause.SPOT_UNOBTAINABLE, (action.reason,))
    decision = after(decision.state, done(3, at=303))
    assert decision.state.fallbacks == (
        Fallback(
            at=NOON + 303,
            application=APP,
            executor="etl-exec-3",
            seat=1,
            seat_pool=SPOT,
            pool=ON_DEMAND,
            cause="spot-unobtainable",
        ),
    )


def test_it_is_asked_for_once_while_the_call_is_on_its_way() -> None:
    assert removes(after(waiting(), tick(300), tick(301), tick(302))) == ["etl-exec-2"]


def test_a_call_that_failed_is_made_again_at_the_next_tick() -> None:
    failed = RemoveFailed(at=NOON + 301, uid="uid-2")
    assert removes(after(waiting(), tick(300), failed, tick(302))) == ["etl-exec-2", "etl-exec-2"]


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"node": "spot-1", "unschedulable": ""}, id="it-has-a-node-and-pulls-its-image"),
        pytest.param({"unschedulable": ""}, id="the-scheduler-has-not-tried"),
        pytest.param({"placed_at": None}, id="nobody-knows-since-when"),
        pytest.param({"pool": ON_DEMAND}, id="it-waits-for-on-demand"),
    ],
)
def test_what_is_no_sign_of_missing_spot_is_waited_for(facts: dict[str, Any]) -> None:
    state = run(waiting(), observed(pending(2, seat=1, **facts)))
    assert removes(after(state, tick(3000))) == []


def test_the_deadline_counts_from_the_placement_also_for_the_next_controller() -> None:
    saved = cp.decode(cp.encode(cp.take(waiting(), holder="me")))
    fresh = cp.restore(FleetState.new(fleet("1:1", executors=2)), saved)
    state = run(fresh, observed(running(1, seat=0, pool=ON_DEMAND)), observed(pending(2, seat=1)), synced(200))
    assert removes(after(state, tick(299))) == []
    assert removes(after(state, tick(300))) == ["etl-exec-2"]


def test_zero_waits_for_ever() -> None:
    assert removes(after(waiting(spot_pending_timeout_seconds=0), tick(1e6))) == []


# -- policies


def test_spot_only_waits_for_ever_and_replaces_on_spot() -> None:
    state = started(fleet("1:1", executors=2, fallback="spot_only"))
    state = run(state, notice("spot-1", at=1), evicted(running(2, seat=1, pool=SPOT), at=2))
    decision = after(state, observed(pod(3), at=3))
    assert places(decision) == {3: (1, SPOT)}
    assert removes(after(waiting(fallback="spot_only"), tick(1e6))) == []


def test_wait_waits_longer_and_replaces_on_spot_until_then() -> None:
    state = started(fleet("1:1", executors=2, fallback="wait"))
    lost = run(state, notice("spot-1", at=1), evicted(running(2, seat=1, pool=SPOT), at=2))
    assert places(after(lost, observed(pod(3), at=3))) == {3: (1, SPOT)}
    state = waiting(fallback="wait", spot_wait_seconds=900)
    assert removes(after(state, tick(899))) == []
    decision = after(state, tick(900), gone(pending(2, seat=1), at=901), observed(pod(3), at=902))
    assert places(decision) == {3: (1, ON_DEMAND)}


def test_fail_fails_the_application_and_says_why() -> None:
    state = waiting(fallback="fail", spot_wait_seconds=900)
    assert after(state, tick(899)).actions == ()
    decision = after(state, tick(900))
    finish = decision.actions[-1]
    assert isinstance(finish, Finish)
    assert finish.message == (
        f"etl SPOT_UNOBTAINABLE: etl-exec-2 (seat 1) is to be on spot, and no node has taken it in 900 s: {WHY}"
        " (policy fallback is 'fail'; 'on_demand' or 'wait' would go on without spot)"
    )


@pytest.mark.parametrize("policy", ["on_demand", "spot_only", "wait", "fail"])
def test_the_base_and_the_on_demand_seats_stay_where_they_are(policy: str) -> None:
    state = started(fleet("1:1", executors=4, base=1, fallback=policy))
    state = run(state, node_gone("on-demand-0", at=1), deleting(running(1, seat=0, pool=ON_DEMAND), at=2))
    assert places(after(state, observed(pod(5), at=3))) == {5: (0, ON_DEMAND)}


@pytest.mark.parametrize("policy", ["on_demand", "spot_only", "wait", "fail"])
def test_an_executor_that_failed_by_itself_is_replaced_on_spot(policy: str) -> None:
    state = run(started(fleet("1:1", executors=2, fallback=policy)), out_of_memory(running(2, seat=1, pool=SPOT), at=1))
    assert places(after(state, observed(pod(3), at=2))) == {3: (1, SPOT)}


@pytest.mark.parametrize(
    ("policy", "pool"), [("on_demand", ON_DEMAND), ("spot_only", SPOT), ("wait", SPOT), ("fail", SPOT)]
)
def test_what_the_infrastructure_takes_from_spot_for_other_reasons_is_no_exception(policy: str, pool: str) -> None:
    """Although nothing of it speaks against spot: docs/adr/0010. It opens no breaker."""
    state = started(fleet("1:1", executors=2, fallback=policy, breaker_losses=1))
    state = run(state, deleting(running(2, seat=1, pool=SPOT), at=1, disruption="PreemptionByScheduler"))
    assert [loss.cause for loss in state.losses] == [Cause.INFRASTRUCTURE]
    assert state.breaker_changes == ()
    assert places(after(state, observed(pod(3), at=2))) == {3: (1, pool)}


def test_every_spot_pool_falls_back_on_on_demand() -> None:
    state = started(fleet("1:1:1", executors=3))
    lost = next(e.pod for _, e in state.executors() if e.placed_pool == "b")
    state = run(state, notice(lost.node, at=1), evicted(lost, at=2))
    assert places(after(state, observed(pod(4), at=3))) == {4: (lost.seat, ON_DEMAND)}


# -- returning


def fallen(**policy: Any) -> FleetState:
    """Two executors; that on the spot seat runs on on-demand since it was lost, as number 3."""
    state = started(fleet("1:1", executors=2, **policy))
    lost = running(2, seat=1, pool=SPOT)
    fallback = running(3, seat=1, pool=ON_DEMAND, seat_pool=SPOT, since=5, fallback="spot-interruption")
    return run(
        state,
        notice("spot-1", at=1),
        evicted(lost, at=2),
        gone(lost, at=3),
        observed(pod(3), at=4),
        done(3, at=5),
        observed(fallback, at=5),
    )


def the_fallen(state: FleetState) -> PodFacts:
    return next(e.pod for _, e in state.executors() if e.pod.executor_id == 3)


def test_a_seat_returns_to_spot_when_its_executor_ends_by_itself() -> None:
    state = run(fallen(), out_of_memory(the_fallen(fallen()), at=60))
    decision = after(state, observed(pod(4), at=61), done(4, at=62))
    assert places(decision) == {4: (1, SPOT)}
    assert decision.state.returns == (
        Return(
            at=NOON + 62,
            application=APP,
            executor="etl-exec-4",
            seat=1,
            pool=SPOT,
            from_pool=ON_DEMAND,
            replaces="etl-exec-3",
            cause="application",
        ),
    )
    assert "seat 1 has returned from on-demand to spot with etl-exec-4" in told(decision)


def test_nobody_is_moved_while_running_by_default() -> None:
    assert removes(after(fallen(), tick(1e6))) == []


def test_active_return_moves_what_has_fallen_back_once_it_has_run_that_long() -> None:
    state = fallen(active_return_seconds=60)
    assert removes(after(state, tick(64))) == []
    decision = after(state, tick(65), tick(66))
    assert removes(decision) == ["etl-exec-3"]
    seen = replace(the_fallen(state), deleting=True)
    decision = after(decision.state, observed(seen, at=67), gone(seen, at=68), observed(pod(4), at=69))
    assert places(decision) == {4: (1, SPOT)}
    assert [action.topic for action in decision.actions if isinstance(action, Tell) and action.topic] == [
        Topic.RETURNING
    ]
    assert [each.cause for each in run(decision.state, done(4, at=70)).returns] == ["return"]


def test_active_return_waits_until_the_fleet_is_whole() -> None:
    state = run(fallen(active_return_seconds=60), out_of_memory(running(1, seat=0, pool=ON_DEMAND), at=30))
    assert removes(after(state, tick(1000))) == []


def test_active_return_moves_a_tenth_at_a_time() -> None:
    state = started(fleet("1:0", executors=20, active_return_seconds=60, breaker_losses=0))
    for number in range(1, 21):
        lost = running(number, seat=number - 1, pool=SPOT)
        back = running(20 + number, seat=number - 1, pool=ON_DEMAND, seat_pool=SPOT, since=5, fallback="unknown")
        state = run(
            state, notice(lost.node, at=1), evicted(lost, at=2), gone(lost, at=3), observed(pod(20 + number), at=4)
        )
        state = run(state, done(20 + number, at=5), observed(back, at=6))
    assert removes(after(state, tick(100), tick(101))) == ["etl-exec-21", "etl-exec-22"]


def test_a_removed_executor_whose_node_goes_is_an_interruption_like_any_other() -> None:
    state = run(fallen(active_return_seconds=60), tick(65), node_gone("on-demand-1", at=66))
    state = decide(state, deleting(the_fallen(state), at=67)).state
    assert state.losses[-1].cause is Cause.INFRASTRUCTURE


# -- a controller that takes over


def test_a_fallback_that_was_not_written_down_is_listed_by_the_next_controller() -> None:
    spec = fleet("1:1", executors=2)
    seen = running(2, seat=1, pool=ON_DEMAND, seat_pool=SPOT, fallback="breaker-open")
    state = run(spec, observed(running(1, seat=0, pool=ON_DEMAND)), observed(seen), synced())
    assert [(each.executor, each.cause) for each in state.fallbacks] == [("etl-exec-2", "breaker-open")]
    again = cp.restore(FleetState.new(spec), cp.decode(cp.encode(cp.take(state, holder="me"))))
    state = run(again, observed(running(1, seat=0, pool=ON_DEMAND)), observed(seen), synced())
    assert len(state.fallbacks) == 1
    assert state.fallbacks_by_cause == {"breaker-open": 1}
