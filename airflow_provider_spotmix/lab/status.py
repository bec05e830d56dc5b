"""What a lab is doing, for people and programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab.api import Api, Json
from airflow_provider_spotmix.lab.clients import ask_supervisor
from airflow_provider_spotmix.lab.errors import LabError, tail
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import Network
from airflow_provider_spotmix.lab.node_status import NodeStatus, read_nodes
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
class LabStatus:
    """A lab.

    Attributes:
        name: the lab's.
        healthy: whether all components run and the API server is ready.
        api_server: its URL.
        kubeconfig: the administrator's.
        directory: logs and state.
        components: the processes.
        nodes: the nodes, those that are gone too; empty when the API server does not answer.

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
        nodes = read_nodes(api, configured)
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
