"""What a lab is doing, for people and programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import cluster
from airflow_provider_spotmix.lab.api import Api, Json
from airflow_provider_spotmix.lab.clients import ask_supervisor
from airflow_provider_spotmix.lab.errors import LabError, tail
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import Network
from airflow_provider_spotmix.lab.processes import memory_bytes
from airflow_provider_spotmix.lab.supervision import ChildStatus


@dataclass(frozen=True)
class ComponentStatus:
    """A process of the lab.

    Attributes:
        name: its name.
        pid: its process, 0 when it does not run.
        state: "running", "stopped" (somebody said so) or "ended" (by itself; nothing starts it again but a person).
        exit_code: None while it runs; negative: the signal that ended it.
        memory_bytes: resident.
        log: file with its output.
        last_words: the end of its log, when it has ended by itself.

    """

    name: str
    pid: int
    state: str
    exit_code: int | None
    memory_bytes: int
    log: str
    last_words: str


@dataclass(frozen=True)
class NodeStatus:
    """A node as the cluster sees it; `pods` counts those that have not ended."""

    name: str
    pool: str
    capacity_type: str
    ready: bool
    taints: list[str]
    pods: int


@dataclass(frozen=True)
class LabStatus:
    """A lab.

    Attributes:
        name: the lab's.
        healthy: whether all components run and the API server is ready.
        api_server: its URL.
        kubeconfig: the administrator's.
        directory: logs and state.
        components: the processes.
        nodes: the nodes; empty when the API server does not answer.

    """

    name: str
    healthy: bool
    api_server: str
    kubeconfig: str
    directory: str
    components: list[ComponentStatus]
    nodes: list[NodeStatus]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def read_status(name: str, network: Network, files: Files, api: Api, configured: list[Json]) -> LabStatus:
    """Ask supervisor and API server.

    Args:
        name: the lab's.
        network: the lab's.
        files: the lab's.
        api: the administrator's client.
        configured: the nodes as in `LabConfig.to_json`.

    """
    try:
        children = ask_supervisor(network, do="status")
    except LabError:
        children = []
    parts = [_component(child, files.log(child.name)) for child in children]
    running = bool(parts) and all(part.exit_code is None for part in parts)
    try:
        ready = api.text("/readyz") == "ok"
        nodes = _nodes(api, configured)
    except LabError:
        ready, nodes = False, []
    return LabStatus(
        name=name,
        healthy=running and ready,
        api_server=network.api_url,
        kubeconfig=str(files.kubeconfig),
        directory=str(files.root),
        components=parts,
        nodes=nodes,
    )


def _component(child: ChildStatus, log: Path) -> ComponentStatus:
    if child.exit_code is None:
        return ComponentStatus(child.name, child.pid, "running", None, memory_bytes(child.pid), str(log), "")
    if child.stopped:
        return ComponentStatus(child.name, 0, "stopped", child.exit_code, 0, str(log), "")
    return ComponentStatus(child.name, 0, "ended", child.exit_code, 0, str(log), tail(log, 10))


def _nodes(api: Api, configured: list[Json]) -> list[NodeStatus]:
    known = {node["name"]: node for node in configured}
    live = (p for p in api.items("/api/v1/pods") if p["status"].get("phase") not in {"Succeeded", "Failed"})
    pods = Counter(pod["spec"].get("nodeName", "") for pod in live)
    nodes = api.items("/api/v1/nodes")
    return [_node(node, known.get(node["metadata"]["name"], {}), pods[node["metadata"]["name"]]) for node in nodes]


def _node(node: Json, known: Json, pods: int) -> NodeStatus:
    taints = node["spec"].get("taints") or []
    return NodeStatus(
        name=node["metadata"]["name"],
        pool=known.get("pool", ""),
        capacity_type=known.get("capacity", ""),
        ready=cluster.node_is_ready(node),
        taints=[f"{taint['key']}:{taint['effect']}" for taint in taints],
        pods=pods,
    )
