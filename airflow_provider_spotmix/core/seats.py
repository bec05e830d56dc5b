"""Seats: who holds one, who leaves one, who takes it over. The rules of the mix, applied to a turn."""

from __future__ import annotations

from msgspec.structs import replace

from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.interruption import attribute, node_evidence
from airflow_provider_spotmix.core.state import (
    HISTORY_DETAILS,
    Cause,
    Executor,
    FleetState,
    Loss,
    Replacement,
    Vacancy,
)
from airflow_provider_spotmix.core.turn import Turn


def release(turn: Turn, name: str, executor: Executor, *, estimated: bool = False) -> None:
    """The executor is going away: find out why, and leave its seat vacant if somebody must take it."""
    app = turn.state.applications[name]
    if executor.released:
        return
    turn.executor(name, executor, released=True)
    turn.application(
        name,
        released_ids=app.released_ids | {executor.pod.executor_id},
        vacancies=untaken(app.vacancies, executor.pod.uid),
    )
    if executor.seat is None or app.phase.over or executor.placing:
        return
    node = turn.state.nodes.get(executor.pod.node)
    of_node = node_evidence(executor.pod.node, node, gone=executor.pod.node in turn.state.gone_nodes)
    on_spot = turn.state.spec.is_spot(executor.placed_pool)
    cause, evidence = attribute(executor.pod, on_spot=on_spot, dynamic=app.dynamic, of_node=of_node)
    turn.save()
    if cause is Cause.SCALE_DOWN:
        return
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


def vacate(turn: Turn, name: str, loss: Loss) -> None:
    """Leave the lost executor's seat to its replacement."""
    app = turn.state.applications[name]
    recorded = loss.cause is not Cause.UNKNOWN
    turn.application(name, vacancies=(*app.vacancies, Vacancy(loss=loss, recorded=recorded)))
    if recorded:
        _record(turn, loss)
    turn.save()


def _record(turn: Turn, loss: Loss) -> None:
    state = turn.state
    counts = {**state.losses_by_cause, loss.cause.value: state.losses_by_cause.get(loss.cause.value, 0) + 1}
    turn.state = replace(state, losses=(*state.losses, loss)[-HISTORY_DETAILS:], losses_by_cause=counts)
    where = f" on node {loss.node}" if loss.node else ""
    turn.tell(
        f"lost {loss.executor} (seat {loss.seat}, {loss.pool}){where}: {loss.cause.value} ({'; '.join(loss.evidence)})",
        warning=True,
    )


def seat_waiting(turn: Turn, name: str) -> None:
    """Give every gated executor its seat: vacant ones first, then new ones, in the order that Spark asked."""
    if turn.state.applications[name].phase.over:
        return
    waiting = [e for e in turn.state.applications[name].executors.values() if e.waits]
    for executor in sorted(waiting, key=lambda e: e.pod.executor_id):
        app = turn.state.applications[name]
        vacancy = next((v for v in sorted(app.vacancies, key=_seat_number) if not v.taken_by), None)
        if vacancy:
            taken = tuple(replace(v, taken_by=executor.pod.uid) if v is vacancy else v for v in app.vacancies)
            turn.application(name, vacancies=taken)
            seat, seat_pool = vacancy.loss.seat, vacancy.loss.seat_pool
            pool = _pool_of_replacement(turn.state, vacancy.loss)
            reason = f"replaces {vacancy.loss.executor}, lost to {vacancy.loss.cause.value}"
        else:
            seat_pool = turn.state.spec.mix.next_pool(app.seats())
            seat, pool, reason = app.free_seat(), seat_pool, "seat of the mix"
        turn.executor(name, executor, seat=seat, seat_pool=seat_pool, placed_pool=pool, placing=True)
        turn.actions.append(
            Place(
                cause=turn.cause,
                uid=executor.pod.uid,
                pod=executor.pod.name,
                seat=seat,
                seat_pool=seat_pool,
                pool=pool,
                reason=reason,
            )
        )


def _seat_number(vacancy: Vacancy) -> int:
    return vacancy.loss.seat


def _pool_of_replacement(state: FleetState, loss: Loss) -> str:
    """An application's own failure says nothing about spot; whatever else took a spot executor falls back."""
    if loss.cause is Cause.APPLICATION or not state.spec.is_spot(loss.seat_pool):
        return loss.seat_pool
    return state.spec.fallback_pool


def untaken(vacancies: tuple[Vacancy, ...], uid: str) -> tuple[Vacancy, ...]:
    """Open the vacancy again that this executor was to fill."""
    return tuple(replace(v, taken_by="") if v.taken_by == uid else v for v in vacancies)


def fill_vacancy(turn: Turn, name: str, executor: Executor) -> None:
    """A replacement is on its seat for sure: the vacancy is closed and what it replaces is history."""
    app = turn.state.applications[name]
    vacancy = next((v for v in app.vacancies if _is_filled(v, executor)), None)
    if vacancy is None:
        return
    loss = vacancy.loss
    turn.application(name, vacancies=tuple(v for v in app.vacancies if v is not vacancy))
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
    fallback = f" (fallback of a {loss.seat_pool} seat)" if replacement.is_fallback else ""
    turn.tell(f"{executor.pod.name} replaces {loss.executor} on {replacement.pool}{fallback}")
    turn.save()


def _is_filled(vacancy: Vacancy, executor: Executor) -> bool:
    """Whether the executor holds that seat as a replacement; the lost one itself does not."""
    if executor.released or vacancy.loss.executor == executor.pod.name:
        return False
    return vacancy.taken_by == executor.pod.uid or vacancy.loss.seat == executor.seat


def note_initial(turn: Turn) -> None:
    """Remember the first complete placement, for the report."""
    state = turn.state
    if state.initial is not None:
        return
    placed = state.placed()
    if sum(placed.values()) < state.spec.executors:
        return
    turn.state = replace(state, initial={share.pool: placed.get(share.pool, 0) for share in state.spec.mix.shares})
    said = ", ".join(f"{count} {pool}" for pool, count in turn.state.initial.items())  # type: ignore[union-attr]
    turn.tell(f"all {state.spec.executors} executors are placed: {said}")
    turn.save()
