"""Groups: executors that are born on their pool, who of the groups is lost, and when the outcome is certain."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import AnyAction, Finish, Place, Resubmit
from airflow_provider_spotmix.core.controller import Decision
from airflow_provider_spotmix.core.events import ApplicationPhase, PodFacts
from airflow_provider_spotmix.core.spec import ApplicationSpec, FleetSpec
from airflow_provider_spotmix.core.state import FleetState
from tests.core.vocabulary import (
    NOON,
    ON_DEMAND,
    SPOT,
    after,
    application,
    evicted,
    failed,
    fleet,
    gone,
    observed,
    pod,
    run,
    synced,
    tick,
    told,
)

RUNNING, FAILED, SUCCEEDED = ApplicationPhase.RUNNING, ApplicationPhase.FAILED, ApplicationPhase.SUCCEEDED
A, B, C, AGAIN = "etl-0", "etl-1", "etl-2", "etl-0r"


def grouped(*, executors: int = 2, quorum: int = 0) -> FleetSpec:
    """Group a on spot, b and c on on-demand."""
    pools = {A: SPOT, B: ON_DEMAND, C: ON_DEMAND}
    applications = [
        ApplicationSpec(name=name, executors=executors, pool=pool, group=f"g{name[-1]}") for name, pool in pools.items()
    ]
    again = ApplicationSpec(name=AGAIN, executors=executors, pool=ON_DEMAND, group="g0", replaces=A)
    return replace(fleet(), applications=(*applications, again), placement="groups", quorum=quorum)


def born(number: int, app: str = A, **facts: Any) -> PodFacts:
    """An executor as Spark makes it of the group's template."""
    pool = SPOT if app == A else ON_DEMAND
    own = {"uid": f"{app}-{number}", "name": f"{app}-exec-{number}", "seat_pool": pool, "placed_pool": pool}
    return pod(number, **{"gated": False, **own, **facts})


def up(number: int, app: str = A, **facts: Any) -> PodFacts:
    return born(number, app, **{"phase": "Running", "node": f"{app}-{number}", "scheduled_at": NOON, **facts})


def seen(pod: PodFacts, at: float = 0) -> ev.ExecutorObserved:
    app = pod.name.partition("-exec-")[0]
    return observed(pod, at, app=app, submission=f"{app}-1")


def lost(pod: PodFacts, at: float = 0) -> ev.ExecutorObserved:
    return replace(seen(pod, at), pod=evicted(pod).pod)


def started(spec: FleetSpec | None = None) -> FleetState:
    """Every group's application and executors run."""
    spec = spec or grouped()
    events: list[ev.AnyEvent] = [application(RUNNING, app=name) for name in (A, B, C)]
    events += [seen(up(n, app)) for app in (A, B, C) for n in range(1, spec.applications[0].executors + 1)]
    return run(spec, *events, synced())


def starving(state: FleetState, since: float = 10) -> FleetState:
    """Spot has taken both executors of group a, and Spark asks for others in vain."""
    events = [lost(up(1), since), lost(up(2), since), seen(born(3), since), seen(born(4), since)]
    return run(state, *events, tick(since))


def resubmits(actions: tuple[AnyAction, ...]) -> list[tuple[str, str, str]]:
    return [(a.application, a.replacement, a.pool) for a in actions if isinstance(a, Resubmit)]


def finished(decision: Decision) -> list[tuple[bool, tuple[str, ...]]]:
    return [(a.succeeded, a.unfinished) for a in decision.actions if isinstance(a, Finish)]


# -- seats without a gate


def seats(state: FleetState, app: str = A) -> dict[int, int | None]:
    return {e.pod.executor_id: e.seat for e in state.applications[app].executors.values() if not e.released}


def test_executors_that_are_born_on_their_pool_are_seated_and_not_placed() -> None:
    decision = after(grouped(), synced(), seen(up(1)), seen(born(2)))
    assert seats(decision.state) == {1: 0, 2: 1}
    assert [action for action in decision.actions if isinstance(action, Place)] == []
    assert decision.state.applications[A].seats() == {SPOT: 2}


