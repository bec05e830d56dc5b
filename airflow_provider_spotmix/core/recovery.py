"""Recovery: what happened while no controller was connected, inferred from what is there now."""

from __future__ import annotations

from airflow_provider_spotmix.core.interruption import node_evidence
from airflow_provider_spotmix.core.seats import vacate
from airflow_provider_spotmix.core.state import Cause, FleetState, Loss
from airflow_provider_spotmix.core.turn import Turn


def infer_losses(turn: Turn, name: str) -> None:
    """Find what was lost while no controller was connected.

    Spark numbers the executors of a submission 1, 2, 3 ... and never reuses a number, so a number that is neither here
    nor accounted for was lost; its seat is one that nobody holds.
    """
    app = turn.state.applications[name]
    here = {e.pod.executor_id for e in app.executors.values()}
    missing = sorted(set(range(1, app.highest_executor_id + 1)) - here - app.released_ids)
    if not missing:
        return
    turn.application(name, released_ids=app.released_ids | set(missing))
    turn.save()
    if app.dynamic or app.phase.over:
        return
    taken = {e.seat for e in app.seated()} | {v.loss.seat for v in app.vacancies}
    free = [seat for seat in range(app.executors_expected) if seat not in taken]
    # A number whose pod nobody had placed yet leaves no seat behind: it is merely asked for again.
    for number, seat in zip(missing, free, strict=False):
        pool = _seat_pool_of(turn.state, seat)
        gone = _is_gone_evidence(turn.state)
        cause = Cause.SPOT_INTERRUPTION if turn.state.spec.is_spot(pool) and gone else Cause.UNKNOWN
        vacate(
            turn,
            name,
            Loss(
                id=turn.cause,
                at=turn.at,
                application=name,
                executor=f"executor {number}",
                executor_id=number,
                seat=seat,
                seat_pool=pool,
                pool=pool,
                cause=cause,
                evidence=("missing after an outage of the controller", *gone),
                estimated=True,
            ),
        )


def _seat_pool_of(state: FleetState, seat: int) -> str:
    for number, pool in enumerate(state.spec.mix.sequence()):
        if number == seat:
            return pool
    raise AssertionError("unreachable: the sequence has no end")  # pragma: no cover


def _is_gone_evidence(state: FleetState) -> tuple[str, ...]:
    """Nodes that are on their way out right now, seen when the loss itself was not."""
    return tuple(
        said
        for node in sorted(state.nodes.values(), key=lambda n: n.name)
        for said in node_evidence(node.name, node, gone=False)
    ) + tuple(f"node {name} is gone" for name in sorted(state.gone_nodes))
