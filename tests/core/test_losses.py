"""Losses and what follows from them, decision by decision. Longer stories are in scenarios/."""

from __future__ import annotations

from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Rescue, SaveCheckpoint, Tell, Topic
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.history import Cause, Loss, Replacement
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
    failed,
    fleet,
    gone,
    node,
    node_gone,
    notice,
    observed,
    on,
    out_of_memory,
    placed,
    places,
    pod,
    run,
    running,
    started,
    succeeded,
    synced,
    tick,
    told,
)

FIVE = fleet("40:60", executors=5)


# -- losses and replacements


def test_an_interrupted_spot_executor_is_a_loss_with_its_evidence() -> None:
    state = run(started(FIVE), notice("spot-1", at=60))
    lost = on(state, SPOT)
    decision = decide(state, evicted(lost, at=62))
    loss = Loss(
        id="pods/etl-exec-2@62",
        at=NOON + 62,
        application=APP,
        executor="etl-exec-2",
        executor_id=2,
        seat=1,
        seat_pool=SPOT,
        pool=SPOT,
        cause=Cause.SPOT_INTERRUPTION,
        evidence=(
            "pod condition DisruptionTarget: EvictionByEvictionAPI",
            "node spot-1 has taint aws-node-termination-handler/spot-itn (seen 08:01:00Z)",
        ),
        node="spot-1",
    )
    assert decision.state.losses == (loss,)
    assert decision.state.losses_by_cause == {"spot-interruption": 1}
    assert decision.actions == (
        Tell(
            cause=loss.id,
            message="lost etl-exec-2 (seat 1, spot) on node spot-1: spot-interruption ("
            + "; ".join(loss.evidence)
            + ")",
            warning=True,
            topic=Topic.LOST,
            application="etl",
        ),
        SaveCheckpoint(cause=loss.id),
    )


def test_its_replacement_takes_the_seat_on_on_demand_and_is_listed() -> None:
    state = started(FIVE)
    state = run(state, evicted(on(state, SPOT), at=62))
    assert places(decide(state, observed(pod(6), at=70))) == {6: (1, ON_DEMAND)}
    state = run(state, observed(pod(6), at=70), done(6, at=71))
    assert state.replacements == (
        Replacement(
            at=NOON + 71,
            application=APP,
            executor="etl-exec-6",
            seat=1,
            seat_pool=SPOT,
            pool=ON_DEMAND,
            replaces="etl-exec-2",
            cause=Cause.SPOT_INTERRUPTION,
            loss="pods/etl-exec-2@62",
        ),
    )
    assert state.replacements[0].is_fallback
    assert state.replacements_by_pool == {ON_DEMAND: 1}


def test_a_lost_fallback_comes_back_on_on_demand() -> None:
    state = started(FIVE)
    fallback = running(6, seat=1, pool=ON_DEMAND, seat_pool=SPOT)
    state = run(state, evicted(on(state, SPOT)), observed(pod(6)), observed(fallback), evicted(fallback))
    assert places(decide(state, observed(pod(7)))) == {7: (1, ON_DEMAND)}
    assert [loss.cause for loss in state.losses] == [Cause.SPOT_INTERRUPTION, Cause.INFRASTRUCTURE]


def test_a_seat_that_somebody_labelled_with_no_pool_of_ours_falls_back() -> None:
    state = started(FIVE)
    edited = running(2, seat=1, pool=SPOT, seat_pool="nowhere")
    state = run(state, observed(edited), evicted(edited))
    assert places(decide(state, observed(pod(6)))) == {6: (1, ON_DEMAND)}


def test_an_application_s_own_failure_returns_to_the_pool_of_the_seat() -> None:
    state = started(FIVE)
    state = run(state, out_of_memory(on(state, SPOT)))
    assert places(decide(state, observed(pod(6)))) == {6: (1, SPOT)}


