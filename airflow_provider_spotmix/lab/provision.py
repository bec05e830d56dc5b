"""Write what the components of a lab read: keys, tokens, configuration. All of it is in the lab's 0700 directory."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import access, audit, spark
from airflow_provider_spotmix.lab.build import Programs
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.files import Files, write_private
from airflow_provider_spotmix.lab.network import API_PORT, Network
from airflow_provider_spotmix.lab.pki import Authority, Pair, write_signing_key


@dataclass(frozen=True)
class Setting:
    """Everything that the components' arguments depend on."""

    files: Files
    network: Network
    programs: Programs
    config: LabConfig


@dataclass(frozen=True)
class Credentials:
    """Certificates of a lab, and the API server's table of tokens."""

    authority: Path
    etcd: Pair
    api_server: Pair
    controllers: Pair
    kubelet_client: Pair
    service_accounts: Pair
    tokens: Path
    audit_policy: Path


def prepare(setting: Setting) -> Credentials:
    """Write every file that the components read."""
    files, network = setting.files, setting.network
    for name in ("access", "audit", "logs", "etcd", "nodes"):
        (files.root / name).mkdir(mode=0o700)
    authority = Authority(files.pki)
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    policy = files.root / "audit" / "policy.json"
    write_private(policy, json.dumps(audit.POLICY, indent=1).encode())
    credentials = Credentials(
        authority=authority.certificate,
        etcd=authority.issue("etcd", hosts=(network.system,)),
        api_server=authority.issue("api-server", hosts=(network.api_server, *names)),
        controllers=authority.issue("controllers", hosts=(network.system,)),
        kubelet_client=authority.issue("kubelet-client"),
        service_accounts=write_signing_key(files.pki),
        tokens=access.write_access(files, network, authority.certificate),
        audit_policy=policy,
    )
    write_private(files.control_token, secrets.token_urlsafe(32).encode())
    java_home, scripts = files.root / "java", files.root / "image"
    spark.write_java_home(java_home)
    spark.copy_scripts(scripts)
    spark.write_conf(files.root / "spark-conf")
    nodes = _nodes_config(setting, java_home=java_home, scripts=scripts)
    write_private(files.nodes_config, json.dumps(nodes, indent=1).encode())
    return credentials


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
        for index, node in enumerate(setting.config.real_nodes)
    ]
    return {
        "nodes": nodes,
        "images": spark.images(setting.config, java_home=java_home, scripts=scripts),
        "apiServer": {"host": network.api_server, "port": API_PORT},
    }
