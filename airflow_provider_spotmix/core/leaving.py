"""Executors of an earlier submission: their driver is gone, and they hold their nodes until they end."""

from __future__ import annotations

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Remove
from airflow_provider_spotmix.core.state import OpenAccount
from airflow_provider_spotmix.core.turn import Turn


def leave_all(turn: Turn, name: str) -> None:
    """The driver of all executors is gone: they have no seats any more, and their accounts stay open."""
    app = turn.state.applications[name]
    leaving = {**app.leaving}
    for executor in app.executors.values():
        if opened := executor.open_account:
            leaving[_key(app.submission, executor.pod)] = opened
        _remove_gated(turn, executor.pod)
    turn.application(name, leaving=leaving)
    turn.close_open_accounts(name)


def see_leaving(turn: Turn, event: ev.ExecutorObserved) -> None:
    """An executor of an earlier submission is still there, or has ended."""
    app = turn.state.applications.get(event.application)
    if app is None or event.submission not in app.past_submissions:
        return
    pod, key = event.pod, _key(event.submission, event.pod)
    _remove_gated(turn, pod)
    opened = app.leaving.get(key)
    if opened is None:
        return
    since = opened.since if pod.scheduled_at is None else pod.scheduled_at
    seen = {**app.leaving, key: OpenAccount(opened.pool, since, event.at)}
    turn.application(app.name, leaving=seen, leaving_unseen=app.leaving_unseen - {key})
    if pod.ended:
        _close(turn, app.name, key, pod.finished_at or event.at)


def lose_leaving(turn: Turn, event: ev.ExecutorDeleted) -> None:
    """It is gone."""
    app = turn.state.applications.get(event.application)
    key = _key(event.submission, event.pod)
    if app is None or key not in app.leaving:
        return
    if event.pod.scheduled_at is None and not event.estimated:  # it never had a node
        _forget(turn, app.name, key)
    else:
        _close(turn, app.name, key, event.pod.finished_at or event.at, estimated=event.estimated)


def close_unseen(turn: Turn, name: str) -> None:
    """Close the accounts of those that a checkpoint told of, and that are not here."""
    for key in sorted(turn.state.applications[name].leaving_unseen):
        _close(turn, name, key, turn.at, estimated=True)


def close_all(turn: Turn, name: str) -> None:
    """Nobody will see what becomes of them."""
    for key in list(turn.state.applications[name].leaving):
        _close(turn, name, key, turn.at, estimated=True)


def _close(turn: Turn, name: str, key: str, until: float, *, estimated: bool = False) -> None:
    turn.enter(name, turn.state.applications[name].leaving[key], until, estimated=estimated)
    _forget(turn, name, key)


def _forget(turn: Turn, name: str, key: str) -> None:
    app = turn.state.applications[name]
    left = {k: opened for k, opened in app.leaving.items() if k != key}
    turn.application(name, leaving=left, leaving_unseen=app.leaving_unseen - {key})
    turn.save()


def _key(submission: str, pod: ev.PodFacts) -> str:
    return f"{submission}/{pod.executor_id}"


def _remove_gated(turn: Turn, pod: ev.PodFacts) -> None:
    """Nobody will ever lift the gate of an executor whose driver is gone, and it counts against the quota."""
    if pod.gated and not pod.deleting:
        reason = "its driver is gone"
        turn.actions.append(Remove(cause=turn.cause, uid=pod.uid, pod=pod.name, reason=reason, unless_bound=True))
