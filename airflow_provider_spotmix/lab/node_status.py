"""How the nodes of a lab are, as the cluster sees them."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_spotmix.lab import cluster
from airflow_provider_spotmix.lab.api import Api, Json
from airflow_provider_spotmix.lab.quantities import quantity

READY, NOT_READY, LEAVING, GONE = "Ready", "NotReady", "Leaving", "Gone"


@dataclass(frozen=True)
class NodeStatus:
    """A node.

    Attributes:
        name: its name.
        pool: the lab's pool that it belongs to.
        capacity_type: "spot" or "on-demand".
        state: "Ready", "NotReady", "Leaving" (it is being taken away) or "Gone" (there is no Node object).
        ready: whether the API server says so.
        taints: key and effect of each.
        pods: how many are bound to it and have not ended.
        cpu_requested: CPUs that these pods have asked for.
        cpu: CPUs that the scheduler may hand out.
        memory_requested: bytes, likewise.
        memory: bytes, likewise.

    """

    name: str
    pool: str
    capacity_type: str
    state: str
    ready: bool
    taints: list[str]
    pods: int
    cpu_requested: float
    cpu: float
    memory_requested: int
    memory: int


def read_nodes(api: Api, configured: list[Json]) -> list[NodeStatus]:
    """Ask the API server.

    Args:
        api: the administrator's client.
        configured: the nodes as in `LabConfig.to_json`; in this order they are told.

    """
    pods: dict[str, list[Json]] = {}
    for pod in api.items("/api/v1/pods"):
        if pod["status"].get("phase") not in {"Succeeded", "Failed"}:
            pods.setdefault(pod["spec"].get("nodeName", ""), []).append(pod)
    nodes = {node["metadata"]["name"]: node for node in api.items("/api/v1/nodes")}
    known = {node["name"]: node for node in configured}
    names = [*known, *(name for name in nodes if name not in known)]
    return [_node(name, nodes.get(name), known.get(name, {}), pods.get(name, [])) for name in names]


def _node(name: str, node: Json | None, known: Json, pods: list[Json]) -> NodeStatus:
    found = node or {"metadata": {}, "spec": {}, "status": {}}
    ready = cluster.node_is_ready(found)
    allocatable = found["status"].get("allocatable", {})
    return NodeStatus(
        name=name,
        pool=known.get("pool", ""),
        capacity_type=known.get("capacity", ""),
        state=GONE if node is None else LEAVING if _is_leaving(found) else READY if ready else NOT_READY,
        ready=ready,
        taints=[f"{taint['key']}:{taint['effect']}" for taint in found["spec"].get("taints") or []],
        pods=len(pods),
        cpu_requested=_requested(pods, "cpu"),
        cpu=quantity(allocatable.get("cpu", "0")),
        memory_requested=int(_requested(pods, "memory")),
        memory=int(quantity(allocatable.get("memory", "0"))),
    )


def _is_leaving(node: Json) -> bool:
    return "deletionTimestamp" in node["metadata"]


def _requested(pods: list[Json], resource: str) -> float:
    containers = [container for pod in pods for container in pod["spec"]["containers"]]
    return sum(quantity(c.get("resources", {}).get("requests", {}).get(resource, "0")) for c in containers)
