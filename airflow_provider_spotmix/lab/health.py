"""Ask each component of a lab whether it is ready."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from airflow_provider_spotmix.lab import access, cluster, parts
from airflow_provider_spotmix.lab import network as ports
from airflow_provider_spotmix.lab.clients import NodesControl
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import Network

TIMEOUT_SECONDS = 5.0


def is_ready(component: str, files: Files, network: Network) -> bool:
    """Whether a component does its work; False when it does not answer."""
    try:
        return _CHECKS[component](files, network)
    except (LabError, OSError, HTTPException):
        return False


def _etcd(files: Files, network: Network) -> bool:
    own = (files.pki / "etcd.crt", files.pki / "etcd.key")
    return _says_ok(f"https://{network.system}:{ports.ETCD_CLIENT_PORT}/health", files, own)


def _api_server(files: Files, _: Network) -> bool:
    return access.client(files.kubeconfig).text("/readyz") == "ok"


def _controller_manager(files: Files, network: Network) -> bool:
    return _says_ok(f"https://{network.system}:{ports.CONTROLLER_MANAGER_PORT}/healthz", files)


def _scheduler(files: Files, network: Network) -> bool:
    return _says_ok(f"https://{network.system}:{ports.SCHEDULER_PORT}/readyz", files)


def _nodes(files: Files, network: Network) -> bool:
    """All machines that are neither dead nor frozen are Ready."""
    alive = {name for name, lives in NodesControl.of(files, network).alive().items() if lives}
    nodes = access.client(files.kubeconfig).items("/api/v1/nodes")
    return alive <= {node["metadata"]["name"] for node in nodes if cluster.node_is_ready(node)}


def _operator(files: Files, network: Network) -> bool:
    return _says_ok(f"http://{network.system}:{ports.OPERATOR_HEALTH_PORT}/readyz", files)


def _kwok(files: Files, network: Network) -> bool:
    return _says_ok(f"http://{network.system}:{ports.KWOK_PORT}/healthz", files)


_CHECKS: dict[str, Callable[[Files, Network], bool]] = {
    parts.ETCD: _etcd,
    parts.API_SERVER: _api_server,
    parts.CONTROLLER_MANAGER: _controller_manager,
    parts.SCHEDULER: _scheduler,
    parts.NODES: _nodes,
    parts.OPERATOR: _operator,
    parts.KWOK: _kwok,
}


def _says_ok(url: str, files: Files, client: tuple[Path, Path] | None = None) -> bool:
    tls = ssl.create_default_context(cafile=str(files.authority))
    if client is not None:
        tls.load_cert_chain(*client)
    # Never through a proxy of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
    with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
        return bool(answer.status == 200)
