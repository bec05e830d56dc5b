"""Decide: `decide(state, event) -> Decision(state, actions)`. Pure and deterministic; the heart of the package.

One handler per event; each changes the state through a `Turn`, which collects the actions. The three ideas:

* A *seat* is a place in the mix. An executor that is going away releases its seat at once; the seat is then vacant
  until the executor that Spark asks for instead takes it.
* A decision is *overlaid* on what the watch says until the watch agrees, so a lagging watch never gives a seat twice.
* What is only suspected is not counted: a deletion that nothing explains is a loss once its replacement is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_spotmix.core import breaker, fallback, notice
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import AnyAction, Topic
from airflow_provider_spotmix.core.groups import (
    DELETED,
    find_starved,
    finish_if_certain,
    follow_up,
    is_expected,
    resubmission_answered,
    resubmit_lost,
    take_back,
)
from airflow_provider_spotmix.core.history import HISTORY_DETAILS, Outage
from airflow_provider_spotmix.core.leaving import close_unseen, leave_all, lose_leaving, see_leaving
from airflow_provider_spotmix.core.recovery import (
    doubt_what_is_forgotten,
    how_it_ended,
    infer_losses,
    rescue,
    rescue_all,
    rescue_driver,
)
from airflow_provider_spotmix.core.seats import (
    explain_vacancies,
    fill_vacancy,
    note_initial,
    place,
    release,
    seat_waiting,
    see_placed,
    settle_early,
)
from airflow_provider_spotmix.core.startup import give_up_what_does_not_start
from airflow_provider_spotmix.core.state import Executor, FleetState, Tally
from airflow_provider_spotmix.core.table import Numbers, Table
from airflow_provider_spotmix.core.turn import Turn


class Decision(Struct, frozen=True):
    """The state after an event and what to do about it."""

    state: FleetState
    actions: tuple[AnyAction, ...] = ()


def decide(state: FleetState, event: ev.AnyEvent) -> Decision:
    """Decide what an event means. Same state and event: same decision, always."""
    if state.finished:
        return Decision(state)
    turn = Turn(state, event)
    _HANDLERS[type(event)](turn, event)
    notice.heed(turn, event)
    if turn.state.synced:
        for app in turn.state.applications:
            seat_waiting(turn, app)
        note_initial(turn)
        resubmit_lost(turn)
    finish_if_certain(turn)
    turn.close()
    return Decision(turn.state, tuple(turn.actions))


def _executor_observed(turn: Turn, event: ev.ExecutorObserved) -> None:
    if not _enter_submission(turn, event.application, event.submission):
        see_leaving(turn, event)
        return
    app = turn.state.applications[event.application]
    pod = event.pod
    known = app.executors.get(pod.uid)
    released = pod.executor_id in app.released_ids
    if known is None and released and turn.state.synced:
        return  # an answer that was overtaken by the news of its end
    if pod.executor_id > app.highest_executor_id:
        turn.application(app.name, highest_executor_id=pod.executor_id)
    # Recovering: an account that is closed and not among the open ones was closed before.
    accounted = released and pod.ended and pod.executor_id not in app.open_accounts
    new = Executor(pod=pod, released=released, accounted=accounted, pinned=bool(app.pool), placed_pool=app.pool)
    executor = replace(known or new, pod=pod, seen_at=event.at)
    executor = settle_early(turn, app.name, see_placed(turn, app.name, executor))
    breaker.probe_seen(turn, executor)
    if pod.deleting or pod.ended:
        executor = release(turn, app.name, executor)
    if pod.ended:
        turn.account(app.name, executor, pod.finished_at or turn.at)
    else:
        rescue(turn, app.name, executor)


def _executor_deleted(turn: Turn, event: ev.ExecutorDeleted) -> None:
    app = turn.state.applications.get(event.application)
    known = app.executors.get(event.pod.uid) if app else None
    if app is None or known is None:
        lose_leaving(turn, event)
        return
    executor = see_placed(turn, app.name, replace(known, pod=replace(event.pod, deleting=True)))
    executor = release(turn, app.name, executor, estimated=event.estimated)
    turn.account(app.name, executor, event.pod.finished_at or turn.at, estimated=event.estimated)
    turn.keep(turn.state.applications[app.name].without_executor(event.pod.uid))
    turn.save()


def _enter_submission(turn: Turn, name: str, submission: str) -> bool:
    """Follow the driver to its current submission; False for an executor of an earlier one."""
    app = turn.state.applications.get(name)
    if app is None or submission in app.past_submissions:
        return False
    if submission == app.submission:
        return True
    if app.submission:
        turn.tell(
            f"{name}: the driver was restarted; its new submission {submission} starts with fresh seats",
            topic=Topic.RESTARTED,
            application=name,
        )
        leave_all(turn, name)
    turn.application(
        name,
        submission=submission,
        past_submissions=(*app.past_submissions, app.submission) if app.submission else (),
        executors=Table(),
        vacancies=Table(),
        tally=Tally(),
        highest_executor_id=0,
        released_ids=Numbers(),
        fallback_ids=Numbers(),
    )
    turn.save()
    return True


def _place_done(turn: Turn, event: ev.PlaceDone) -> None:
    for app, executor in turn.state.find(event.uid):
        if executor.placing:
            placed = turn.executor(app.name, executor, placing=False, pod=replace(executor.pod, gated=False))
            fill_vacancy(turn, app.name, placed)


def _place_failed(turn: Turn, event: ev.PlaceFailed) -> None:
    """Try the same again. A refusal may hide a success, so the seat is nobody else's until the executor is gone."""
    for app, executor in turn.state.find(event.uid):
        if executor.placing and not executor.released and not app.over:
            place(turn, app.name, executor)


