"""The storm breaker, decision by decision: what opens it, who tries, what closes it, and that a restart keeps it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.events import AnyEvent
from airflow_provider_spotmix.core.history import Breaker, BreakerStatus
from airflow_provider_spotmix.core.state import FleetState
from tests.core.test_fallback import pending, removes
from tests.core.vocabulary import (
    ON_DEMAND,
    SPOT,
    after,
    deleting,
    done,
    evicted,
    fleet,
    gone,
    notice,
    observed,
    out_of_memory,
    places,
    pod,
    run,
    running,
    started,
    synced,
    tick,
    told,
)

POLICY: dict[str, Any] = {"breaker_losses": 3, "breaker_window_seconds": 600, "breaker_cooldown_seconds": 300}
SIX = fleet("1:0", executors=6, **POLICY)
OPEN_AT = 12.0


def lose(number: int, at: float, node: str = "") -> list[AnyEvent]:
    """The spot executor with that number goes with its node."""
    lost = running(number, seat=number - 1, pool=SPOT, node=node)
    return [notice(lost.node, at), evicted(lost, at), gone(lost, at)]


def storm() -> FleetState:
    """Three of six spot nodes go within two seconds: the breaker is open."""
    return run(started(SIX), *lose(1, 10), *lose(2, 11), *lose(3, OPEN_AT))


def status(state: FleetState) -> BreakerStatus:
    return state.breakers.get(SPOT, Breaker()).status


def ended(number: int, at: float) -> list[AnyEvent]:
    """An executor on spot fails by itself: its seat would return to spot."""
    failed = running(number, seat=number - 1, pool=SPOT)
    return [out_of_memory(failed, at), gone(failed, at)]


def test_so_many_lost_nodes_within_the_window_open_it() -> None:
    decision = after(started(SIX), *lose(1, 10), *lose(2, 11))
    assert status(decision.state) is BreakerStatus.CLOSED
    decision = after(decision.state, *lose(3, OPEN_AT))
    assert status(decision.state) is BreakerStatus.OPEN
    assert (
        "the breaker of spot is open: 3 spot nodes lost or unobtainable in 600 s: node spot-0, node spot-1,"
        " node spot-2; none is sent there for 300 s" in told(decision)
    )


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([*lose(1, 10), *lose(2, 11), *lose(3, 611)], id="they-are-too-far-apart"),
        pytest.param([*ended(1, 10), *ended(2, 11), *ended(3, 12)], id="they-failed-by-themselves"),
        pytest.param(
            [deleting(running(n, seat=n - 1, pool=SPOT), at=10) for n in (1, 2, 3)], id="a-person-deleted-them"
        ),
    ],
)
def test_it_stays_closed_when(events: list[AnyEvent]) -> None:
    assert status(run(started(SIX), *events)) is BreakerStatus.CLOSED


def test_executors_of_one_node_count_once() -> None:
    state = started(SIX)
    for number in (1, 2, 3):
        lost = running(number, seat=number - 1, pool=SPOT, node="spot-big")
        state = run(state, observed(lost, at=5), notice("spot-big", at=10), evicted(lost, at=10), gone(lost, at=11))
    assert status(state) is BreakerStatus.CLOSED
    assert len(state.breakers[SPOT].marks) == 1


def test_seats_that_nobody_takes_open_it_too() -> None:
    state = run(
        SIX, synced(), *(e for n in (1, 2, 3) for e in (observed(pod(n)), done(n), observed(pending(n, seat=n - 1))))
    )
    decision = after(state, tick(300), *(gone(pending(n, seat=n - 1), at=301) for n in (1, 2, 3)))
    assert len(removes(decision)) == 3
    assert status(decision.state) is BreakerStatus.OPEN


@pytest.mark.parametrize("policy", [{"breaker_losses": 0}, {"fallback": "spot_only"}, {"fallback": "fail"}])
def test_without_it_nothing_opens(policy: dict[str, Any]) -> None:
    spec = fleet("1:0", executors=6, **POLICY | policy)
    assert run(started(spec), *lose(1, 10), *lose(2, 11), *lose(3, 12)).breakers == {}


def test_an_open_one_sends_every_spot_seat_to_on_demand_and_lists_it() -> None:
    state = run(storm(), *ended(4, 20))
    decision = after(
        state, observed(pod(7), at=21), observed(pod(8), at=21), observed(pod(9), at=21), observed(pod(10), at=21)
    )
    assert {pool for _, pool in places(decision).values()} == {ON_DEMAND}
    decision = after(decision.state, done(10, at=22))
    assert [(each.executor, each.cause) for each in decision.state.fallbacks] == [("etl-exec-10", "breaker-open")]


def half_open() -> FleetState:
    """After the cooldown; the lost three are replaced on on-demand, and 4 and 5 failed by themselves."""
    state = run(storm(), *(e for n in (7, 8, 9) for e in (observed(pod(n), at=20), done(n, at=20))))
    state = run(state, *ended(4, 30), *ended(5, 30), tick(OPEN_AT + 299))
    assert status(state) is BreakerStatus.OPEN
    state = run(state, tick(OPEN_AT + 300))
    assert status(state) is BreakerStatus.HALF_OPEN
    return state


def test_one_tries_spot_through_a_half_open_one() -> None:
    decision = after(half_open(), observed(pod(10), at=320), observed(pod(11), at=320))
    assert [pool for _, pool in places(decision).values()] == [SPOT, ON_DEMAND]
    assert decision.state.breakers[SPOT].probe == "uid-10"


def probing() -> FleetState:
    return run(
        half_open(), observed(pod(10), at=320), done(10, at=320), observed(pending(10, seat=3, since=320), at=321)
    )


def test_a_node_for_the_probe_closes_it() -> None:
    decision = after(probing(), observed(running(10, seat=3, pool=SPOT), at=330))
    assert status(decision.state) is BreakerStatus.CLOSED
    assert "the breaker of spot is closed: etl-exec-10 has got a node there" in told(decision)
    assert places(after(decision.state, observed(pod(11), at=331))) == {11: (4, SPOT)}


def test_no_node_for_the_probe_opens_it_for_twice_as_long() -> None:
    state = run(probing(), tick(620), gone(pending(10, seat=3, since=320), at=621))
    assert status(state) is BreakerStatus.OPEN
    assert state.breakers[SPOT].cooldown_seconds == 600
    assert places(after(state, observed(pod(11), at=622))) == {11: (3, ON_DEMAND)}
    assert status(run(state, tick(621 + 599))) is BreakerStatus.OPEN
    assert status(run(state, tick(621 + 600))) is BreakerStatus.HALF_OPEN


def test_the_cooldown_grows_to_eight_times_at_most() -> None:
    state, at = probing(), 620.0
    for attempt in range(1, 6):
        number = 9 + attempt
        state = run(state, tick(at + 5000), gone(pending(number, seat=3, since=320), at=at + 5000))
        assert state.breakers[SPOT].cooldown_seconds == 300 * min(2**attempt, 8)
        at += 5000 + state.breakers[SPOT].cooldown_seconds
        # What replaces the probe falls back; the next that would be on spot is the next probe.
        seat = next(seat for seat, _ in [(3, SPOT)])
        back = running(100 + number, seat=seat, pool=ON_DEMAND, seat_pool=SPOT)
        state = run(
            state, observed(pod(100 + number), at=at), done(100 + number, at=at), observed(back, at=at), tick(at)
        )
        state = run(
            state, out_of_memory(back, at), gone(back, at), observed(pod(number + 1), at=at), done(number + 1, at=at)
        )
        state = run(state, observed(pending(number + 1, seat=3, since=320), at=at))
        assert state.breakers[SPOT].probe == f"uid-{number + 1}"


def test_a_probe_that_goes_for_another_reason_is_followed_by_the_next() -> None:
    state = run(probing(), gone(pending(10, seat=3, since=320), at=325))
    assert status(state) is BreakerStatus.HALF_OPEN
    assert state.breakers[SPOT].probe == ""


def test_a_probe_whose_driver_is_gone_is_followed_by_the_next() -> None:
    state = run(probing(), observed(pod(1, uid="new"), at=330, submission="sub-2"), tick(331))
    assert status(state) is BreakerStatus.HALF_OPEN
    assert state.breakers[SPOT].probe in ("", "new")


def test_a_restart_keeps_status_deadline_and_probe() -> None:
    before = probing()
    saved = cp.decode(cp.encode(cp.take(before, holder="me")))
    state = cp.restore(FleetState.new(SIX), saved)
    assert (state.breakers, state.breaker_changes) == (before.breakers, before.breaker_changes)
    pods = [e.pod for _, e in before.executors()]
    state = run(state, *(observed(each, at=400) for each in pods), synced(400), tick(401))
    assert state.breakers[SPOT].probe == "uid-10"
    assert status(run(state, observed(running(10, seat=3, pool=SPOT), at=402))) is BreakerStatus.CLOSED


def test_each_spot_pool_has_its_own() -> None:
    state = started(fleet("1:1:0", executors=8, **POLICY))
    on_a = [e.pod for _, e in state.executors() if e.placed_pool == "a"]
    for lost in on_a[:3]:
        state = run(state, notice(lost.node, 10), evicted(lost, 10), gone(lost, 11))
    on_b = next(e.pod for _, e in state.executors() if e.placed_pool == "b")
    state = run(state, *(e for n in (9, 10, 11) for e in (observed(pod(n), at=12), done(n, at=12))))
    state = run(state, out_of_memory(on_b, 13), gone(on_b, 14))
    assert places(after(state, observed(pod(12), at=15))) == {12: (on_b.seat, "b")}
