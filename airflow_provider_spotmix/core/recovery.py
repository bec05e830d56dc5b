"""Recovery: what happened while no controller was connected, and what a lost node leaves behind."""

from __future__ import annotations

from collections import Counter
from itertools import islice, repeat

from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Rescue
from airflow_provider_spotmix.core.events import NodeFacts
from airflow_provider_spotmix.core.history import BREAKER_OPEN, Cause, Loss
from airflow_provider_spotmix.core.interruption import Meaning, node_evidence, proof_of_end
from airflow_provider_spotmix.core.seats import vacate
from airflow_provider_spotmix.core.state import ApplicationState, Executor, FleetState
from airflow_provider_spotmix.core.table import Numbers
from airflow_provider_spotmix.core.turn import Turn


def infer_losses(turn: Turn, name: str) -> None:
    """Find what was lost while no controller was connected.

    Spark numbers the executors of a submission 1, 2, 3 ... and never reuses a number, so a number that is neither here
    nor accounted for was lost. Its seat is one that nobody holds, or one whose holder is a fallback of which we know
    no cause.
    """
    app = turn.state.applications[name]
    here = {e.pod.executor_id for e in app.executors.values()}
    missing = [n for n in range(1, app.highest_executor_id + 1) if n not in here and n not in app.released_ids]
    if not missing:
        return
    turn.application(name, released_ids=app.released_ids | Numbers(missing))
    turn.save()
    if any(number not in app.open_accounts for number in missing):
        turn.doubt_accounts()  # placed in the last moment of a controller, or not at all: nobody knows
    if app.over:
        return
    unexplained = _explain_fallbacks(turn, name, missing)
    if app.dynamic:
        return
    evidence = _is_gone_evidence(turn.state)
    for number, seat, pool in _seats_of(turn.state, name, unexplained):
        _lose(turn, name, number, seat=seat, pool=pool, evidence=evidence)


def doubt_what_is_forgotten(turn: Turn) -> None:
    """Somebody has looked after the fleet before, and nothing tells of it: a person has deleted what did."""
    if turn.state.remembered:
        return
    if any(executor.pod.seat is not None for _, executor in turn.state.executors()) or any(
        app.restarted for app in turn.state.applications.values()
    ):
        turn.doubt_accounts()
        turn.save()


def how_it_ended(app: ApplicationState, event: ev.ApplicationDeleted) -> tuple[ev.ApplicationPhase, str]:
    """What became of an application whose object is gone, and how we know."""
    if event.ended:
        return event.ended, f"it had {event.ended.value} before its object was deleted ({event.evidence})"
    if app.uid:  # it was there a moment ago, and not over
        return ev.ApplicationPhase.FAILED, "its object was deleted"
    return ev.ApplicationPhase.FAILED, (
        "its object was deleted while no controller was connected, and how it had ended is not known"
        f" ({event.evidence or 'nothing tells'}); if its own timeToLiveSeconds did that, set a longer one, or leave it"
        " out: the task deletes the application anyway"
    )


def _seats_of(state: FleetState, name: str, missing: list[int]) -> list[tuple[int, int, str]]:
    """Which seats, of which pools, the missing ones have left: nowhere written down, but nearly always certain.

    Seats are first given in the order of the numbers; later ones sit wherever somebody went. A number whose pod nobody
    had placed yet leaves no seat behind, it is merely asked for again: in a fleet that is starting, so is any above one
    that still waits.
    """
    app = state.applications[name]
    starting = app.tally.waiting.values() if state.initial is None and not app.pool else ()
    first_waiting = min(starting, default=app.highest_executor_id + 1)
    taken = app.tally.held | app.tally.vacant
    free = [seat for seat in range(app.executors_expected) if seat not in taken]
    own = {number: number - 1 for number in missing if number <= app.executors_expected and number - 1 not in taken}
    others = iter([seat for seat in free if seat + 1 not in own])
    sequence = list(islice(repeat(app.pool) if app.pool else state.spec.mix.sequence(), app.executors_expected))
    short = Counter(sequence)  # seats that each pool should have and has not
    short.subtract(app.seats())
    found = []
    for number in missing:
        seat = own[number] if number in own else next(others, None)
        if seat is None or number > first_waiting:
            continue
        pool = sequence[seat] if short[sequence[seat]] > 0 else max(short, key=lambda pool: short[pool])
        short[pool] -= 1
        found.append((number, seat, pool))
    return found