def test_vacant_seats_are_taken_lowest_first_and_before_new_ones() -> None:
    state = started(FIVE)
    state = run(state, evicted(running(4, seat=3, pool=SPOT)), evicted(running(1, seat=0, pool=ON_DEMAND)))
    assert places(after(state, *(observed(pod(n)) for n in (6, 7, 8)))) == {
        6: (0, ON_DEMAND),
        7: (3, ON_DEMAND),
        8: (5, ON_DEMAND),
    }


def test_who_ended_by_itself_gives_its_seat_up() -> None:
    state = started(FIVE)
    state = run(state, succeeded(on(state, SPOT)))
    assert state.losses == ()
    assert places(decide(state, observed(pod(6)))) == {6: (1, SPOT)}


def test_an_executor_that_goes_before_it_was_placed_leaves_nothing_behind() -> None:
    state = run(started(FIVE), evicted(running(2, seat=1, pool=SPOT)), observed(pod(6)), deleting(pod(6)))
    assert [loss.executor for loss in state.losses] == ["etl-exec-2"]
    assert places(decide(state, observed(pod(7)))) == {7: (1, ON_DEMAND)}


def test_a_placement_that_only_the_last_news_shows_counts() -> None:
    """Placed, taken and deleted before its answer came: it was on spot, so its replacement is not."""
    state = run(FIVE, synced(), observed(pod(1)), observed(pod(2)))
    state = run(state, gone(placed(2, seat=1, pool=SPOT, disruption="DeletionByPodGC")))
    assert places(decide(state, observed(pod(3)))) == {3: (1, ON_DEMAND)}


# -- losses that nothing explains


def test_a_deletion_that_nothing_explains_counts_once_it_is_replaced() -> None:
    state = started(FIVE)
    suspected = decide(state, deleting(on(state, SPOT)))
    assert suspected.actions == (SaveCheckpoint(cause="pods/etl-exec-2@0"),)
    assert suspected.state.losses == ()
    replaced = after(suspected.state, observed(pod(6)), done(6))
    assert [(loss.executor, loss.cause) for loss in replaced.state.losses] == [("etl-exec-2", Cause.UNKNOWN)]
    assert told(replaced) == [
        "lost etl-exec-2 (seat 1, spot) on node spot-1: unknown (deleted without a disruption signal)",
        "etl-exec-6 replaces etl-exec-2 on on-demand (fallback of a spot seat: unknown)",
    ]


def test_a_cause_that_shows_before_the_replacement_is_asked_for_is_taken() -> None:
    """A driver gives an executor up after missed heartbeats; the node is known to be lost only later."""
    state = started(FIVE)
    state = run(state, deleting(on(state, SPOT)), node("spot-1", at=9, ready=False), observed(pod(6), at=10), done(6))
    (loss,) = state.losses
    assert (loss.cause, loss.evidence) == (
        Cause.SPOT_INTERRUPTION,
        ("deleted without a disruption signal", "node spot-1 is not ready"),
    )
    assert state.replacements[0].cause is Cause.SPOT_INTERRUPTION


def test_what_a_gap_in_the_watch_hides_counts_once_it_is_replaced() -> None:
    state = run(started(FIVE), notice("spot-1"))
    state = run(state, gone(running(2, seat=1, pool=SPOT), estimated=True))
    assert state.losses == ()
    state = run(state, observed(pod(6)), done(6))
    assert [(loss.cause, loss.estimated) for loss in state.losses] == [(Cause.SPOT_INTERRUPTION, True)]


def test_an_ending_application_loses_nothing() -> None:
    state = started(FIVE)
    pods = [executor.pod for _, executor in state.executors()]
    decision = after(
        state, *(deleting(p, 9) for p in pods), *(gone(p, 9) for p in pods), application(ApplicationPhase.SUCCEEDED, 9)
    )
    assert decision.state.losses == ()
    assert told(decision) == ["etl is COMPLETED"]


# -- nodes


def test_a_node_is_lost_once_it_was_not_ready_for_the_whole_deadline() -> None:
    state = run(started(fleet(node_lost_after_seconds=10)), node("spot-1", at=50, ready=False))
    assert decide(state, tick(59.9)).actions == ()
    assert decide(state, tick(60)).actions == (Rescue(cause="tick", uid="uid-2", pod="etl-exec-2", node="spot-1"),)


