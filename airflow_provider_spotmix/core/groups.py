"""Groups: which of a fleet's applications are lost and get a second attempt, and when the fleet's outcome is certain.

A group's first attempt is lost when its application failed after the infrastructure had taken executors from it, and
none had failed by itself; or when it has asked for executors in vain for too long. It gets one second
attempt, on on-demand. One that has succeeded is committed and never repeated.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from airflow_provider_spotmix.core.actions import Finish, Resubmit, Topic
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.history import Cause, Resubmission
from airflow_provider_spotmix.core.leaving import close_all
from airflow_provider_spotmix.core.seats import explained
from airflow_provider_spotmix.core.spec import ApplicationSpec
from airflow_provider_spotmix.core.state import ApplicationState, FleetState
from airflow_provider_spotmix.core.turn import Turn

# What is said of an application whose object somebody has deleted.
DELETED = "DELETED"
# What is said of one that another has taken the place of while it had not ended.
LOST = "LOST"

# Who was seen to be going so shortly before the end has gone with it, within what Kubernetes' whole seconds tell.
GOING_SECONDS = 2.0

_TAKEN = (Cause.SPOT_INTERRUPTION, Cause.INFRASTRUCTURE)


def is_expected(state: FleetState, app: ApplicationState) -> bool:
    """Whether its object should be there: that of a second attempt is only once it was seen or is said to be done."""
    for second in state.spec.second_attempts:
        if second.name == app.name:
            resubmission = state.resubmissions.get(second.replaces)
            return bool(app.uid) or (resubmission is not None and resubmission.done)
    return True


def follow_up(turn: Turn, name: str) -> None:
    """The object of a second attempt is there although we know of none: an earlier controller has begun it."""
    for second in turn.state.spec.second_attempts:
        if second.name == name and second.replaces not in turn.state.resubmissions:
            _begin(turn, second, "found", "an earlier controller has begun it")


def resubmit_lost(turn: Turn) -> None:
    """Begin the second attempt of every lost group, and go on with those that are not done."""
    for second in turn.state.spec.second_attempts:
        app = turn.state.applications[second.replaces]
        resubmission = turn.state.resubmissions.get(app.name)
        if resubmission is None and (reason := _why_lost(turn.state, app)):
            resubmission = _begin(turn, second, "lost", reason)
        if resubmission is None or resubmission.done or resubmission.void or app.name in turn.state.resubmitting:
            continue
        turn.state = replace(turn.state, resubmitting=turn.state.resubmitting | {app.name})
        turn.actions.append(
            Resubmit(
                cause=turn.cause,
                application=app.name,
                replacement=second.name,
                from_pool=app.pool,
                pool=second.pool,
            )
        )


def find_starved(turn: Turn) -> None:
    """Find the groups that ask for executors in vain for too long. Those that ask for none are busy."""
    patience = turn.state.spec.policy.group_lost_seconds
    for second in turn.state.spec.second_attempts:
        app = turn.state.applications[second.replaces]
        if app.over or app.name in turn.state.resubmissions:
            continue
        since = (app.starved_since or turn.at) if turn.state.synced and _is_starved(app) else None
        if since != app.starved_since:
            turn.application(app.name, starved_since=since)
        if since is not None and turn.at - since >= patience:
            _begin(turn, second, "starved", f"no node has taken an executor of it for {turn.at - since:.0f} s")


def resubmission_answered(turn: Turn, name: str, *, done: bool = False) -> None:
    """A call has come back: the resubmission is done, or it is tried again."""
    resubmission = turn.state.resubmissions.get(name)
    turn.state = replace(turn.state, resubmitting=turn.state.resubmitting - {name})
    if resubmission is None or not done or resubmission.done:
        return
    _keep(turn, replace(resubmission, done=True))
    turn.tell(f"{resubmission.replacement} runs in the place of {name}, of which nothing is left")


def take_back(turn: Turn, name: str, *, succeeded: bool, reason: str) -> None:
    """There was nothing to resubmit: the first attempt is the one that counts."""
    resubmission = turn.state.resubmissions.get(name)
    turn.state = replace(turn.state, resubmitting=turn.state.resubmitting - {name})
    if resubmission is None or resubmission.done or resubmission.void:
        return
    _keep(turn, replace(resubmission, void=True))
    phase = ApplicationPhase.SUCCEEDED if succeeded else ApplicationPhase.FAILED
    known = turn.application(name, superseded=False)
    if not known.phase.over:
        turn.application(name, phase=phase, state="" if succeeded else DELETED, message="" if succeeded else reason)
    turn.tell(f"{name} is not submitted again: {reason}", warning=not succeeded)


def finish_if_certain(turn: Turn) -> None:
    """End the fleet as soon as nothing that still runs can change the outcome."""
    state = turn.state
    if state.spec.second_attempts and not state.synced:
        return  # who is lost is not known yet
    counting = list(_counting(state))
    needed = state.spec.quorum or len(counting)
    succeeded = sum(app.phase is ApplicationPhase.SUCCEEDED for app in counting)
    failed = [app for app in counting if app.phase is ApplicationPhase.FAILED]
    if succeeded < needed <= len(counting) - len(failed):
        return
    if not state.synced:
        turn.doubt_accounts()  # it went on and ended without us: executors may have come and gone
    for app, executor in list(state.executors()):
        # Spark deletes its executors before it ends: whoever is not seen to go, or to have gone, has gone unseen.
        is_going = executor.pod.deleting and turn.at - executor.seen_at <= GOING_SECONDS
        turn.account(app.name, executor, turn.at, estimated=not is_going)
    for name in list(state.applications):
        turn.close_open_accounts(name)
        close_all(turn, name)
    message = "; ".join(f"{app.name} {app.state}: {app.message or 'no reason given'}" for app in failed)
    if failed and state.spec.quorum:
        message = f"{succeeded} of {needed} groups succeeded that had to: {message}"
    turn.state = replace(turn.state, finished=True)
    turn.actions.append(
        Finish(
            cause=turn.cause,
            succeeded=succeeded >= needed,
            message=message,
            unfinished=tuple(app.name for app in state.applications.values() if _may_run(state, app)),
        )
    )


def _counting(state: FleetState) -> Iterator[ApplicationState]:
    """Each group's attempt that counts."""
    for first in state.spec.first_attempts:
        resubmission = state.resubmissions.get(first.name)
        in_place = resubmission.replacement if resubmission and not resubmission.void else first.name
        yield state.applications[in_place]


