"""The processes of a lab: which programs, with which arguments. A table: a component more is a function more."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import audit, parts, spark, toolchain
from airflow_provider_spotmix.lab.kwok import SELECTOR, STAGES
from airflow_provider_spotmix.lab.network import (
    API_PORT,
    CONTROLLER_MANAGER_PORT,
    ETCD_CLIENT_PORT,
    ETCD_PEER_PORT,
    KWOK_PORT,
    NODES_CONTROL_PORT,
    OPERATOR_HEALTH_PORT,
    SCHEDULER_PORT,
)
from airflow_provider_spotmix.lab.provision import Credentials, Setting

# How soon a silent node counts as lost. Kubernetes' own 50 s would make every test of a lost node wait as long; the
# nodes renew their leases often enough for this.
NODE_MONITOR_GRACE_SECONDS = 8
KWOK_LEASE_SECONDS = 10  # renewed four times as often


@dataclass(frozen=True)
class Component:
    """One process.

    Attributes:
        name: for status and log file.
        command: program and arguments.
        env: the whole environment.
        graceful: whether it has something to tidy up when it is told to end.
        own_tmp_but: unless None, it gets a /tmp of its own, in which only these directories remain.

    """

    name: str
    command: list[str]
    env: dict[str, str]
    graceful: bool = False
    own_tmp_but: tuple[Path, ...] | None = None

    def request(self, log: Path) -> dict[str, Any]:
        """The supervisor's command to start it."""
        return {
            "name": self.name,
            "command": self.command,
            "env": self.env,
            "log": str(log),
            "graceful": self.graceful,
            "own_tmp_but": None if self.own_tmp_but is None else [str(path.resolve()) for path in self.own_tmp_but],
        }


