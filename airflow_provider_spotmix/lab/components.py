"""The processes of a lab: which programs, with which arguments. A table: a component more is a function more."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import spark, toolchain
from airflow_provider_spotmix.lab.build import Programs
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.network import API_PORT, Network
from airflow_provider_spotmix.lab.pki import Authority, Pair, write_private, write_signing_key

ETCD_CLIENT_PORT, ETCD_PEER_PORT = 2379, 2380
NODES_CONTROL_PORT = 11250
OPERATOR_HEALTH_PORT = 8081

# How soon a silent node counts as lost. Kubernetes' own 50 s would make every test of a lost node wait as long; the
# nodes renew their leases often enough for this.
NODE_MONITOR_GRACE_SECONDS = 8
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Files:
    """Files of a lab, all in its directory.

    Attributes:
        root: the directory itself.

    """

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.root / "kubeconfig"

    @property
    def control_token(self) -> Path:
        """Bearer token of the nodes' control API."""
        return self.root / "nodes.token"

    @property
    def nodes_config(self) -> Path:
        """What the nodes are."""
        return self.root / "nodes.json"

    @property
    def state(self) -> Path:
        """What `attach` reads."""
        return self.root / "lab.json"

    def log(self, component: str) -> Path:
        """Output of a component."""
        return self.root / "logs" / f"{component}.log"


@dataclass(frozen=True)
class Setting:
    """Everything that the components' arguments depend on."""

    files: Files
    network: Network
    programs: Programs
    config: LabConfig
    token: str
    control_token: str


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


@dataclass(frozen=True)
class Credentials:
    """Certificates of a lab."""

    authority: Path
    etcd: Pair
    api_server: Pair
    kubelet_client: Pair
    service_accounts: Pair


def prepare(setting: Setting) -> Credentials:
    """Write every file that the components read."""
    files, network = setting.files, setting.network
    for name in ("logs", "etcd", "nodes"):
        (files.root / name).mkdir(mode=0o700)
    pki = files.root / "pki"
    authority = Authority(pki)
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    credentials = Credentials(
        authority=authority.certificate,
        etcd=authority.issue("etcd", hosts=(network.system,)),
        api_server=authority.issue("api-server", hosts=(network.api_server, *names)),
        kubelet_client=authority.issue("kubelet-client"),
        service_accounts=write_signing_key(pki),
    )
    write_private(files.root / "tokens.csv", f'{setting.token},admin,admin,"system:masters"\n'.encode())
    write_private(files.control_token, setting.control_token.encode())
    write_private(files.kubeconfig, _kubeconfig(setting, authority.certificate).encode())
    java_home, scripts = files.root / "java", files.root / "image"
    spark.write_java_home(java_home)
    spark.copy_scripts(scripts)
    spark.write_conf(files.root / "spark-conf")
    nodes = _nodes_config(setting, java_home=java_home, scripts=scripts)
    write_private(files.nodes_config, json.dumps(nodes, indent=1).encode())
    return credentials


def _kubeconfig(setting: Setting, authority: Path) -> str:
    """JSON is YAML. The certificate is inside, so that the file can be copied to anywhere."""
    name = "spotmix-lab"
    cluster = {
        "server": setting.network.api_url,
        "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode(),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": setting.token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "spark"}}],
            "current-context": name,
        },
        indent=1,
    )


def _nodes_config(setting: Setting, *, java_home: Path, scripts: Path) -> dict[str, Any]:
    network = setting.network
    nodes = [
        {
            "name": node.name,
            "ip": network.node(index),
            "podNet": network.pods(index),
            "cpu": node.cpu,
            "memory": node.memory,
            "labels": node.labels,
            "taints": list(node.taints),
        }
        for index, node in enumerate(setting.config.nodes)
    ]
    return {
        "nodes": nodes,
        "images": spark.images(setting.config, java_home=java_home, scripts=scripts),
        "apiServer": {"host": network.api_server, "port": API_PORT},
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
    return _controlplane(setting, "etcd", arguments)


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
        "authorization-mode": "RBAC",
        "token-auth-file": str(setting.files.root / "tokens.csv"),
        "endpoint-reconciler-type": "none",  # refuses loopback addresses
        "allow-privileged": "true",
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-client-certificate": str(credentials.kubelet_client.certificate),
        "kubelet-client-key": str(credentials.kubelet_client.key),
        "profiling": "false",
    }
    return _controlplane(setting, "apiserver", arguments)


