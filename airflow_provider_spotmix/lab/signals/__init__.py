"""Play the provider: take a node away with the same signals, through the same API objects, as the real thing.

A table: a provider more is a row, and a function in its module.
"""

from __future__ import annotations

from airflow_provider_spotmix.core.interruption import KNOWN_TAINTS
from airflow_provider_spotmix.lab import cluster
from airflow_provider_spotmix.lab.api import Api, Json, wait_until
from airflow_provider_spotmix.lab.clients import NodesControl
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.progress import Progress
from airflow_provider_spotmix.lab.signals import executors, karpenter, kubelet, machines, others, termination_handler
from airflow_provider_spotmix.lab.signals.scene import Scene, Signal, delete_node, pod_path, pods_of

SIGNALS: dict[str, Signal] = {
    name: signal
    for table in (karpenter, termination_handler, kubelet, others, machines, executors)
    for name, signal in table.SIGNALS.items()
}

_MARKS = KNOWN_TAINTS | {others.OUT}


def play(
    api: Api, machines: NodesControl, node: str, name: str, lead_seconds: float | None, progress: Progress
) -> None:
    """Play the signal `name` on a node.

    Raises:
        LabError: no such signal or node, the node is dead, or the lead time is negative.

    """
    signal = SIGNALS.get(name)
    if signal is None:
        raise LabError(f"unknown signal {name!r}; signals: {', '.join(SIGNALS)}")
    lead = signal.lead_seconds if lead_seconds is None else lead_seconds
    if lead < 0:
        raise LabError(f"lead: {lead:g} s is negative; give 0 or more seconds")
    if not _alive(machines, node):
        raise LabError(f"node {node} is dead already", remedy=f"bring it back: spotmix lab restore {node}")
    with progress.step(f"{node}: {signal.title}") as step:
        signal.play(Scene(api, machines, node, lead, step))


def restore(api: Api, machines: NodesControl, node: str) -> None:
    """Start a new machine under the name of one that was taken away, or is being, or mend its network."""
    path = f"/api/v1/nodes/{node}"
    if node in machines.cuts():
        machines.mend(node)
        _await_ready(api, node)
        return
    found = api.find(path)
    if _alive(machines, node):
        if found is not None and not _is_leaving(found):
            raise LabError(f"node {node} is running and not being interrupted: there is nothing to restore")
        machines.kill(node)
    # A new machine knows nothing of the old one's pods: they would stay bound to its name for ever.
    for pod in pods_of(api, node):
        api.delete(pod_path(pod), {"gracePeriodSeconds": 0})
    if found is not None:
        delete_node(api, node, karpenter.FINALIZER)
    machines.start(node)
    _await_ready(api, node)


def _await_ready(api: Api, node: str) -> None:
    def ready() -> bool:
        body = api.find(f"/api/v1/nodes/{node}")
        return body is not None and cluster.node_is_ready(body) and not _is_leaving(body)

    wait_until(f"node {node} to be Ready", ready, seconds=30)


def _alive(machines: NodesControl, node: str) -> bool:
    alive = machines.alive()
    if node not in alive:
        raise LabError(f"unknown node {node!r}; nodes: {', '.join(sorted(alive))}")
    return alive[node]


def _is_leaving(node: Json) -> bool:
    """Whether a signal has been played on it."""
    marked = any(taint["key"] in _MARKS for taint in node["spec"].get("taints") or [])
    return marked or bool(node["spec"].get("unschedulable") or node["metadata"].get("deletionTimestamp"))