def _explain_fallbacks(turn: Turn, name: str, missing: list[int]) -> list[int]:
    """Each fallback of which we know no cause replaced one of the missing. Returns the numbers still missing."""
    app = turn.state.applications[name]
    listed = {replacement.executor for replacement in turn.state.replacements}
    left = list(missing)
    for executor in sorted(app.seated(), key=_number):
        is_listed = executor.pod.name in listed or executor.fallback == BREAKER_OPEN
        is_known = executor.seat_pool == executor.placed_pool or is_listed
        if is_known or executor.placing or executor.seat is None or not left:
            continue
        number = executor.seat + 1 if executor.seat + 1 in left else left[0]
        left.remove(number)
        # Its seat has a holder, so the loss is filled at once.
        _lose(turn, name, number, seat=executor.seat, pool=executor.seat_pool, evidence=())
    return left


def _number(executor: Executor) -> int:
    return executor.pod.executor_id


def _lose(turn: Turn, name: str, number: int, *, seat: int, pool: str, evidence: tuple[str, ...]) -> None:
    cause = Cause.SPOT_INTERRUPTION if evidence and turn.state.spec.is_spot(pool) else Cause.UNKNOWN
    loss = Loss(
        id=f"{turn.cause}#{number}",
        at=turn.at,
        application=name,
        executor=f"executor {number}",
        executor_id=number,
        seat=seat,
        seat_pool=pool,
        pool=pool,
        cause=cause,
        evidence=("missing after an outage of the controller", *evidence),
        estimated=True,
    )
    vacate(turn, name, loss)


def _is_gone_evidence(state: FleetState) -> tuple[str, ...]:
    """Nodes that are on their way out right now, seen when the loss itself was not."""
    return tuple(
        each.said
        for name in sorted(state.nodes.keys() | state.gone_nodes)
        for each in node_evidence(name, state.nodes.get(name), gone=name in state.gone_nodes)
        if each.sign.meaning in (Meaning.MARKET, Meaning.TAKEN)
    )


# -- executors that a lost node still holds


def rescue_all(turn: Turn) -> None:
    """Look at everybody, if there is a node that may be lost."""
    state = turn.state
    if state.gone_nodes or any(not node.ready or node.taints for node in state.nodes.values()):
        for app in list(state.applications.values()):
            rescue_driver(turn, app.name)
        for app, executor in list(state.executors()):
            rescue(turn, app.name, executor)


def rescue(turn: Turn, name: str, executor: Executor) -> None:
    """Free an executor whose node is lost for sure, whether it runs, has not started yet, or cannot end."""
    pod = executor.pod
    if pod.ended or executor.rescuing or not _is_lost(turn, pod.node):
        return
    # Its seat stays its own until the API server says that it is going: only then is it lost.
    turn.executor(name, executor, rescuing=True)
    _rescue(turn, uid=pod.uid, pod=pod.name, node=pod.node)


def rescue_driver(turn: Turn, name: str) -> None:
    """Remove a driver that a lost node holds: until it is gone, its operator takes it for running."""
    app = turn.state.applications[name]
    driver = app.driver
    if driver is None or app.over or driver.ended or app.rescuing_driver or not _is_lost(turn, driver.node):
        return
    turn.application(name, rescuing_driver=driver.uid)
    _rescue(turn, uid=driver.uid, pod=driver.pod, node=driver.node)


def _rescue(turn: Turn, *, uid: str, pod: str, node: str) -> None:
    known, is_absent = turn.state.nodes.get(node), node in turn.state.gone_nodes
    changed_at = 0.0 if known is None or proof_of_end(node, known, gone=is_absent) else known.ready_changed_at
    turn.state = replace(turn.state, avoided=turn.state.avoided if is_absent else turn.state.avoided | {node})
    turn.actions.append(Rescue(cause=turn.cause, uid=uid, pod=pod, node=node, ready_changed_at=changed_at))


def _is_lost(turn: Turn, name: str) -> bool:
    """Whether a node is lost for sure.

    Never on suspicion: the Node object was deleted, a taint says that the machine is stopped, or the node has not been
    ready past the deadline, in one go as far as the server's own times tell.
    """
    state, node = turn.state, turn.state.nodes.get(name)
    if not state.synced or not name:
        return False
    if proof_of_end(name, node, gone=name in state.gone_nodes):
        return True
    return node is not None and _is_silent(node, turn.at, state.spec.policy.node_lost_after_seconds)


def _is_silent(node: NodeFacts, now: float, patience: float) -> bool:
    return node.not_ready_since is not None and now - node.not_ready_since >= patience