def controller_manager(setting: Setting, credentials: Credentials) -> Component:
    """All of Kubernetes' own controllers, quick to notice a lost node."""
    arguments = {
        "kubeconfig": str(setting.files.kubeconfig),
        "service-account-private-key-file": str(credentials.service_accounts.key),
        "root-ca-file": str(credentials.authority),
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "secure-port": "0",
        "kube-api-qps": "500",  # its defaults of 20 and 30 make every start take seconds longer
        "kube-api-burst": "1000",
        "node-monitor-period": "1s",
        "node-monitor-grace-period": f"{NODE_MONITOR_GRACE_SECONDS}s",
        "profiling": "false",
    }
    return _controlplane(setting, "controller-manager", arguments)


def scheduler(setting: Setting, credentials: Credentials) -> Component:
    """Kubernetes' own scheduler."""
    arguments = {
        "kubeconfig": str(setting.files.kubeconfig),
        "leader-elect": "false",
        "secure-port": "0",
        "profiling": "false",
    }
    return _controlplane(setting, "scheduler", arguments)


def nodes(setting: Setting, credentials: Credentials) -> Component:
    """All nodes: one process. Told to end, it ends its pods."""
    files = setting.files
    command = [
        str(setting.programs.procnode),
        *("--config", str(files.nodes_config)),
        *("--kubeconfig", str(files.kubeconfig)),
        *("--state-dir", str(files.root / "nodes")),
        *("--control", f"{setting.network.system}:{NODES_CONTROL_PORT}"),
        *("--control-token-file", str(files.control_token)),
        *("--kubelet-client-ca", str(credentials.authority)),
    ]
    return Component("nodes", command, _environment(), graceful=True)


def operator(setting: Setting, credentials: Credentials) -> Component:
    """Kubeflow's spark-operator for all namespaces, without its webhook: pod templates reach the pods without it."""
    files, network = setting.files, setting.network
    command = [
        str(setting.programs.spark_operator),
        *("controller", "start"),
        "--namespaces=",
        *("--kubeconfig", str(files.kubeconfig)),
        *("--zap-log-level", "info"),
        *("--health-probe-bind-address", f"{network.system}:{OPERATOR_HEALTH_PORT}"),
    ]
    env = _environment() | spark.submit_environment(files.root / "java", files.root / "spark-conf")
    env |= {
        "KUBECONFIG": str(files.kubeconfig),
        # The operator makes its spark-submit's master of these.
        "KUBERNETES_SERVICE_HOST": network.api_server,
        "KUBERNETES_SERVICE_PORT": str(API_PORT),
    }
    # It writes pod templates below /tmp/spark, a path that is neither configurable nor shared well: labs of two users
    # would be in each other's way, and the files would outlive the lab.
    needed = (files.root, setting.programs.spark_operator.parent, toolchain.find_spark(), toolchain.find_java())
    return Component("spark-operator", command, env, own_tmp_but=needed)


FIRST: tuple[Callable[[Setting, Credentials], Component], ...] = (etcd, api_server)
SECOND: tuple[Callable[[Setting, Credentials], Component], ...] = (controller_manager, scheduler, nodes)


def _controlplane(setting: Setting, name: str, arguments: dict[str, str]) -> Component:
    command = [str(setting.programs.controlplane), name, *(f"--{key}={value}" for key, value in arguments.items())]
    return Component(name, command, _environment())


def _environment() -> dict[str, str]:
    """Little of the caller's environment: a proxy for 127/8, or a KUBECONFIG, would break the lab."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "LOGNAME")
    return {key: os.environ[key] for key in kept if key in os.environ}
