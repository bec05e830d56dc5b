"""Seats: who holds one, who leaves one, who takes it over. The rules of the mix, applied to a turn."""

from __future__ import annotations

from msgspec.structs import replace

from airflow_provider_spotmix.core import breaker
from airflow_provider_spotmix.core.actions import Place, Topic
from airflow_provider_spotmix.core.fallback import choose_pool, note_fallback, note_return
from airflow_provider_spotmix.core.history import BREAKER_OPEN, HISTORY_DETAILS, Cause, Loss, Replacement, Vacancy
from airflow_provider_spotmix.core.interruption import attribute, judge, node_evidence
from airflow_provider_spotmix.core.notice import avoided
from airflow_provider_spotmix.core.state import ApplicationState, Executor, FleetState, Removal
from airflow_provider_spotmix.core.turn import Turn


def release(turn: Turn, name: str, executor: Executor, *, estimated: bool = False) -> Executor:
    """The executor is going away: find out why, and leave its seat vacant if somebody must take it."""
    if executor.released:
        return executor
    released = turn.executor(name, executor, released=True, filling=None)
    app = turn.state.applications[name]
    app = turn.application(name, released_ids=app.released_ids.put(executor.pod.executor_id))
    if executor.filling:  # it never came to its seat: that waits for the next one
        turn.keep(app.with_vacancy(executor.filling))
    if executor.seat is None or app.over or executor.placing:
        return released
    node = turn.state.nodes.get(executor.pod.node)
    of_node = node_evidence(executor.pod.node, node, gone=executor.pod.node in turn.state.gone_nodes)
    on_spot = turn.state.spec.is_spot(executor.placed_pool)
    cause, evidence = attribute(executor.pod, on_spot=on_spot, dynamic=app.dynamic, of_node=of_node, node=node)
    if executor.removing and cause in (Cause.UNKNOWN, Cause.SCALE_DOWN) and _is_ours(executor, executor.removing):
        cause, evidence = executor.removing.cause, (executor.removing.reason,)
    breaker.probe_ended(turn, executor, cause)
    turn.save()
    if cause is Cause.SCALE_DOWN:
        return released
    loss = Loss(
        id=turn.cause,
        at=turn.at,
        application=name,
        executor=executor.pod.name,
        executor_id=executor.pod.executor_id,
        seat=executor.seat,
        seat_pool=executor.seat_pool,
        pool=executor.placed_pool,
        cause=cause,
        evidence=evidence,
        node=executor.pod.node,
        estimated=estimated,
    )
    vacate(turn, name, loss)
    return released


def _is_ours(executor: Executor, removal: Removal) -> bool:
    """Whether our deletion explains an executor's end. One that got its node after all was not unobtainable."""
    return removal.cause is not Cause.SPOT_UNOBTAINABLE or not executor.pod.node


def vacate(turn: Turn, name: str, loss: Loss) -> None:
    """Leave the lost executor's seat to its replacement."""
    # Of what happened while nobody watched, not even that it was a loss is sure: the application may be ending.
    recorded = loss.cause is not Cause.UNKNOWN and not loss.estimated
    app = turn.keep(turn.state.applications[name].with_vacancy(Vacancy(loss=loss, recorded=recorded)))
    if recorded:
        _record(turn, loss)
    for uid in app.tally.holders.get(loss.seat, ()):  # a recovery may see the replacement before the lost one
        if not app.executors[uid].placing:
            fill_vacancy(turn, name, app.executors[uid])
    turn.save()


def _record(turn: Turn, loss: Loss) -> None:
    state = turn.state
    counts = {**state.losses_by_cause, loss.cause.value: state.losses_by_cause.get(loss.cause.value, 0) + 1}
    turn.state = replace(state, losses=(*state.losses, loss)[-HISTORY_DETAILS:], losses_by_cause=counts)
    of_application = state.applications[loss.application].losses
    of_application = {**of_application, loss.cause.value: of_application.get(loss.cause.value, 0) + 1}
    turn.application(loss.application, losses=of_application)
    where = f" on node {loss.node}" if loss.node else ""
    word, topic = _TOLD.get(loss.cause, ("lost", Topic.LOST))
    evidence = "; ".join(loss.evidence)
    turn.tell(
        f"{word} {loss.executor} (seat {loss.seat}, {loss.pool}){where}: {loss.cause.value} ({evidence})",
        warning=topic is not Topic.RETURNING,
        topic=topic,
        application=loss.application,
    )
    breaker.count(turn, loss)