def test_the_deadline_runs_from_the_first_news_and_stops_when_the_node_is_back() -> None:
    state = run(started(FIVE), node("spot-1", at=50, ready=False), node("spot-1", at=58, ready=False))
    assert decide(state, tick(60)).actions != ()
    assert decide(run(state, node("spot-1", at=59)), tick(70)).actions == ()


def test_a_deleted_node_s_executors_are_rescued_at_once_and_once() -> None:
    state = started(FIVE)
    decision = after(state, node_gone("spot-1"), node_gone("spot-1"), tick(1), synced(2))
    assert decision.actions == (Rescue(cause="nodes/spot-1", uid="uid-2", pod="etl-exec-2", node="spot-1"),)


def test_a_rescue_that_failed_is_tried_again_only_while_the_node_is_lost() -> None:
    failure = ev.RescueFailed(at=NOON + 5, uid="uid-2")
    state = run(started(FIVE), node_gone("spot-1"), failure)
    assert [type(action) for action in decide(state, tick(6)).actions] == [Rescue]
    assert decide(run(state, node("spot-1", at=6)), tick(7)).actions == ()


def test_who_is_bound_to_a_node_that_is_gone_already_is_rescued_when_it_is_seen() -> None:
    state = run(FIVE, synced(0, "away"), observed(pod(1)))
    seen = running(1, seat=0, pool=ON_DEMAND, node="away")
    assert [type(action) for action in decide(state, observed(seen)).actions] == [Rescue]


def test_executors_that_have_ended_need_no_rescue() -> None:
    state = started(FIVE)
    assert decide(run(state, failed(on(state, SPOT))), node_gone("spot-1")).actions == ()


def test_a_node_that_we_know_nothing_of_is_not_gone() -> None:
    state = run(FIVE, synced(), observed(pod(1)), observed(running(1, seat=0, pool=ON_DEMAND, node="unseen")))
    assert decide(state, tick(1000)).actions == ()


# -- dynamic allocation


def test_a_vacant_seat_expires_under_dynamic_allocation_only() -> None:
    for dynamic, counted in ((True, {ON_DEMAND: 3, SPOT: 1}), (False, {ON_DEMAND: 3, SPOT: 2})):
        state = started(fleet(dynamic=dynamic, vacant_seat_seconds=120))
        state = run(state, evicted(on(state, SPOT), at=10))
        assert decide(state, tick(129)).actions == ()
        assert run(state, tick(130)).applications[APP].seats() == counted


def test_a_seat_that_someone_is_on_the_way_to_does_not_expire() -> None:
    state = started(fleet(dynamic=True))
    state = run(state, evicted(on(state, SPOT), at=10), observed(pod(6), at=11), tick(1000), done(6, at=1001))
    assert [r.replaces for r in state.replacements] == ["etl-exec-2"]


def test_who_is_let_go_is_no_loss_and_the_next_ones_repair_the_mix() -> None:
    state = started(fleet(dynamic=True))
    state = run(state, deleting(running(2, seat=1, pool=SPOT)), deleting(running(4, seat=3, pool=SPOT)))
    assert (state.losses, state.applications[APP].seats()) == ((), {ON_DEMAND: 3})
    assert places(after(state, observed(pod(6)), observed(pod(7)))) == {6: (1, SPOT), 7: (3, SPOT)}


# -- the ledger


def test_an_account_runs_from_the_node_to_the_end_and_is_closed_once() -> None:
    state = started(FIVE)
    seen = replace(on(state, SPOT), finished_at=NOON + 90)
    state = run(state, evicted(seen, at=60), failed(seen, at=95), gone(seen, at=100))
    assert state.ledger == {SPOT: account(1, 90)}


def test_who_never_had_a_node_costs_nothing() -> None:
    state = run(FIVE, synced(), observed(pod(1)), done(1), gone(placed(1, seat=0, pool=ON_DEMAND), at=50))
    assert state.ledger == {}