def test_the_initial_mix_is_that_of_the_groups() -> None:
    assert started().initial == {SPOT: 2, ON_DEMAND: 4}


def test_a_lost_executor_is_replaced_on_its_own_pool() -> None:
    decision = after(started(), lost(up(2), 10), seen(up(3), 20))
    (replacement,) = decision.state.replacements
    assert (replacement.executor, replacement.replaces, replacement.seat) == ("etl-0-exec-3", "etl-0-exec-2", 1)
    assert (replacement.seat_pool, replacement.pool, replacement.is_fallback) == (SPOT, SPOT, False)
    assert decision.state.losses_by_cause == {"spot-interruption": 1}


def recovered(before: FleetState, *events: ev.AnyEvent) -> FleetState:
    saved = cp.decode(cp.encode(cp.take(before, holder="me")))
    fresh = cp.restore(FleetState.new(before.spec), saved)
    return run(fresh, *events, *(application(RUNNING, app=name) for name in (A, B, C)), synced(60))


def test_a_takeover_gives_everybody_the_same_seat_again() -> None:
    state = run(started(), lost(up(1), 10), gone(up(1), 11, app=A), seen(up(3), 20))
    assert seats(recovered(state, seen(up(2)), seen(up(3)))) == seats(state) == {2: 1, 3: 0}


def test_a_takeover_finds_who_was_lost_and_who_replaced_it() -> None:
    state = recovered(started(), seen(up(2)), seen(up(3)))
    assert [(r.executor, r.replaces, r.seat) for r in state.replacements] == [("etl-0-exec-3", "executor 1", 0)]


def test_a_takeover_counts_one_that_is_going_just_now() -> None:
    state = recovered(started(), lost(up(1)), seen(up(2)))
    assert [(loss.executor, loss.cause) for loss in state.losses] == [("etl-0-exec-1", "spot-interruption")]


# -- lost groups


def test_a_group_whose_application_failed_after_interruptions_is_submitted_again() -> None:
    decision = after(started(), lost(up(1), 10), application(FAILED, 20, app=A))
    assert resubmits(decision.actions) == [(A, AGAIN, ON_DEMAND)]
    (resubmission,) = decision.state.resubmissions.values()
    assert (resubmission.cause, resubmission.group) == ("lost", "g0")
    assert resubmission.reason == "it failed after the infrastructure had taken 1 of its executors"
    assert finished(decision) == []


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="no-loss"),
        pytest.param([lost(up(1), 10), replace(seen(up(2), 11), pod=failed(up(2)).pod)], id="its-own-failure-too"),
        pytest.param([replace(seen(up(2), 11), pod=failed(up(2)).pod)], id="its-own-failure"),
    ],
)
def test_a_group_that_failed_by_itself_is_not(events: list[ev.AnyEvent]) -> None:
    decision = after(started(), *events, application(FAILED, 20, app=A))
    assert (resubmits(decision.actions), finished(decision)) == ([], [(False, (B, C))])


def test_a_group_on_on_demand_is_not() -> None:
    decision = after(started(), lost(up(1, B), 10), application(FAILED, 20, app=B))
    assert (resubmits(decision.actions), finished(decision)) == ([], [(False, (A, C))])


def test_a_group_that_was_deleted_by_someone_is_not() -> None:
    deletion = ev.ApplicationDeleted(at=NOON + 20, application=A, uid=A)
    decision = after(started(), lost(up(1), 10), deletion)
    assert (resubmits(decision.actions), finished(decision)) == ([], [(False, (B, C))])


def test_a_group_that_starves_is_submitted_again_after_its_patience() -> None:
    state = starving(started(), since=10)
    assert resubmits(after(state, tick(309)).actions) == []
    decision = after(state, tick(309), tick(310))
    assert resubmits(decision.actions) == [(A, AGAIN, ON_DEMAND)]
    assert told(decision)[0] == (
        "group g0 is lost (etl-0: no node has taken an executor of it for 300 s): submitting it again on on-demand"
    )