def etcd(setting: Setting, credentials: Credentials) -> Component:
    """The store. Its files go with the lab, so it need not wait for the disk."""
    client = f"https://{setting.network.system}:{ETCD_CLIENT_PORT}"
    peer = f"https://{setting.network.system}:{ETCD_PEER_PORT}"
    pair, authority = credentials.etcd, str(credentials.authority)
    arguments = {
        "data-dir": str(setting.files.root / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "cert-file": str(pair.certificate),
        "key-file": str(pair.key),
        "trusted-ca-file": authority,
        "client-cert-auth": "true",
        "peer-cert-file": str(pair.certificate),
        "peer-key-file": str(pair.key),
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": "true",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    return _controlplane(setting, parts.ETCD, arguments)


def api_server(setting: Setting, credentials: Credentials) -> Component:
    """The API server, which is also the cluster IP of the service `kubernetes`: in-cluster names lead to it."""
    address = setting.network.api_server
    arguments = {
        "etcd-servers": f"https://{setting.network.system}:{ETCD_CLIENT_PORT}",
        "etcd-cafile": str(credentials.authority),
        "etcd-certfile": str(credentials.etcd.certificate),
        "etcd-keyfile": str(credentials.etcd.key),
        "bind-address": address,
        "advertise-address": address,
        "secure-port": str(API_PORT),
        "tls-cert-file": str(credentials.api_server.certificate),
        "tls-private-key-file": str(credentials.api_server.key),
        "cert-dir": str(setting.files.root / "pki"),
        "service-account-key-file": str(credentials.service_accounts.certificate),
        "service-account-signing-key-file": str(credentials.service_accounts.key),
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-cluster-ip-range": setting.network.services,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "token-auth-file": str(credentials.tokens),
        "endpoint-reconciler-type": "none",  # refuses loopback addresses
        "allow-privileged": "true",
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-client-certificate": str(credentials.kubelet_client.certificate),
        "kubelet-client-key": str(credentials.kubelet_client.key),
        "profiling": "false",
    }
    arguments |= audit.server_arguments(setting.config.audit, credentials.audit_policy, setting.files.audit_log)
    return _controlplane(setting, parts.API_SERVER, arguments)


def controller_manager(setting: Setting, credentials: Credentials) -> Component:
    """All of Kubernetes' own controllers, quick to notice a lost node."""
    arguments = _controller(setting, credentials, parts.CONTROLLER_MANAGER, CONTROLLER_MANAGER_PORT) | {
        "service-account-private-key-file": str(credentials.service_accounts.key),
        "root-ca-file": str(credentials.authority),
        "use-service-account-credentials": "true",
        "kube-api-qps": "500",  # its defaults of 20 and 30 make every start take seconds longer
        "kube-api-burst": "1000",
        "node-monitor-period": "1s",
        "node-monitor-grace-period": f"{NODE_MONITOR_GRACE_SECONDS}s",
    }
    return _controlplane(setting, parts.CONTROLLER_MANAGER, arguments)


def scheduler(setting: Setting, credentials: Credentials) -> Component:
    """Kubernetes' own scheduler."""
    arguments = _controller(setting, credentials, parts.SCHEDULER, SCHEDULER_PORT)
    return _controlplane(setting, parts.SCHEDULER, arguments)


def nodes(setting: Setting, credentials: Credentials) -> Component:
    """All nodes: one process. Its pods go on without it, for the next one or until the lab ends."""
    files = setting.files
    command = [
        str(setting.programs.procnode),
        *("--config", str(files.nodes_config)),
        *("--kubeconfig", str(files.access(parts.NODES))),
        *("--state-dir", str(files.root / "nodes")),
        *("--control", f"{setting.network.system}:{NODES_CONTROL_PORT}"),
        *("--control-token-file", str(files.control_token)),
        *("--kubelet-client-ca", str(credentials.authority)),
    ]
    return Component(parts.NODES, command, _environment(), graceful=True)


def operator(setting: Setting, credentials: Credentials) -> Component:
    """Kubeflow's spark-operator for all namespaces, without its webhook: pod templates reach the pods without it."""
    files, network = setting.files, setting.network
    command = [
        str(setting.programs.spark_operator),
        *("controller", "start"),
        "--namespaces=",
        *("--kubeconfig", str(files.access(parts.OPERATOR))),
        *("--zap-log-level", "info"),
        *("--health-probe-bind-address", f"{network.system}:{OPERATOR_HEALTH_PORT}"),
    ]
    env = _environment() | spark.submit_environment(files.root / "java", files.root / "spark-conf")
    env |= {
        "KUBECONFIG": str(files.access(parts.OPERATOR)),
        # The operator makes its spark-submit's master of these.
        "KUBERNETES_SERVICE_HOST": network.api_server,
        "KUBERNETES_SERVICE_PORT": str(API_PORT),
    }
    # It writes pod templates below /tmp/spark, a path that is neither configurable nor shared well: labs of two users
    # would be in each other's way, and the files would outlive the lab.
    needed = (files.root, setting.programs.spark_operator.parent, toolchain.find_spark(), toolchain.find_java())
    return Component(parts.OPERATOR, command, env, own_tmp_but=needed)


def kwok(setting: Setting, credentials: Credentials) -> Component:
    """Plays nodes and their pods."""
    files, network, program = setting.files, setting.network, setting.programs.kwok
    if program is None:
        raise ValueError("kwok has not been built")
    command = [
        str(program / "kwok"),
        *("--kubeconfig", str(files.access(parts.KWOK))),
        *("--config", str(STAGES)),
        *("--manage-nodes-with-annotation-selector", SELECTOR),
        *("--node-ip", network.kwok_node),
        *("--cidr", network.kwok_pods),
        *("--node-lease-duration-seconds", str(KWOK_LEASE_SECONDS)),
        *("--server-address", f"{network.system}:{KWOK_PORT}"),
        *("--v", "WARN"),
    ]
    return Component(parts.KWOK, command, _environment() | {"KWOK_WORKDIR": str(files.root / "kwok")})


MAKERS: dict[str, Callable[[Setting, Credentials], Component]] = {
    parts.ETCD: etcd,
    parts.API_SERVER: api_server,
    parts.CONTROLLER_MANAGER: controller_manager,
    parts.SCHEDULER: scheduler,
    parts.NODES: nodes,
    parts.OPERATOR: operator,
    parts.KWOK: kwok,
}


def _controller(setting: Setting, credentials: Credentials, name: str, port: int) -> dict[str, str]:
    """Return what controller-manager and scheduler have in common. Their servers are there to be asked for health."""
    kubeconfig = str(setting.files.access(name))
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": setting.network.system,
        "secure-port": str(port),
        "tls-cert-file": str(credentials.controllers.certificate),
        "tls-private-key-file": str(credentials.controllers.key),
        "leader-elect": "false",
        "profiling": "false",
    }


def _controlplane(setting: Setting, name: str, arguments: dict[str, str]) -> Component:
    command = [str(setting.programs.controlplane), name, *(f"--{key}={value}" for key, value in arguments.items())]
    return Component(name, command, _environment())


def _environment() -> dict[str, str]:
    """Little of the caller's environment: a proxy for 127/8, or a KUBECONFIG, would break the lab."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "LOGNAME")
    return {key: os.environ[key] for key in kept if key in os.environ}
