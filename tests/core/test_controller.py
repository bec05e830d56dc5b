"""Decisions, whole: what follows from one event in one situation. Longer stories are in scenarios/."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Finish, Place, SaveCheckpoint, Tell, Topic
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.state import FleetState
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
    observed,
    on,
    placed,
    places,
    pod,
    refused,
    run,
    running,
    saves,
    started,
    synced,
    tick,
    told,
)

FIVE = fleet("40:60", executors=5)


# -- placing


def test_nothing_is_decided_before_everything_has_been_read() -> None:
    assert places(after(FIVE, observed(pod(1)), tick(1))) == {}


def test_a_gated_executor_is_placed_with_the_cause_and_the_reason() -> None:
    decision = decide(run(FIVE, synced(), observed(pod(1))), observed(pod(2), at=3))
    assert decision.actions == (
        Place(
            cause="pods/etl-exec-2@3",
            uid="uid-2",
            pod="etl-exec-2",
            seat=1,
            seat_pool=SPOT,
            pool=SPOT,
            reason="seat of the mix",
            at=NOON + 3,
        ),
        SaveCheckpoint(cause="pods/etl-exec-2@3"),
    )


def test_executors_are_seated_in_the_order_of_their_numbers() -> None:
    ten = fleet("1:1", executors=10)
    decision = after(ten, *(observed(pod(number)) for number in range(10, 0, -1)), synced())
    assert places(decision) == {number: (number - 1, SPOT if number % 2 == 0 else ON_DEMAND) for number in range(1, 11)}


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(pod(1, deleting=True), id="on-its-way-out"),
        pytest.param(pod(1, phase="Failed"), id="failed-before-it-ran"),
        pytest.param(pod(1, gated=False), id="not-gated"),
    ],
)
def test_only_who_waits_is_placed(seen: ev.PodFacts) -> None:
    assert places(after(FIVE, synced(), observed(seen))) == {}


def test_the_first_whole_placement_is_told_and_kept_for_the_report() -> None:
    almost = run(FIVE, synced(), *(observed(pod(n)) for n in range(1, 6)), *(done(n) for n in range(1, 5)))
    decision = decide(almost, done(5))
    assert decision.actions == (
        Tell(
            cause="pods/etl-exec-5",
            message="all 5 executors are placed: 2 spot, 3 on-demand",
            topic=Topic.PLACED,
        ),
        SaveCheckpoint(cause="pods/etl-exec-5"),
    )
    assert decision.state.initial == {SPOT: 2, ON_DEMAND: 3}


def test_the_first_whole_placement_counts_pools_outside_the_mix_too() -> None:
    only_spot = fleet("1:0", executors=1)
    only_spot = replace(only_spot, mix=replace(only_spot.mix, shares=only_spot.mix.shares[:1]))
    lost = placed(1, seat=0, pool=SPOT)
    state = run(only_spot, synced(), observed(pod(1)), evicted(lost), observed(pod(2)), done(2))
    assert state.initial == {SPOT: 0, ON_DEMAND: 1}


def test_each_application_of_a_fleet_has_the_mix() -> None:
    two = fleet("1:1", executors=2, applications=2)
    seen = [observed(pod(number, uid=f"{app}-{number}"), app=app) for app in ("etl-0", "etl-1") for number in (1, 2)]
    decision = after(two, synced(), *seen)
    assert [(a.uid, a.seat, a.pool) for a in decision.actions if isinstance(a, Place)] == [
        ("etl-0-1", 0, ON_DEMAND),
        ("etl-0-2", 1, SPOT),
        ("etl-1-1", 0, ON_DEMAND),
        ("etl-1-2", 1, SPOT),
    ]


# -- a refused placement


def test_a_refused_placement_is_tried_again_as_it_was() -> None:
    state = run(FIVE, synced(), observed(pod(1)), observed(pod(2)))
    assert places(decide(state, refused(2))) == {2: (1, SPOT)}


def test_a_refusal_may_hide_a_success_so_nobody_else_gets_the_seat() -> None:
    state = started(FIVE)
    state = run(state, evicted(on(state, SPOT)), observed(pod(6)))
    others: list[ev.AnyEvent] = [observed(pod(7)), evicted(on(state, ON_DEMAND)), refused(6), observed(pod(8))]
    decision = after(state, *others)
    assert [places(decide(run(state, *others[:n]), event)) for n, event in enumerate(others)] == [
        {7: (5, ON_DEMAND)},
        {},
        {6: (1, ON_DEMAND)},
        {8: (0, ON_DEMAND)},
    ]
    assert len({seat for seat, _ in places(decision).values()}) == 3


def test_a_refused_replacement_still_says_whom_it_replaces() -> None:
    state = started(FIVE)
    state = run(state, evicted(on(state, SPOT)), observed(pod(6)))
    (again,) = decide(state, refused(6)).actions
    assert isinstance(again, Place)
    assert again.reason == "replaces etl-exec-2, lost to spot-interruption"


@pytest.mark.parametrize(
    "news",
    [
        pytest.param(deleting(pod(1)), id="it-is-going"),
        pytest.param(gone(pod(1)), id="it-is-gone"),
        pytest.param(observed(placed(1, seat=0, pool=ON_DEMAND)), id="it-came-through-after-all"),
        pytest.param(application(ApplicationPhase.FAILED), id="the-application-is-over"),
    ],
)
def test_a_refusal_that_is_out_of_date_is_left_alone(news: ev.AnyEvent) -> None:
    state = run(FIVE, synced(), observed(pod(1)), news)
    assert decide(state, refused(1)).actions == ()


def test_news_of_a_placement_that_was_lost_on_the_way_is_as_good_as_its_answer() -> None:
    state = run(FIVE, synced(), *(observed(pod(n)) for n in range(1, 6)))
    seats = {e.pod.executor_id: e for _, e in state.executors()}
    seen = [observed(placed(n, seat=seats[n].seat or 0, pool=seats[n].placed_pool)) for n in range(1, 6)]
    assert told(after(state, *seen)) == ["all 5 executors are placed: 2 spot, 3 on-demand"]


# -- a watch that lags, repeats itself, is overtaken


def test_old_news_of_a_placed_executor_changes_nothing() -> None:
    state = run(FIVE, synced(), observed(pod(1)))
    assert decide(state, observed(pod(1))).actions == ()
    assert decide(run(state, done(1)), observed(pod(1))).actions == ()


def test_an_answer_that_the_news_of_the_end_has_overtaken_brings_nobody_back() -> None:
    state = started(FIVE)
    lost = on(state, SPOT)
    ended = run(state, evicted(lost), gone(lost))
    assert decide(ended, observed(lost)).state == ended
    assert decide(ended, done(2)).state == ended
    assert decide(ended, refused(2)).state == ended


def test_old_news_of_an_executor_that_is_going_does_not_seat_it_again() -> None:
    state = run(FIVE, synced(), observed(pod(1)), deleting(pod(1)))
    assert decide(state, observed(pod(1))).actions == ()


def test_an_earlier_controller_s_placement_that_arrives_late_wins() -> None:
    state = started(FIVE)
    state = run(state, evicted(on(state, SPOT)), observed(pod(6)))
    state = run(state, observed(placed(6, seat=5, pool=ON_DEMAND)))
    assert places(decide(state, observed(pod(7)))) == {7: (1, ON_DEMAND)}
    assert state.replacements == ()


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(observed(pod(1), app="other"), id="executor-of-another-application"),
        pytest.param(gone(pod(9)), id="end-of-an-executor-never-seen"),
        pytest.param(gone(pod(1), app="other"), id="end-in-another-application"),
        pytest.param(application(ApplicationPhase.FAILED, app="other"), id="another-application"),
        pytest.param(ev.ApplicationDeleted(at=NOON, application="other", uid="x"), id="another-application-deleted"),
        pytest.param(ev.ApplicationDeleted(at=NOON, application=APP, uid="x"), id="a-namesake-deleted"),
        pytest.param(replace(application(ApplicationPhase.FAILED), uid="x"), id="a-namesake"),
        pytest.param(done(9), id="answer-for-an-unknown-executor"),
        pytest.param(ev.RescueFailed(at=NOON, uid="x"), id="rescue-of-an-unknown-executor"),
    ],
)
def test_what_is_not_ours_changes_nothing(stranger: ev.AnyEvent) -> None:
    state = started(FIVE)
    decision = decide(state, stranger)
    assert (decision.state, decision.actions) == (state, ())


# -- a driver that is restarted


def test_a_new_submission_starts_with_fresh_seats() -> None:
    state = started(FIVE)
    state = run(state, evicted(on(state, SPOT)))
    decision = decide(state, observed(pod(1, uid="uid-1b"), at=100, submission="sub-2"))
    assert decision.actions == (
        Tell(
            cause="pods/etl-exec-1@100",
            message="etl: the driver was restarted; its new submission sub-2 starts with fresh seats",
            topic=Topic.RESTARTED,
            application="etl",
        ),
        Place(
            cause="pods/etl-exec-1@100",
            uid="uid-1b",
            pod="etl-exec-1",
            seat=0,
            seat_pool=ON_DEMAND,
            pool=ON_DEMAND,
            reason="seat of the mix",
            at=NOON + 100,
        ),
        SaveCheckpoint(cause="pods/etl-exec-1@100"),
    )
    (app,) = decision.state.applications.values()
    assert ([executor.pod.uid for executor in app.executors.values()], len(app.leaving)) == (["uid-1b"], 5)


def test_news_of_an_earlier_submission_is_news_of_its_accounts_alone() -> None:
    state = run(started(FIVE), observed(pod(1, uid="uid-1b"), submission="sub-2"))
    late = running(2, seat=1, pool=SPOT)
    for event in (observed(late), evicted(late), gone(late), observed(pod(7))):
        decision = decide(state, event)
        (after,) = decision.state.applications.values()
        (before,) = state.applications.values()
        assert replace(after, leaving=before.leaving) == before
        assert not any(isinstance(action, Place) for action in decision.actions)


# -- the end


def test_the_fleet_is_over_with_its_last_application() -> None:
    two = fleet(executors=1, applications=2)
    first = application(ApplicationPhase.SUCCEEDED, app="etl-0")
    last = application(ApplicationPhase.FAILED, at=9, app="etl-1", message="driver exited with code 1")
    state = run(two, synced(), first)
    assert not state.finished
    assert decide(state, last).actions == (
        Tell(cause="sparkapplications/etl-1@9", message="etl-1 is FAILED: driver exited with code 1", warning=True),
        Finish(cause="sparkapplications/etl-1@9", succeeded=False, message="etl-1 FAILED: driver exited with code 1"),
    )


def test_an_application_that_is_over_gets_no_executors_and_loses_none() -> None:
    two = fleet(executors=1, applications=2)
    seen = running(1, seat=0, pool=ON_DEMAND)
    state = run(two, synced(), observed(seen, app="etl-0"), application(ApplicationPhase.SUCCEEDED, app="etl-0"))
    evicted_late = observed(replace(seen, deleting=True, disruption="EvictionByEvictionAPI"), app="etl-0")
    assert after(state, evicted_late, observed(pod(2), app="etl-0")).actions == ()


def test_accounts_are_closed_when_the_fleet_is_over() -> None:
    state = started(FIVE)
    ending = [deleting(executor.pod, at=100) for _, executor in state.executors()]
    state = run(state, *ending, application(ApplicationPhase.SUCCEEDED, at=100))
    assert state.ledger == {ON_DEMAND: account(3, 300), SPOT: account(2, 200)}


def test_a_deleted_application_fails_the_fleet() -> None:
    decision = decide(started(FIVE), ev.ApplicationDeleted(at=NOON, id="x", application=APP, uid=APP))
    assert decision.actions == (
        Tell(cause="x", message="etl was deleted by someone else: its object was deleted", warning=True),
        Finish(cause="x", succeeded=False, message="etl DELETED: its object was deleted"),
    )


def test_nothing_is_decided_after_the_end() -> None:
    over = run(started(FIVE), application(ApplicationPhase.SUCCEEDED))
    assert decide(over, evicted(running(2, seat=1, pool=SPOT))) == decide(over, tick(1))


def test_one_checkpoint_per_event_at_most() -> None:
    state = started(FIVE)
    decision = decide(run(state, evicted(on(state, SPOT)), observed(pod(6))), done(6))
    assert saves(decision) == 1


def test_a_decision_leaves_the_state_that_it_was_made_on() -> None:
    state = started(FIVE)
    before = FleetState.new(FIVE), state, repr(state)
    decide(state, evicted(on(state, SPOT)))
    assert (FleetState.new(FIVE), state, repr(state)) == before