# Those that we have removed were not lost.
_TOLD = {
    Cause.SPOT_UNOBTAINABLE: ("removed", Topic.UNOBTAINABLE),
    Cause.RETURN: ("removed", Topic.RETURNING),
}


def seat_waiting(turn: Turn, name: str) -> None:
    """Give every executor that waits its seat: vacant ones first, then new ones, in the order that Spark asked."""
    app = turn.state.applications[name]
    if app.over:
        return
    for uid in sorted(app.tally.waiting, key=app.tally.waiting.__getitem__):
        executor = turn.state.applications[name].executors[uid]
        if executor.pinned:
            settle(turn, name, executor)
        else:
            place(turn, name, _take_seat(turn, name, executor))


def _take_seat(turn: Turn, name: str, executor: Executor) -> Executor:
    app = turn.state.applications[name]
    if vacancy := app.lowest_vacancy():
        vacancy = explained(turn.state, vacancy)
        loss = vacancy.loss
        turn.keep(app.without_vacancy(loss.seat))
        seated = replace(executor, seat=loss.seat, seat_pool=loss.seat_pool, filling=vacancy)
        return _on_pool(turn, app, seated, loss.cause)
    seat_pool = app.pool or turn.state.spec.mix.next_pool(app.seats())
    return _on_pool(turn, app, replace(executor, seat=app.free_seat(), seat_pool=seat_pool), None)


def _on_pool(turn: Turn, app: ApplicationState, executor: Executor, lost_to: Cause | None) -> Executor:
    if app.pool:
        return replace(executor, placed_pool=app.pool)
    pool, fallback = choose_pool(turn, executor, executor.seat_pool, lost_to)
    return replace(executor, placed_pool=pool, fallback=fallback)


def settle(turn: Turn, name: str, executor: Executor) -> Executor:
    """Seat an executor that was born on its pool. Its labels cannot tell which seat: its number does, or it is new."""
    app = turn.state.applications[name]
    if (own := _own_seat(app, executor)) is not None:
        return turn.executor(name, executor, seat=own, seat_pool=app.pool, placed_pool=app.pool)
    return fill_vacancy(turn, name, turn.executor(name, _take_seat(turn, name, executor)))


def settle_early(turn: Turn, name: str, executor: Executor) -> Executor:
    """Before everything has been seen, seat those of whom it is certain; and those that go, whose end must count."""
    app = turn.state.applications[name]
    if turn.state.synced or not executor.pinned or executor.released or executor.seat is not None:
        return executor
    is_going = executor.pod.deleting or executor.pod.ended
    return settle(turn, name, executor) if is_going or _own_seat(app, executor) is not None else executor


def _own_seat(app: ApplicationState, executor: Executor) -> int | None:
    """The seat that is an early executor's by its number, unless it is somebody else's by now."""
    seat = executor.pod.executor_id - 1
    return seat if seat < app.executors_expected and seat not in app.tally.held | app.tally.vacant else None


def place(turn: Turn, name: str, executor: Executor) -> None:
    """Ask for the executor to be put on its seat."""
    if executor.seat is None:
        raise ValueError(f"{executor.pod.name} has no seat to be placed on")
    seat = executor.seat
    if executor.placed_at is None:
        executor = replace(executor, placed_at=turn.at)
        turn.save()  # its account is open: whoever takes over may never see the executor
    turn.executor(name, executor, placing=True)
    turn.actions.append(
        Place(
            cause=turn.cause,
            uid=executor.pod.uid,
            pod=executor.pod.name,
            seat=seat,
            seat_pool=executor.seat_pool,
            pool=executor.placed_pool,
            reason=_reason(executor),
            at=turn.at,
            fallback=executor.fallback,
            avoid=avoided(turn.state),
        )
    )


def _reason(executor: Executor) -> str:
    said = "seat of the mix"
    if executor.filling:
        loss = executor.filling.loss
        said = f"replaces {loss.executor}, lost to {loss.cause.value}"
    return f"{said}; the breaker of {executor.seat_pool} is not closed" if executor.fallback == BREAKER_OPEN else said


