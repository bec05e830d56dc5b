"""Played nodes, for scale: kwok (https://kwok.sigs.k8s.io) writes their heartbeats and the life of their pods.

No process runs on them. A taint keeps off what does not ask for them; `kwok_stages.yaml` tells what their pods
can be asked to do.
"""

from __future__ import annotations

from pathlib import Path

from airflow_provider_spotmix.lab.api import Api, Json
from airflow_provider_spotmix.lab.build import KUBERNETES_VERSION
from airflow_provider_spotmix.lab.pools import NodeConfig

STAGES = Path(__file__).with_name("kwok_stages.yaml")
PLAYED = {"kwok.x-k8s.io/node": "fake"}
SELECTOR = ",".join(f"{key}={value}" for key, value in PLAYED.items())
MAX_PODS = 110


def create_nodes(api: Api, nodes: list[NodeConfig]) -> None:
    """Make the Node objects; kwok finds them by their annotation."""
    for node in nodes:
        api.create("/api/v1/nodes", _node(node))


def _node(node: NodeConfig) -> Json:
    labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "type": "kwok"}
    capacity = {"cpu": node.cpu, "memory": node.memory, "pods": str(MAX_PODS)}
    info = dict.fromkeys(("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "kubeProxyVersion"), "")
    info |= {
        "kubeletVersion": f"{KUBERNETES_VERSION}+kwok",
        "containerRuntimeVersion": "kwok",
        "operatingSystem": "linux",
        "architecture": "",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels | node.labels, "annotations": PLAYED},
        "spec": {"taints": list(node.taints)},
        "status": {"capacity": capacity, "allocatable": capacity, "nodeInfo": info},
    }