def _rescue_failed(turn: Turn, event: ev.RescueFailed) -> None:
    for app, executor in turn.state.find(event.uid):
        turn.executor(app.name, executor, rescuing=False)
    for app in list(turn.state.applications.values()):
        if app.rescuing_driver == event.uid:
            turn.application(app.name, rescuing_driver="")


def _remove_failed(turn: Turn, event: ev.RemoveFailed) -> None:
    for app, executor in turn.state.find(event.uid):
        if executor.removing:
            turn.executor(app.name, executor, removing=replace(executor.removing, failed=True))


def _node_observed(turn: Turn, event: ev.NodeObserved) -> None:
    notice.see_node(turn, event.node)


def _node_deleted(turn: Turn, event: ev.NodeDeleted) -> None:
    notice.lose_node(turn, event.node)
    rescue_all(turn)


def _node_explained(turn: Turn, event: ev.NodeExplained) -> None:
    notice.explain_node(turn, event)
    explain_vacancies(turn, event.node)


def _synced(turn: Turn, event: ev.Synced) -> None:
    first = not turn.state.synced
    turn.state = replace(turn.state, synced=True, gone_nodes=turn.state.gone_nodes | set(event.absent_nodes))
    if first:
        doubt_what_is_forgotten(turn)
        for name in list(turn.state.applications):
            infer_losses(turn, name)
            fallback.note_fallbacks(turn, name)
            turn.close_open_accounts(name)
            close_unseen(turn, name)
    rescue_all(turn)


def _application_observed(turn: Turn, event: ev.ApplicationObserved) -> None:
    app = turn.state.applications.get(event.application)
    if app is None or (app.uid and app.uid != event.uid) or app.given_up or app.superseded:
        return
    if app.state != event.state:
        said = f": {event.message}" if event.message else ""
        turn.tell(f"{app.name} is {event.state or 'NEW'}{said}", warning=event.phase is ev.ApplicationPhase.FAILED)
    turn.application(
        app.name,
        uid=event.uid,
        phase=event.phase,
        state=event.state,
        message=event.message,
        created_at=event.created_at,
        started=app.started or event.started,
        restarted=app.restarted or event.restarted,
    )
    follow_up(turn, app.name)


def _driver_observed(turn: Turn, event: ev.DriverObserved) -> None:
    app = turn.state.applications.get(event.application)
    if app is None:
        return
    is_same = event.uid == app.rescuing_driver
    turn.application(
        app.name,
        driver=event,
        started=app.started or event.started,
        rescuing_driver=app.rescuing_driver if is_same else "",
    )
    rescue_driver(turn, app.name)


def _application_deleted(turn: Turn, event: ev.ApplicationDeleted) -> None:
    app = turn.state.applications.get(event.application)
    if app is None or (app.uid and app.uid != event.uid) or app.over or not is_expected(turn.state, app):
        return
    phase, message = how_it_ended(app, event)
    turn.application(app.name, phase=phase, state=DELETED, message=message)
    turn.tell(f"{app.name} was deleted by someone else: {message}", warning=True)
    if not (app.uid and turn.state.synced):
        turn.doubt_accounts()  # nobody was connected when it went: executors have come and gone unseen
    for executor in list(turn.state.applications[app.name].executors.values()) if event.ended else ():
        turn.account(app.name, executor, event.ended_at or turn.at, estimated=True)


def _resubmit_done(turn: Turn, event: ev.ResubmitDone) -> None:
    resubmission_answered(turn, event.application, done=True)


def _resubmit_failed(turn: Turn, event: ev.ResubmitFailed) -> None:
    resubmission_answered(turn, event.application)


def _resubmit_void(turn: Turn, event: ev.ResubmitVoid) -> None:
    take_back(turn, event.application, succeeded=event.succeeded, reason=event.reason)


def _outage_seen(turn: Turn, event: ev.OutageSeen) -> None:
    outage = Outage(since=event.since, until=event.at, why=event.why)
    turn.state = replace(turn.state, outages=(*turn.state.outages, outage)[-HISTORY_DETAILS:])
    turn.tell(f"the fleet was not looked after for {event.at - event.since:.0f} s: {event.why}", warning=True)
    turn.save()


def _tick(turn: Turn, event: ev.Tick) -> None:
    rescue_all(turn)
    give_up_what_does_not_start(turn)
    breaker.cool_down(turn)
    fallback.give_up_waiting(turn)
    fallback.return_actively(turn)
    patience = turn.state.spec.policy.vacant_seat_seconds
    for app in list(turn.state.applications.values()):
        expired = [v for v in app.vacancies.values() if event.at - v.loss.at >= patience] if app.dynamic else []
        for vacancy in expired:
            turn.keep(turn.state.applications[app.name].without_vacancy(vacancy.loss.seat))
            turn.save()
    find_starved(turn)


_E = TypeVar("_E", bound=ev.Event)
_HANDLERS: dict[type[ev.Event], Callable[[Turn, Any], None]] = {
    ev.ApplicationObserved: _application_observed,
    ev.ApplicationDeleted: _application_deleted,
    ev.DriverObserved: _driver_observed,
    ev.ExecutorObserved: _executor_observed,
    ev.ExecutorDeleted: _executor_deleted,
    ev.NodeObserved: _node_observed,
    ev.NodeDeleted: _node_deleted,
    ev.NodeExplained: _node_explained,
    ev.Synced: _synced,
    ev.PlaceDone: _place_done,
    ev.PlaceFailed: _place_failed,
    ev.RescueFailed: _rescue_failed,
    ev.RemoveFailed: _remove_failed,
    ev.ResubmitDone: _resubmit_done,
    ev.ResubmitFailed: _resubmit_failed,
    ev.ResubmitVoid: _resubmit_void,
    ev.OutageSeen: _outage_seen,
    ev.Tick: _tick,
}
