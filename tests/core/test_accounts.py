"""The ledger over an outage of the controller: every executor is in it once, and what was guessed says so."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.state import Account, FleetState
from tests.core.vocabulary import (
    ON_DEMAND,
    SPOT,
    account,
    application,
    deleting,
    evicted,
    fleet,
    observed,
    on,
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
    over = (deleting(LIVES, at=160), application(ApplicationPhase.SUCCEEDED, at=160))
    state = run(taken_over(interrupted(), ended=ended), *over)
    assert state.ledger == {SPOT: spot, ON_DEMAND: account(1, 160)}


def test_an_executor_that_is_still_there_after_the_end_went_unseen() -> None:
    """Spark deletes its executors before it ends. The watch of pods may be late, or dead without our knowing."""
    state = run(started(TWO), application(ApplicationPhase.SUCCEEDED, at=160))
    assert {pool: (each.seconds, each.estimated) for pool, each in state.ledger.items()} == {
        SPOT: (160, True),
        ON_DEMAND: (160, True),
    }


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