def _may_run(state: FleetState, app: ApplicationState) -> bool:
    begun = {resubmission.replacement for resubmission in state.resubmissions.values()}
    seconds = {second.name for second in state.spec.second_attempts}
    return not app.phase.over and (app.name not in seconds or app.name in begun)


def _why_lost(state: FleetState, app: ApplicationState) -> str:
    """Why a failed application is a lost one; nothing when it is not, or has not failed."""
    if app.phase is not ApplicationPhase.FAILED or app.state == DELETED or app.losses.get(Cause.APPLICATION.value):
        return ""
    late = [explained(state, vacancy).loss.cause for vacancy in app.vacancies.values() if not vacancy.recorded]
    taken = sum(app.losses.get(cause.value, 0) + late.count(cause) for cause in _TAKEN)
    return f"it failed after the infrastructure had taken {taken} of its executors" if taken else ""


def _is_starved(app: ApplicationState) -> bool:
    """Whether executors are asked for (so its driver runs) and no node has taken one. An image may take its time."""
    live = [e.pod for e in app.executors.values() if not (e.released or e.pod.deleting or e.pod.ended)]
    return bool(live) and not any(pod.node for pod in live)


def _begin(turn: Turn, second: ApplicationSpec, cause: str, reason: str) -> Resubmission:
    app = turn.state.applications[second.replaces]
    changes = {} if app.phase.over else {"state": LOST, "message": reason}
    turn.application(app.name, superseded=True, **changes)
    said = f"group {second.group} is lost ({app.name}: {reason}): submitting it again on {second.pool}"
    turn.tell(said, warning=True, topic=Topic.RESUBMITTED, application=app.name)
    return _keep(
        turn,
        Resubmission(
            at=turn.at,
            group=second.group,
            application=app.name,
            replacement=second.name,
            from_pool=app.pool,
            pool=second.pool,
            cause=cause,
            reason=reason,
        ),
    )


def _keep(turn: Turn, resubmission: Resubmission) -> Resubmission:
    resubmissions = {**turn.state.resubmissions, resubmission.application: resubmission}
    turn.state = replace(turn.state, resubmissions=resubmissions)
    turn.save()
    return resubmission
