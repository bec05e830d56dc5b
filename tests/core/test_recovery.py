"""Recovery without a checkpoint, or with an old one: labels and Spark's numbers tell what is missing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Finish, Rescue
from airflow_provider_spotmix.core.controller import Decision
from airflow_provider_spotmix.core.events import ApplicationPhase, PodFacts
from airflow_provider_spotmix.core.history import Cause
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import Account, FleetState
from tests.core.vocabulary import (
    APP,
    NOON,
    ON_DEMAND,
    SPOT,
    account,
    after,
    application,
    deleting,
    done,
    evicted,
    fleet,
    gone,
    node,
    observed,
    on,
    places,
    pod,
    run,
    running,
    started,
    synced,
)

FIVE = fleet("40:60", executors=5)
FIRST = {n: running(n, seat=n - 1, pool=SPOT if n % 2 == 0 else ON_DEMAND) for n in range(1, 6)}
FALLBACK = running(6, seat=1, pool=ON_DEMAND, seat_pool=SPOT)


def found(*pods: PodFacts, state: FleetState | None = None, absent: str = "") -> Decision:
    """A controller takes over and finds these executors."""
    return after(state or FleetState.new(FIVE), *(observed(p) for p in pods), synced(9, *filter(None, [absent])))


def vacant(decision: Decision) -> dict[int, tuple[str, int]]:
    """Pool of each vacant seat, and the number that it is ascribed to."""
    app = decision.state.applications[APP]
    return {seat: (v.loss.seat_pool, v.loss.executor_id) for seat, v in app.vacancies.items()}


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        pytest.param([1, 2, 3, 4, 5], {}, id="nobody-is-missing"),
        pytest.param([1, 3, 4, 5], {1: (SPOT, 2)}, id="one"),
        pytest.param([1, 3, 5], {1: (SPOT, 2), 3: (SPOT, 4)}, id="all-spot"),
        pytest.param([2, 4, 5], {0: (ON_DEMAND, 1), 2: (ON_DEMAND, 3)}, id="on-demand"),
        pytest.param([1, 2, 3], {}, id="numbers-that-were-perhaps-never-given"),
    ],
)
def test_missing_numbers_left_the_seats_that_nobody_holds(
    here: list[int], expected: dict[int, tuple[str, int]]
) -> None:
    assert vacant(found(*(FIRST[n] for n in here))) == expected


def test_the_replacement_of_a_missing_spot_executor_goes_to_on_demand() -> None:
    decision = found(*(FIRST[n] for n in (1, 3, 4, 5)), pod(6))
    assert places(decision) == {6: (1, ON_DEMAND)}
    state = run(decision.state, done(6))
    assert [(loss.executor, loss.cause, loss.estimated) for loss in state.losses] == [
        ("executor 2", Cause.UNKNOWN, True)
    ]


def test_what_is_missing_counts_only_once_it_is_replaced() -> None:
    """The application may be at its end: its driver removed the executors, and one node somewhere is unwell."""
    sick = run(FIVE, node("elsewhere", ready=False), application(ApplicationPhase.RUNNING))
    state = found(FIRST[5], state=sick).state
    assert run(state, application(ApplicationPhase.SUCCEEDED)).losses == ()


def test_a_node_on_its_way_out_explains_a_missing_spot_executor_and_no_other() -> None:
    sick = run(FIVE, node("spot-9", ready=False))
    state = found(FIRST[3], FIRST[4], FIRST[5], pod(6), pod(7), state=sick).state
    state = run(state, done(6), done(7))
    assert [(loss.seat, loss.cause) for loss in state.losses] == [(0, Cause.UNKNOWN), (1, Cause.SPOT_INTERRUPTION)]
    assert len({loss.id for loss in state.losses}) == 2


def test_a_number_above_one_that_still_waits_was_not_placed_either() -> None:
    assert vacant(found(FIRST[1], pod(2), pod(4))) == {}


def test_seats_that_were_given_in_another_order_keep_the_mix() -> None:
    here = [running(1, seat=0, pool=SPOT), running(5, seat=4, pool=ON_DEMAND)]
    assert vacant(found(*here)) == {1: (SPOT, 2), 2: (ON_DEMAND, 3), 3: (ON_DEMAND, 4)}


def test_a_fallback_that_nobody_remembers_is_explained() -> None:
    state = found(*(FIRST[n] for n in (1, 3, 4, 5)), FALLBACK).state
    (loss,), (replacement,) = state.losses, state.replacements
    assert (loss.executor, loss.seat, loss.cause, loss.estimated) == ("executor 2", 1, Cause.UNKNOWN, True)
    assert (replacement.executor, replacement.pool, replacement.loss) == ("etl-exec-6", ON_DEMAND, loss.id)


def test_under_dynamic_allocation_a_missing_executor_was_let_go_but_a_fallback_is_explained() -> None:
    dynamic = FleetState.new(fleet(dynamic=True))
    decision = found(*(FIRST[n] for n in (1, 4, 5)), FALLBACK, state=dynamic)
    assert vacant(decision) == {}
    assert [replacement.executor for replacement in decision.state.replacements] == ["etl-exec-6"]


@pytest.mark.parametrize("order", [pytest.param(1, id="lost-one-first"), pytest.param(-1, id="replacement-first")])
def test_a_lost_executor_and_its_replacement_may_both_be_there(order: int) -> None:
    lost = running(2, seat=1, pool=SPOT, deleting=True, disruption="EvictionByEvictionAPI")
    both = [lost, FALLBACK][::order]
    state = found(FIRST[1], *both, FIRST[3], FIRST[4], FIRST[5]).state
    assert [(r.executor, r.replaces, r.cause) for r in state.replacements] == [
        ("etl-exec-6", "etl-exec-2", Cause.SPOT_INTERRUPTION)
    ]
    assert state.applications[APP].seats() == {SPOT: 2, ON_DEMAND: 3}


def test_a_loss_that_the_checkpoint_knows_is_not_inferred_again() -> None:
    state = run(started(FIVE), evicted(FIRST[2], at=60), gone(FIRST[2], at=61))
    restored = cp.restore(FleetState.new(FIVE), cp.take(state, holder="me"))
    decision = found(*(FIRST[n] for n in (1, 3, 4, 5)), state=restored)
    assert [loss.executor for loss in decision.state.losses] == ["etl-exec-2"]
    assert vacant(decision) == {1: (SPOT, 2)}


def test_a_replacement_that_the_checkpoint_does_not_know_yet_fills_its_seat() -> None:
    state = run(started(FIVE), evicted(FIRST[2], at=60), gone(FIRST[2], at=61))
    restored = cp.restore(FleetState.new(FIVE), cp.take(state, holder="me"))
    decision = found(*(FIRST[n] for n in (1, 3, 4, 5)), FALLBACK, state=restored)
    assert [(r.executor, r.replaces) for r in decision.state.replacements] == [("etl-exec-6", "etl-exec-2")]
    assert vacant(decision) == {}


def test_an_executor_of_a_node_that_is_no_more_is_rescued_at_once() -> None:
    decision = found(FIRST[1], absent="on-demand-0")
    assert [a for a in decision.actions if isinstance(a, Rescue)] == [
        Rescue(cause="synced", uid="uid-1", pod="etl-exec-1", node="on-demand-0")
    ]


def test_reading_everything_again_infers_nothing_anew() -> None:
    state = run(started(FIVE), deleting(on(started(FIVE), SPOT)), synced(20))
    assert after(state, synced(21)).actions == ()


# -- an application that went while nobody was connected


def removed(
    ended: ApplicationPhase | None = None, evidence: str = "no Event tells of its end"
) -> ev.ApplicationDeleted:
    return ev.ApplicationDeleted(
        at=NOON + 900,
        id="x",
        application=APP,
        uid="",
        ended=ended,
        ended_at=NOON + 100 if ended else 0,
        evidence=evidence,
    )


@pytest.mark.parametrize(
    ("ended", "succeeded"),
    [
        pytest.param(ApplicationPhase.SUCCEEDED, True, id="succeeded"),
        pytest.param(ApplicationPhase.FAILED, False, id="failed"),
    ],
)
def test_what_the_operator_removed_after_its_end_ended_as_its_events_say(
    ended: ApplicationPhase, succeeded: bool
) -> None:
    finish = run_finish(fleet(), removed(ended, "Event SparkDriverCompleted"))
    message = f"it had {ended.value} before its object was deleted (Event SparkDriverCompleted)"
    assert (finish.succeeded, finish.message) == (succeeded, "" if succeeded else f"{APP} DELETED: {message}")


def test_what_went_without_a_trace_fails_and_it_is_said_how_to_avoid_that() -> None:
    finish = run_finish(fleet(), removed())
    assert not finish.succeeded
    assert "how it had ended is not known (no Event tells of its end); if its own timeToLiveSeconds" in finish.message


def test_executors_of_what_ended_unseen_are_counted_until_its_end() -> None:
    state = run(started(FIVE), replace(removed(ApplicationPhase.SUCCEEDED), uid=APP))
    assert state.ledger == {
        ON_DEMAND: account(3, 300, estimated=True, unseen=300),
        SPOT: account(2, 200, estimated=True, unseen=200),
    }


def test_of_what_went_unseen_nobody_knows_who_had_been_there() -> None:
    """Its checkpoint went with it. What another controller had seen, and wrote down, is no more than a part."""
    doubted = {pool: Account(estimated=True, incomplete=True) for pool in (ON_DEMAND, SPOT)}
    assert after(fleet(), removed(ApplicationPhase.SUCCEEDED)).state.ledger == doubted
    restored = cp.restore(FleetState.new(FIVE), cp.take(started(FIVE), holder="me"))
    found = after(restored, replace(removed(ApplicationPhase.SUCCEEDED), uid=APP)).state.ledger
    assert {pool: account.incomplete for pool, account in found.items()} == {ON_DEMAND: True, SPOT: True}


def run_finish(spec: FleetSpec, event: ev.ApplicationDeleted) -> Finish:
    (finish,) = (action for action in after(spec, event).actions if isinstance(action, Finish))
    return finish