def test_a_group_that_never_got_an_executor_starves_too() -> None:
    state = run(grouped(), synced(), application(RUNNING, app=A), seen(born(1)), tick(0))
    assert resubmits(after(state, tick(300)).actions) == [(A, AGAIN, ON_DEMAND)]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([seen(up(3), 100)], id="one-runs-again"),
        pytest.param([seen(born(3, node="spot-9"), 100)], id="one-is-being-started"),
        pytest.param([gone(born(n), 100, app=A, submission=f"{A}-1") for n in (3, 4)], id="it-asks-for-none"),
    ],
)
def test_a_group_that_does_not_starve_is_left_alone(events: list[ev.AnyEvent]) -> None:
    decision = after(starving(started(), since=10), *events, *(tick(at) for at in (101, 310, 500)))
    assert resubmits(decision.actions) == []


def test_what_becomes_of_the_lost_attempt_no_longer_matters() -> None:
    state = run(starving(started()), tick(310))
    going = [replace(seen(born(n), 320), pod=replace(born(n), deleting=True)) for n in (3, 4)]
    removed = ev.ApplicationDeleted(at=NOON + 321, application=A, uid=A)
    decision = after(state, *going, removed)
    assert [loss.executor_id for loss in decision.state.losses] == [1, 2]
    assert finished(decision) == []


# -- going on with it


def lost_group() -> FleetState:
    return run(started(), lost(up(1), 10), application(FAILED, 20, app=A))


def answer(kind: type[ev.ResubmitDone | ev.ResubmitFailed], at: float = 30) -> ev.AnyEvent:
    return kind(at=NOON + at, application=A)


def test_it_is_asked_once_and_again_until_it_is_done() -> None:
    state = lost_group()
    assert resubmits(after(state, tick(21), tick(22)).actions) == []
    assert resubmits(after(state, answer(ev.ResubmitFailed)).actions) == [(A, AGAIN, ON_DEMAND)]
    assert resubmits(after(state, answer(ev.ResubmitDone), tick(40)).actions) == []


def test_the_second_attempt_is_the_one_that_counts() -> None:
    state = run(lost_group(), application(RUNNING, 40, app=AGAIN), answer(ev.ResubmitDone, 41))
    state = run(state, seen(up(1, AGAIN), 50), *(application(SUCCEEDED, 60, app=name) for name in (B, C)))
    assert finished(after(state, application(SUCCEEDED, 70, app=AGAIN))) == [(True, ())]
    assert finished(after(state, application(FAILED, 70, app=AGAIN))) == [(False, ())]


def test_there_is_no_third_attempt() -> None:
    state = run(lost_group(), answer(ev.ResubmitDone), application(RUNNING, 40, app=AGAIN))
    decision = after(state, seen(up(1, AGAIN), 50), lost(up(1, AGAIN), 60), application(FAILED, 70, app=AGAIN))
    assert (resubmits(decision.actions), finished(decision)) == ([], [(False, (B, C))])


def test_a_second_attempt_that_is_not_there_yet_is_no_failure() -> None:
    absent = ev.ApplicationDeleted(at=NOON, application=AGAIN, uid="")
    assert not run(started(), absent).finished
    assert not run(lost_group(), absent).finished
    assert run(lost_group(), answer(ev.ResubmitDone), absent).finished, "somebody has deleted it"


def test_one_that_has_succeeded_after_all_is_kept() -> None:
    state = run(starving(started()), tick(310))
    void = ev.ResubmitVoid(at=NOON + 311, application=A, succeeded=True, reason="it has succeeded after all")
    decision = after(state, void, *(application(SUCCEEDED, 320, app=name) for name in (B, C)))
    assert finished(decision) == [(True, (AGAIN,))], "should anything be left of it"
    assert resubmits(after(state, void, tick(1000)).actions) == []


def test_one_that_is_gone_has_failed() -> None:
    void = ev.ResubmitVoid(at=NOON + 311, application=A, succeeded=False, reason="its object is gone")
    decision = after(starving(started()), tick(310), void)
    assert finished(decision) == [(False, (B, C, AGAIN))]


