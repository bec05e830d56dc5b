"""What a lab consists of. Validated here, at the boundary; plain JSON on disk."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import audit
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.network import MAX_NODES

CAPACITY_TYPE = "karpenter.sh/capacity-type"
ZONE = "topology.kubernetes.io/zone"
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class NodeConfig:
    """One node.

    Attributes:
        name: DNS label, at most 63 characters.
        labels: beside the ones that every node has (hostname, os, arch).
        taints: as in the API: ``{"key": ..., "value": ..., "effect": ...}``.
        cpu: allocatable CPUs, a Kubernetes quantity; only the scheduler counts it, nothing enforces it.
        memory: allocatable memory, a Kubernetes quantity; likewise.

    """

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()
    cpu: str = "8"
    memory: str = "8Gi"


def spot_node(name: str, zone: str = "lab-a") -> NodeConfig:
    """A node as Karpenter makes it for a NodePool of spot capacity that only spot-tolerant pods may use."""
    taint = {"key": CAPACITY_TYPE, "value": "spot", "effect": "NoSchedule"}
    return NodeConfig(name, {CAPACITY_TYPE: "spot", ZONE: zone}, (taint,))


def on_demand_node(name: str, zone: str = "lab-a") -> NodeConfig:
    """A node as Karpenter makes it for a NodePool of on-demand capacity."""
    return NodeConfig(name, {CAPACITY_TYPE: "on-demand", ZONE: zone})


def default_nodes() -> tuple[NodeConfig, ...]:
    """Two spot nodes and two on-demand ones, in two zones."""
    return (
        spot_node("spot-1", "lab-a"),
        spot_node("spot-2", "lab-b"),
        on_demand_node("on-demand-1", "lab-a"),
        on_demand_node("on-demand-2", "lab-b"),
    )


def example_dags() -> Path | None:
    """The example DAGs of this package or checkout; None where they are not installed."""
    for root in (_PACKAGE, _PACKAGE.parent):
        if (found := root / "example_dags").is_dir():
            return found
    return None


def default_app_dir() -> Path | None:
    """The example jobs; None where they are not installed."""
    found = example_dags()
    return found / "jobs" if found else None


@dataclass(frozen=True)
class LabConfig:
    """A lab.

    Attributes:
        nodes: at least one, with unique names.
        app_dir: directory that every Spark pod sees, read-only, as ``/opt/app`` (``local:///opt/app/job.py``); default:
            the example jobs.
        mounts: more of this kind: absolute path in the pod to directory or file here.
        audit: the API server's audit log: "rotate" keeps the last 400 MB, "keep" all of it; "off" writes none.

    Raises:
        LabError: names the field, the value and the rule.

    """

    nodes: tuple[NodeConfig, ...] = field(default_factory=default_nodes)
    app_dir: Path | None = field(default_factory=default_app_dir)
    mounts: dict[str, Path] = field(default_factory=dict)
    audit: str = audit.ROTATE

    def __post_init__(self) -> None:
        if not 1 <= len(self.nodes) <= MAX_NODES:
            raise LabError(f"nodes: a lab has 1 to {MAX_NODES} nodes, not {len(self.nodes)}")
        names = [node.name for node in self.nodes]
        for name in names:
            if not _DNS_LABEL.fullmatch(name):
                raise LabError(f"nodes: name {name!r} is not a DNS label (a-z, 0-9 and -, at most 63 characters)")
            if names.count(name) > 1:
                raise LabError(f"nodes: name {name!r} is used twice; every node needs its own")
        if self.audit not in audit.MODES:
            raise LabError(f"audit: {self.audit!r} is none of {', '.join(audit.MODES)}")
        for target, source in self.all_mounts().items():
            if not target.startswith("/"):
                raise LabError(f"mounts: {target!r} is not an absolute path")
            if not Path(source).exists():
                raise LabError(f"mounts: {source} (for {target}) does not exist")

    def all_mounts(self) -> dict[str, Path]:
        """`mounts` and `app_dir` together."""
        own = {} if self.app_dir is None else {"/opt/app": self.app_dir}
        return own | self.mounts

    def to_json(self) -> dict[str, Any]:
        """As JSON, to compare and to keep."""
        return {
            "nodes": [asdict(node) | {"taints": list(node.taints)} for node in self.nodes],
            "mounts": {target: str(Path(source).resolve()) for target, source in sorted(self.all_mounts().items())},
            "audit": self.audit,
        }
