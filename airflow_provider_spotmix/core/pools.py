"""Pools: named sets of nodes with one capacity type, and how an executor gets onto them."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class CapacityType(StrEnum):
    """How a cloud sells a node, in Karpenter's words."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"


class Toleration(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One toleration that an executor needs to run on a pool's nodes (Kubernetes' own field names)."""

    key: str
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class NodeRequirement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node affinity expression, for pools that a nodeSelector cannot name.

    GKE and AKS mark on-demand by the absence of a label.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Pool(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named set of nodes with one capacity type: how to select it and what to tolerate there."""

    name: str
    capacity_type: CapacityType
    node_selector: dict[str, str] = {}
    node_requirements: tuple[NodeRequirement, ...] = ()
    tolerations: tuple[Toleration, ...] = ()

    @property
    def is_spot(self) -> bool:
        """Whether the cloud may take these nodes back."""
        return self.capacity_type is CapacityType.SPOT


# https://karpenter.sh/docs/concepts/scheduling/#well-known-labels; the toleration matches the taint that Karpenter's
# documentation and most NodePools use to keep other work off spot. An untainted NodePool is not harmed by it.
KARPENTER_CAPACITY_TYPE = "karpenter.sh/capacity-type"
KARPENTER = (
    Pool(
        name="spot",
        capacity_type=CapacityType.SPOT,
        node_selector={KARPENTER_CAPACITY_TYPE: "spot"},
        tolerations=(Toleration(key=KARPENTER_CAPACITY_TYPE, value="spot", effect="NoSchedule"),),
    ),
    Pool(
        name="on-demand",
        capacity_type=CapacityType.ON_DEMAND,
        node_selector={KARPENTER_CAPACITY_TYPE: "on-demand"},
    ),
)

# https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
EKS_CAPACITY_TYPE = "eks.amazonaws.com/capacityType"
EKS = (
    Pool(name="spot", capacity_type=CapacityType.SPOT, node_selector={EKS_CAPACITY_TYPE: "SPOT"}),
    Pool(name="on-demand", capacity_type=CapacityType.ON_DEMAND, node_selector={EKS_CAPACITY_TYPE: "ON_DEMAND"}),
)

# https://cloud.google.com/kubernetes-engine/docs/concepts/spot-vms: only spot nodes have the label; the taint is
# the one that the documentation gives for node pools that other work should stay off.
GKE_SPOT = "cloud.google.com/gke-spot"
GKE = (
    Pool(
        name="spot",
        capacity_type=CapacityType.SPOT,
        node_selector={GKE_SPOT: "true"},
        tolerations=(Toleration(key=GKE_SPOT, value="true", effect="NoSchedule"),),
    ),
    Pool(
        name="on-demand",
        capacity_type=CapacityType.ON_DEMAND,
        node_requirements=(NodeRequirement(key=GKE_SPOT, operator="DoesNotExist"),),
    ),
)

# https://learn.microsoft.com/azure/aks/spot-node-pool: AKS sets both the label and the taint on spot node pools.
AKS_PRIORITY = "kubernetes.azure.com/scalesetpriority"
AKS = (
    Pool(
        name="spot",
        capacity_type=CapacityType.SPOT,
        node_selector={AKS_PRIORITY: "spot"},
        tolerations=(Toleration(key=AKS_PRIORITY, value="spot", effect="NoSchedule"),),
    ),
    Pool(
        name="on-demand",
        capacity_type=CapacityType.ON_DEMAND,
        node_requirements=(NodeRequirement(key=AKS_PRIORITY, operator="NotIn", values=("spot",)),),
    ),
)

PRESETS: dict[str, tuple[Pool, ...]] = {"karpenter": KARPENTER, "eks": EKS, "gke": GKE, "aks": AKS}
