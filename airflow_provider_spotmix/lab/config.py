"""What a lab consists of. Validated here, at the boundary; plain JSON on disk."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import audit, parts
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.network import MAX_NODES
from airflow_provider_spotmix.lab.pools import DEFAULT_POOLS, NodeConfig, PoolConfig

MAX_KWOK_NODES = 5000
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_PACKAGE = Path(__file__).parents[1]


def nodes_of(*pools: PoolConfig) -> tuple[NodeConfig, ...]:
    """The nodes of some pools."""
    return tuple(node for pool in pools for node in pool.expand())


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
        nodes: at least one, with unique names; default: two spot and two on-demand nodes.
        app_dir: directory that every Spark pod sees, read-only, as ``/opt/app`` (``local:///opt/app/job.py``); default:
            the example jobs.
        mounts: more of this kind: absolute path in the pod to directory or file here.
        without: components that are not started: whoever leaves one out plays its part, or does not need it.
        audit: the API server's audit log: "rotate" keeps the last 400 MB, "keep" all of it; "off" writes none.

    Raises:
        LabError: names the field, the value and the rule.

    """

    nodes: tuple[NodeConfig, ...] = field(default_factory=lambda: nodes_of(*DEFAULT_POOLS))
    app_dir: Path | None = field(default_factory=default_app_dir)
    mounts: dict[str, Path] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    audit: str = audit.ROTATE

    def __post_init__(self) -> None:
        self._check_nodes()
        for part in self.without:
            if part not in parts.OPTIONAL:
                raise LabError(f"without: a lab cannot be without {part!r}, only without {', '.join(parts.OPTIONAL)}")
        if self.audit not in audit.MODES:
            raise LabError(f"audit: {self.audit!r} is none of {', '.join(audit.MODES)}")
        for target, source in self.all_mounts().items():
            if not target.startswith("/"):
                raise LabError(f"mounts: {target!r} is not an absolute path")
            if not Path(source).exists():
                raise LabError(f"mounts: {source} (for {target}) does not exist")

    def _check_nodes(self) -> None:
        if not 1 <= len(self.real_nodes) <= MAX_NODES:
            raise LabError(f"nodes: a lab has 1 to {MAX_NODES} nodes, not {len(self.real_nodes)}; more: with kwok")
        if len(self.kwok_nodes) > MAX_KWOK_NODES:
            raise LabError(f"nodes: a lab has up to {MAX_KWOK_NODES} nodes of kwok, not {len(self.kwok_nodes)}")
        names = Counter(node.name for node in self.nodes)
        for name, count in names.items():
            if not _DNS_LABEL.fullmatch(name):
                raise LabError(f"nodes: name {name!r} is not a DNS label (a-z, 0-9 and -, at most 63 characters)")
            if count > 1:
                raise LabError(f"nodes: name {name!r} is used twice; every node needs its own")

    @property
    def real_nodes(self) -> tuple[NodeConfig, ...]:
        """Those whose pods are processes."""
        return tuple(node for node in self.nodes if not node.kwok)

    @property
    def kwok_nodes(self) -> tuple[NodeConfig, ...]:
        """Those that are played."""
        return tuple(node for node in self.nodes if node.kwok)

    def all_mounts(self) -> dict[str, Path]:
        """`mounts` and `app_dir` together."""
        own = {} if self.app_dir is None else {"/opt/app": self.app_dir}
        return own | self.mounts

    def components(self) -> tuple[str, ...]:
        """What is started, in this order."""
        absent = {*self.without, *(() if self.kwok_nodes else (parts.KWOK,))}
        return tuple(name for name in parts.ALL if name not in absent)

    def to_json(self) -> dict[str, Any]:
        """As JSON, to compare and to keep."""
        return {
            "nodes": [asdict(node) | {"taints": list(node.taints)} for node in self.nodes],
            "mounts": {target: str(Path(source).resolve()) for target, source in sorted(self.all_mounts().items())},
            "without": sorted(set(self.without)),
            "audit": self.audit,
        }
