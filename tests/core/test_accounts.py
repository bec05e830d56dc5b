"""The ledger over an outage of the controller: every executor is in it once, and what was guessed says so."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.events import ApplicationPhase, PodFacts
from airflow_provider_spotmix.core.state import Account, FleetState
from tests.core.vocabulary import (
    NOON,
    ON_DEMAND,
    SPOT,
    account,
    application,
    deleting,
    done,
    evicted,
    fleet,
    gone,
    observed,
    on,
    placed,
    pod,
    run,
    running,
    started,
    synced,
)

TWO = fleet("50:50", executors=2)  # number 1 is on on-demand, number 2 on spot
LIVES = running(1, seat=0, pool=ON_DEMAND)


def interrupted() -> FleetState:
    """The spot executor is going away since second 60; that was written down."""
    state = started(TWO)
    return run(state, evicted(on(state, SPOT), at=60))


def taken_over(state: FleetState, *, ended: bool) -> FleetState:
    """Another controller begins at second 100 with the checkpoint; the spot executor has ended, or not yet."""
    restored = cp.restore(FleetState.new(TWO), cp.decode(cp.encode(cp.take(state, holder="other"))))
    restored = run(restored, observed(LIVES))
    if not ended:
        restored = run(restored, evicted(running(2, seat=1, pool=SPOT), at=90))
    return run(restored, synced(100))


@pytest.mark.parametrize(
    ("ended", "spot"),
    [
        pytest.param(True, account(1, 100, estimated=True, unseen=40), id="ended-unseen-before-now"),
        pytest.param(False, account(1, 160, estimated=False), id="still-there-and-seen-to-its-end"),
    ],
)
def test_an_executor_that_was_going_away_when_the_controller_died(ended: bool, spot: Account) -> None:
    going = gone(running(2, seat=1, pool=SPOT), at=160)
    over = (deleting(LIVES, at=160), going, application(ApplicationPhase.SUCCEEDED, at=160))
    state = run(taken_over(interrupted(), ended=ended), *over)
    assert state.ledger == {SPOT: spot, ON_DEMAND: account(1, 160)}


def test_an_executor_that_is_still_there_after_the_end_went_unseen() -> None:
    """Spark deletes its executors before it ends. The watch of pods may be late, or dead without our knowing."""
    state = run(started(TWO), application(ApplicationPhase.SUCCEEDED, at=160))
    assert {pool: (each.seconds, each.estimated) for pool, each in state.ledger.items()} == {
        SPOT: (160, True),
        ON_DEMAND: (160, True),
    }


@pytest.mark.parametrize(
    ("going_since", "expected"),
    [
        pytest.param(159, account(1, 160), id="with-the-application"),
        pytest.param(120, account(1, 160, estimated=True, unseen=40), id="some-time-before"),
    ],
)
def test_an_executor_that_was_seen_to_go_and_not_to_be_gone(going_since: float, expected: Account) -> None:
    """It went with the application, or the watch of pods is dead without our knowing."""
    state = run(started(TWO), deleting(LIVES, at=going_since), application(ApplicationPhase.SUCCEEDED, at=160))
    assert state.ledger[ON_DEMAND] == expected


def test_an_application_that_was_over_before_anybody_came_back() -> None:
    restored = cp.restore(FleetState.new(TWO), cp.take(interrupted(), holder="other"))
    state = run(restored, application(ApplicationPhase.SUCCEEDED, at=200))
    assert state.ledger == {
        SPOT: account(1, 200, estimated=True, unseen=140, incomplete=True),
        ON_DEMAND: account(1, 200, estimated=True, unseen=200, incomplete=True),
    }


def test_an_executor_that_was_placed_and_went_unseen_is_counted_from_its_placement() -> None:
    """Its account is written down as soon as it is placed: the next controller finds it, and says what it guessed."""
    placed = run(TWO, synced(), observed(pod(1), at=10))
    restored = cp.restore(FleetState.new(TWO), cp.take(placed, holder="other"))
    state = run(restored, application(ApplicationPhase.SUCCEEDED, at=50), synced(50))
    assert state.ledger == {
        ON_DEMAND: account(1, 40, estimated=True, unseen=40, incomplete=True),
        SPOT: account(0, 0, estimated=True, incomplete=True),
    }


def test_who_lived_and_died_unseen_makes_the_ledger_an_estimate() -> None:
    """Number 2 was asked for after the last checkpoint, and is gone: nobody knows whether it ever ran, nor where."""
    placed = run(TWO, synced(), observed(pod(1), at=10))
    restored = cp.restore(FleetState.new(TWO), cp.take(placed, holder="other"))
    state = run(restored, observed(LIVES), observed(pod(3)), synced(50))
    assert {pool: (each.executors, each.estimated) for pool, each in state.ledger.items()} == {
        SPOT: (0, True),
        ON_DEMAND: (0, True),
    }


def test_what_ended_before_anybody_came_has_a_ledger_that_nobody_knows() -> None:
    state = run(TWO, application(ApplicationPhase.SUCCEEDED, at=50), synced(50))
    assert all(each.estimated for each in state.ledger.values())
    assert set(state.ledger) == {SPOT, ON_DEMAND}


def test_a_closed_account_is_not_opened_again() -> None:
    """The pod of an executor that ended may stay for a while, and is found again by the next controller."""
    ended = replace(running(2, seat=1, pool=SPOT), phase="Failed", finished_at=None, disruption="EvictionByEvictionAPI")
    state = run(started(TWO), observed(ended, at=70))
    restored = cp.restore(FleetState.new(TWO), cp.take(state, holder="other"))
    again = run(restored, observed(LIVES), observed(ended, at=100), synced(101))
    assert again.ledger[SPOT] == state.ledger[SPOT]


@pytest.mark.parametrize(
    ("is_restarted", "here"),
    [
        pytest.param(True, pod(1), id="its-driver-was-restarted"),
        pytest.param(False, LIVES, id="somebody-is-placed"),
    ],
)
def test_what_nothing_tells_of_any_more_makes_the_ledger_an_estimate(is_restarted: bool, here: PodFacts) -> None:
    """The checkpoint was deleted while no controller was there: executors may have come and gone before."""
    seen = replace(application(ApplicationPhase.RUNNING, at=50), restarted=is_restarted)
    state = run(TWO, observed(here, at=50), seen, synced(50))
    assert state.ledger == {pool: account(0, 0, estimated=True, incomplete=True) for pool in (SPOT, ON_DEMAND)}


def test_a_fleet_that_begins_under_our_eyes_is_no_estimate() -> None:
    state = run(TWO, observed(pod(1), at=50), application(ApplicationPhase.RUNNING, at=50), synced(50))
    assert state.ledger == {}


NEW = pod(1, uid="uid-1b")


def restarted(at: float) -> FleetState:
    """The driver is lost, and the new one has asked for its first executor."""
    return run(started(TWO), observed(NEW, at=at, submission="sub-2"))


def test_executors_whose_driver_is_gone_are_counted_until_they_end() -> None:
    ended = replace(running(2, seat=1, pool=SPOT), phase="Failed", finished_at=NOON + 75)
    state = run(
        restarted(at=60), deleting(LIVES, at=61), observed(ended, at=80), gone(LIVES, at=90), gone(ended, at=91)
    )
    assert state.ledger == {SPOT: account(1, 75), ON_DEMAND: account(1, 90)}


def test_executors_whose_driver_is_gone_and_whose_end_nobody_sees_are_counted_to_the_end() -> None:
    """A dead node holds them."""
    state = run(restarted(at=60), deleting(LIVES, at=61), application(ApplicationPhase.SUCCEEDED, at=100))
    assert state.ledger[ON_DEMAND] == account(1, 100, estimated=True, unseen=39)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(True, account(1, 160), id="still-there-and-seen-to-its-end"),
        pytest.param(False, account(1, 100, estimated=True, unseen=40), id="ended-unseen-before-now"),
    ],
)
def test_executors_whose_driver_and_controller_are_gone(found: bool, expected: Account) -> None:
    left = run(restarted(at=50), deleting(LIVES, at=60))
    state = cp.restore(FleetState.new(TWO), cp.decode(cp.encode(cp.take(left, holder="other"))))
    news = (deleting(LIVES, at=99),) if found else ()
    state = run(
        state, *news, observed(NEW, at=99, submission="sub-2"), synced(100), *((gone(LIVES, at=160),) if found else ())
    )
    assert state.ledger[ON_DEMAND] == expected


def test_an_executor_that_was_on_its_way_when_its_driver_was_lost_never_had_a_node() -> None:
    waiting = placed(1, seat=0, pool=ON_DEMAND)
    state = run(TWO, synced(), observed(pod(1), at=1), done(1, at=2), observed(waiting, at=3))
    state = run(state, observed(pod(11), at=60, submission="sub-2"), gone(waiting, at=61))
    assert state.ledger == {}
    assert not any(app.leaving for app in state.applications.values())
