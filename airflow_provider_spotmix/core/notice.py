"""Notices: a node says that it will go. Its executors are asked to leave at once, unless that may be taken back.

Deleting an executor early starts its decommissioning with the whole lead time before it, keeps its loss out of Spark's
failure budget (a pod that fails on a node that shuts down is charged, a deleted one is not), and brings its replacement
sooner, since Spark asks for one only when the old one has left Running. All executors of a node are asked together:
each has the same time left, and blocks that are moved to a neighbour on the same node would have to be moved again.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Inquire, Topic
from airflow_provider_spotmix.core.events import NodeFacts
from airflow_provider_spotmix.core.fallback import remove
from airflow_provider_spotmix.core.history import Cause
from airflow_provider_spotmix.core.interruption import announcement, is_marked, judge, needs_events
from airflow_provider_spotmix.core.state import ApplicationState, Executor, FleetState, Removal
from airflow_provider_spotmix.core.turn import Turn

# A placement names at most so many nodes to stay away from: their taints keep the scheduler off most of them anyway.
MAX_AVOIDED = 20
# How the reason of a deletion begins that a notice is behind.
REASON = "notice: "


def see_node(turn: Turn, seen: NodeFacts) -> None:
    """Take over what a node says now, and keep what we know of it. A notice that is no longer there is forgotten."""
    name, state = seen.name, turn.state
    known = None if name in state.gone_nodes else state.nodes.get(name)
    # A condition that has changed in between was Ready in between, even if nobody saw that.
    still = known is not None and known.ready_changed_at == seen.ready_changed_at
    not_ready_since = None if seen.ready else (known.not_ready_since if known and still else None) or turn.at
    marked_since = ((known.marked_since if known else None) or turn.at) if is_marked(seen) else None
    node = replace(seen, not_ready_since=not_ready_since, marked_since=marked_since)
    if known and node.deleting:
        node = replace(node, asked=known.asked, events=known.events, events_hidden=known.events_hidden)
    heeded = known is not None and known.heeded
    if heeded and not announcement(node, on_spot=True):
        heeded = False
        turn.tell(f"the notice of node {name} is withdrawn: whoever is on it stays", topic=Topic.NOTICE)
    _keep(turn, replace(node, heeded=heeded))
    turn.state = replace(turn.state, gone_nodes=turn.state.gone_nodes - {name})


def lose_node(turn: Turn, name: str) -> None:
    """The node's object is gone. What it has said before still explains losses that are noticed later."""
    known = turn.state.nodes.get(name)
    nodes = turn.state.nodes if known and is_marked(known) else turn.state.nodes.without(name)
    turn.state = replace(
        turn.state, nodes=nodes, gone_nodes=turn.state.gone_nodes | {name}, avoided=turn.state.avoided - {name}
    )


def explain_node(turn: Turn, event: ev.NodeExplained) -> None:
    """Its Events were read, or may not be."""
    node = turn.state.nodes.get(event.node)
    if node is not None:
        _keep(turn, replace(node, events=event.reasons, events_hidden=event.hidden))


def heed(turn: Turn, event: ev.AnyEvent) -> None:
    """Ask the executors on nodes that will surely go to leave."""
    if not turn.state.synced:
        return
    match event:
        case ev.NodeObserved(node=node):
            _heed(turn, _on(turn.state, {node.name}) if is_marked(node) else ())
        case ev.NodeExplained(node=name):
            _heed(turn, _on(turn.state, {name}))
        case ev.ExecutorObserved(pod=pod):
            _heed(turn, turn.state.find(pod.uid))
        case ev.RemoveFailed(uid=uid):
            _heed(turn, turn.state.find(uid))
        case ev.Synced():
            _heed(turn, _on(turn.state, {node.name for node in turn.state.nodes.values() if is_marked(node)}))


def avoided(state: FleetState) -> tuple[str, ...]:
    """Nodes that a placement should stay away from."""
    return tuple(sorted(state.avoided)[:MAX_AVOIDED])


def _on(state: FleetState, names: set[str]) -> list[tuple[ApplicationState, Executor]]:
    return [(app, executor) for app, executor in state.executors() if executor.pod.node in names] if names else []


def _heed(turn: Turn, found: Iterable[tuple[ApplicationState, Executor]]) -> None:
    leaving: dict[str, list[str]] = {}
    for app, executor in list(found):
        node = turn.state.nodes.get(executor.pod.node)
        if node is None or app.over:
            continue
        if needs_events(node) and not node.asked:  # also for those who leave already: their losses wait for the answer
            _inquire(turn, node)
        if needs_events(node) or not _may_leave(executor):
            continue
        on_spot = turn.state.spec.is_spot(executor.placed_pool)
        evidence = announcement(node, on_spot=on_spot)
        if evidence:
            said = "; ".join(each.said for each in evidence)
            cause = judge(evidence, node, on_spot=on_spot) or Cause.UNKNOWN
            remove(turn, app.name, executor, Removal(cause=cause, reason=f"{REASON}{said}"))
            leaving.setdefault(node.name, [said]).append(executor.pod.name)
    for name, (said, *executors) in leaving.items():
        _keep(turn, replace(turn.state.nodes[name], heeded=True))
        turn.state = replace(turn.state, avoided=turn.state.avoided | {name})
        count = f"{len(executors)} executors on it leave" if len(executors) > 1 else f"{executors[0]} leaves it"
        turn.tell(f"{REASON}{said}; {count} now, while there is time", warning=True, topic=Topic.NOTICE)


def _may_leave(executor: Executor) -> bool:
    pod = executor.pod
    is_going = pod.deleting or pod.ended or executor.released
    return not (is_going or executor.is_removing or executor.rescuing)


def _inquire(turn: Turn, node: NodeFacts) -> None:
    _keep(turn, replace(node, asked=True))
    pods = tuple(executor.pod.name for _, executor in _on(turn.state, {node.name}))
    turn.actions.append(Inquire(cause=turn.cause, node=node.name, node_uid=node.uid, pods=pods))


def _keep(turn: Turn, node: NodeFacts) -> None:
    state = turn.state
    gone = state.avoided - {node.name} if node.ready and not node.heeded else state.avoided
    turn.state = replace(state, nodes=state.nodes.put(node.name, node), avoided=gone)
