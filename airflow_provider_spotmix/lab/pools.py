"""Pools of a lab's nodes, labelled and tainted as the clouds and Karpenter do. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle

SPOT, ON_DEMAND = "spot", "on-demand"
ZONE = "topology.kubernetes.io/zone"
CAPACITY_TYPE = "karpenter.sh/capacity-type"


# As in kwok's own documentation.
KWOK_TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}


@dataclass(frozen=True)
class NodeConfig:
    """One node.

    Attributes:
        name: DNS label, at most 63 characters.
        labels: beside the ones that every node has (hostname, os, arch).
        taints: as in the API: ``{"key": ..., "value": ..., "effect": ...}``.
        cpu: allocatable CPUs, a Kubernetes quantity; only the scheduler counts it, nothing enforces it.
        memory: allocatable memory, a Kubernetes quantity; likewise.
        pool: for people: the pool that it belongs to.
        capacity: for people: "spot", "on-demand" or "".
        kwok: whether it is played by kwok; see `kwok`.

    """

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()
    cpu: str = "8"
    memory: str = "8Gi"
    pool: str = ""
    capacity: str = ""
    kwok: bool = False


@dataclass(frozen=True)
class Provider:
    """How a provider marks its nodes.

    Attributes:
        pool: key of the label with the pool's name.
        spot: labels of a spot node.
        on_demand: labels of an on-demand node.
        taints_spot: whether spot nodes usually have a taint with the key and value of their first label.

    """

    pool: str
    spot: dict[str, str]
    on_demand: dict[str, str]
    taints_spot: bool


PROVIDERS = {
    # https://karpenter.sh/docs/concepts/scheduling/#well-known-labels; NodePools for spot are usually given this taint.
    "karpenter": Provider("karpenter.sh/nodepool", {CAPACITY_TYPE: SPOT}, {CAPACITY_TYPE: ON_DEMAND}, taints_spot=True),
    # https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
    "eks": Provider(
        "eks.amazonaws.com/nodegroup",
        {"eks.amazonaws.com/capacityType": "SPOT"},
        {"eks.amazonaws.com/capacityType": "ON_DEMAND"},
        taints_spot=False,
    ),
    # https://cloud.google.com/kubernetes-engine/docs/concepts/spot-vms: on-demand is the absence of the label.
    "gke": Provider("cloud.google.com/gke-nodepool", {"cloud.google.com/gke-spot": "true"}, {}, taints_spot=True),
    # https://learn.microsoft.com/azure/aks/spot-node-pool: likewise; AKS itself sets the taint.
    "aks": Provider(
        "kubernetes.azure.com/agentpool", {"kubernetes.azure.com/scalesetpriority": SPOT}, {}, taints_spot=True
    ),
    # No provider's: only the pool's name, for pools that select by labels of your own.
    "plain": Provider("lab.spotmix.io/pool", {}, {}, taints_spot=False),
}


@dataclass(frozen=True)
class PoolConfig:
    """Some nodes of one kind.

    Attributes:
        name: of the pool, and the beginning of its nodes' names.
        capacity: "spot" or "on-demand".
        provider: one of `PROVIDERS`.
        nodes: how many.
        cpu: of each node; see `NodeConfig`.
        memory: of each node.
        zones: the nodes take turns in them.
        labels: beside the provider's.
        taints: in place of the provider's.
        kwok: whether the nodes are played by kwok. They have a taint more: only what asks for them gets there.

    """

    name: str
    capacity: str
    provider: str = "karpenter"
    nodes: int = 2
    cpu: str = "8"
    memory: str = "8Gi"
    zones: tuple[str, ...] = ("lab-a", "lab-b")
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] | None = None
    kwok: bool = False

    def expand(self) -> tuple[NodeConfig, ...]:
        """The nodes, called NAME-1, NAME-2 and so on."""
        provider = PROVIDERS[self.provider]
        marks = provider.spot if self.capacity == SPOT else provider.on_demand
        taints = self.taints
        if taints is None:
            tainted = provider.taints_spot and self.capacity == SPOT
            taints = tuple({"key": k, "value": v, "effect": "NoSchedule"} for k, v in marks.items()) if tainted else ()
        return tuple(
            NodeConfig(
                name=f"{self.name}-{number}",
                labels={provider.pool: self.name, ZONE: zone} | marks | self.labels,
                taints=(*taints, KWOK_TAINT) if self.kwok else taints,
                cpu=self.cpu,
                memory=self.memory,
                pool=self.name,
                capacity=self.capacity,
                kwok=self.kwok,
            )
            for number, zone in zip(range(1, self.nodes + 1), cycle(self.zones), strict=False)
        )


def kwok_pools(nodes: int) -> tuple[PoolConfig, ...]:
    """So many played nodes, half of them spot."""
    sizes = {SPOT: nodes // 2, ON_DEMAND: nodes - nodes // 2}
    return tuple(PoolConfig(f"kwok-{name}", name, nodes=size, kwok=True) for name, size in sizes.items())


DEFAULT_POOLS = (PoolConfig("spot", SPOT), PoolConfig("on-demand", ON_DEMAND))