def test_a_controller_that_takes_over_goes_on() -> None:
    saved = cp.decode(cp.encode(cp.take(lost_group(), holder="me")))
    fresh = cp.restore(FleetState.new(grouped()), saved)
    observations = (application(FAILED, app=A), *(application(RUNNING, app=name) for name in (B, C)))
    decision = after(fresh, *observations, synced(30))
    assert resubmits(decision.actions) == [(A, AGAIN, ON_DEMAND)]
    done = cp.decode(cp.encode(cp.take(run(lost_group(), answer(ev.ResubmitDone)), holder="me")))
    assert resubmits(after(cp.restore(FleetState.new(grouped()), done), synced(30)).actions) == []


def test_a_controller_that_finds_a_second_attempt_of_which_nothing_is_written_goes_on() -> None:
    observations = [application(RUNNING, app=name) for name in (A, B, C)]
    pending = application(ApplicationPhase.PENDING, app=AGAIN)
    decision = after(grouped(), *observations, pending, synced(30))
    assert resubmits(decision.actions) == [(A, AGAIN, ON_DEMAND)]
    assert decision.state.resubmissions[A].cause == "found"


# -- the outcome


@pytest.mark.parametrize(
    ("quorum", "phases", "outcome"),
    [
        pytest.param(0, {A: SUCCEEDED, B: SUCCEEDED}, [], id="all-waits-for-the-last"),
        pytest.param(0, {A: SUCCEEDED, B: SUCCEEDED, C: SUCCEEDED}, [(True, ())], id="all"),
        pytest.param(0, {B: FAILED}, [(False, (A, C))], id="all-ends-with-the-first-failure"),
        pytest.param(1, {C: SUCCEEDED}, [(True, (A, B))], id="any-ends-with-the-first-success"),
        pytest.param(1, {A: FAILED, B: FAILED}, [], id="any-waits-for-the-last"),
        pytest.param(1, {A: FAILED, B: FAILED, C: FAILED}, [(False, ())], id="none-of-any"),
        pytest.param(2, {A: FAILED, B: SUCCEEDED}, [], id="quorum-open"),
        pytest.param(2, {A: FAILED, B: SUCCEEDED, C: SUCCEEDED}, [(True, ())], id="quorum-met"),
        pytest.param(2, {A: FAILED, B: FAILED}, [(False, (C,))], id="quorum-out-of-reach"),
    ],
)
def test_the_fleet_ends_as_soon_as_the_outcome_is_certain(
    quorum: int, phases: dict[str, ApplicationPhase], outcome: list[tuple[bool, tuple[str, ...]]]
) -> None:
    events = [application(phase, 10, app=name) for name, phase in phases.items()]
    assert finished(after(started(grouped(quorum=quorum)), *events)) == outcome


def test_who_is_lost_is_judged_once_everything_has_been_seen() -> None:
    """Before, a failed group could be one that is to be submitted again."""
    saved = cp.take(run(started(), lost(up(1), 10)), holder="me")
    fresh = cp.restore(FleetState.new(grouped()), saved)
    observations = [application(FAILED, 20, app=A), *(application(RUNNING, app=name) for name in (B, C))]
    assert finished(after(fresh, *observations)) == []
    assert resubmits(after(fresh, *observations, synced(21)).actions) == [(A, AGAIN, ON_DEMAND)]


# -- what earlier versions wrote


def test_a_spec_of_before_there_were_groups_is_read() -> None:
    old = {"fleet_id": "f", "namespace": "n", "applications": [{"name": "a", "executors": 3}], "mix": {"shares": []}}
    spec = msgspec.convert({**old, "pools": []}, FleetSpec)
    assert (spec.first_attempts, spec.second_attempts) == (spec.applications, ())
    assert (spec.executors, spec.quorum) == (3, 0)


def test_a_checkpoint_of_before_there_were_groups_is_read() -> None:
    old = '{"schema":1,"fleet_id":"f1","applications":{"etl-0":{"submission":"etl-0-1","highest_executor_id":2}}}'
    state = cp.restore(FleetState.new(grouped()), cp.decode(old))
    assert (state.resubmissions, state.applications[A].losses) == ({}, {})