def explained(state: FleetState, vacancy: Vacancy) -> Vacancy:
    """Look once more for a cause: a driver may give an executor up before its node is known to be lost."""
    loss = vacancy.loss
    if loss.cause is not Cause.UNKNOWN or not loss.node:
        return vacancy
    node = state.nodes.get(loss.node)
    evidence = node_evidence(loss.node, node, gone=loss.node in state.gone_nodes)
    cause = judge(evidence, node, on_spot=state.spec.is_spot(loss.pool)) or Cause.UNKNOWN
    new = tuple(each.said for each in evidence if each.said not in loss.evidence)
    return replace(vacancy, loss=replace(loss, cause=cause, evidence=(*loss.evidence, *new)))


def explain_vacancies(turn: Turn, node: str) -> None:
    """A node has said why it goes: so it is known of those who were lost with it and are not replaced yet."""
    for app in list(turn.state.applications.values()):
        for vacancy in app.vacancies.values():
            loss = vacancy.loss
            if loss.node != node or vacancy.recorded or loss.estimated:
                continue
            known = explained(turn.state, vacancy)
            if known.loss.cause is not Cause.UNKNOWN:
                turn.keep(turn.state.applications[app.name].with_vacancy(replace(known, recorded=True)))
                _record(turn, known.loss)
                turn.save()


def see_placed(turn: Turn, name: str, executor: Executor) -> Executor:
    """Take over what the pod's labels say: the watch has caught up with our placement, or we are recovering."""
    pod = executor.pod
    if pod.seat is None or pod.gated:
        return turn.executor(name, executor)
    if executor.filling and executor.filling.loss.seat != pod.seat:  # an earlier controller's placement was first
        turn.keep(turn.state.applications[name].with_vacancy(executor.filling))
        executor = replace(executor, filling=None)
    executor = turn.executor(
        name,
        executor,
        seat=pod.seat,
        seat_pool=pod.seat_pool,
        placed_pool=pod.placed_pool,
        fallback=pod.fallback,
        placing=False,
    )
    return fill_vacancy(turn, name, executor)


def fill_vacancy(turn: Turn, name: str, executor: Executor) -> Executor:
    """A replacement is on its seat for sure: the vacancy is closed and what it replaces is history."""
    vacancy = executor.filling
    if vacancy:
        executor = turn.executor(name, executor, filling=None)
    else:  # a recovery: whose vacancy that is and who fills it is told by the seat alone
        app = turn.state.applications[name]
        is_going = executor.released or executor.pod.deleting or executor.pod.ended
        vacancy = app.vacancies.get(executor.seat) if executor.seat is not None and not is_going else None
        if vacancy is None or vacancy.loss.executor == executor.pod.name:
            if turn.state.synced:  # before that, it may replace one of whom nothing has been seen yet
                note_fallback(turn, name, executor, None)
            return executor
        turn.keep(app.without_vacancy(vacancy.loss.seat))
    _record_replacement(turn, name, vacancy, executor)
    return executor


def _record_replacement(turn: Turn, name: str, vacancy: Vacancy, executor: Executor) -> None:
    loss = vacancy.loss
    if not vacancy.recorded:
        _record(turn, loss)
    replacement = Replacement(
        at=turn.at,
        application=name,
        executor=executor.pod.name,
        seat=loss.seat,
        seat_pool=loss.seat_pool,
        pool=executor.placed_pool,
        replaces=loss.executor,
        cause=loss.cause,
        loss=loss.id,
    )
    state = turn.state
    counts = {**state.replacements_by_pool}
    counts[replacement.pool] = counts.get(replacement.pool, 0) + 1
    turn.state = replace(
        state, replacements=(*state.replacements, replacement)[-HISTORY_DETAILS:], replacements_by_pool=counts
    )
    why = executor.fallback or loss.cause.value
    fallback = f" (fallback of a {loss.seat_pool} seat: {why})" if replacement.is_fallback else ""
    turn.tell(
        f"{executor.pod.name} replaces {loss.executor} on {replacement.pool}{fallback}",
        topic=Topic.REPLACED,
        application=name,
    )
    note_fallback(turn, name, executor, loss.cause)
    note_return(turn, replacement, loss.pool)
    turn.save()


def note_initial(turn: Turn) -> None:
    """Remember the first complete placement, for the report."""
    state = turn.state
    if state.initial is not None:
        return
    placed = state.placed()
    if sum(placed.values()) < state.spec.executors:
        return
    initial = {share.pool: 0 for share in state.spec.mix.shares} | placed
    turn.state = replace(state, initial=initial)
    said = ", ".join(f"{count} {pool}" for pool, count in initial.items())
    turn.tell(f"all {state.spec.executors} executors are placed: {said}", topic=Topic.PLACED)
    turn.save()
