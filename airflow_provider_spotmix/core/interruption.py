"""Why an executor is going away: evidence in, cause out. Pure.

One table, `SIGNS`, has every sign that is understood: what it means, whether it announces a node's end early enough to
act, and whether it proves that the node is gone. docs/interruptions.md shows the same table. A loss is a spot
interruption only when our own placement says spot, a sign says that the infrastructure took it, and none says
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from airflow_provider_spotmix.core.events import NodeFacts, PodFacts
from airflow_provider_spotmix.core.history import Cause


class Where(StrEnum):
    """Where a sign is seen."""

    TAINT = "taint of the node"
    NODE = "the node"
    EVENT = "Event of the node or the pod"
    DISRUPTION = "pod condition `DisruptionTarget`"
    REASON = "pod `status.reason`"


class Meaning(StrEnum):
    """What a sign says of an executor's loss."""

    MARKET = "spot interruption"  # nothing but a spot interruption writes it
    TAKEN = "the infrastructure took it"  # on spot that is an interruption, unless another sign says otherwise
    OTHER = "other infrastructure"  # certainly not a spot interruption
    UNCLEAR = "what its Events say"  # Karpenter's taint, once the node is being deleted; before that, nothing
    NOTHING = "nothing yet"  # something may happen: no evidence, and no reason to act


class Sign(NamedTuple):
    """One sign.

    Attributes:
        key: of the taint, or the reason of a condition, an Event or a pod.
        where: it is seen.
        meaning: for the loss of an executor.
        writer: who writes it, and when.
        announces: the node will surely go, and there is time: executors on it are asked to leave at once.
        proves_gone: the machine is stopped, so what still seems to run there does not.

    """

    key: str
    where: Where
    meaning: Meaning
    writer: str
    announces: bool = False
    proves_gone: bool = False


KARPENTER_TAINT = "karpenter.sh/disrupted"
SHUTTING_DOWN = "node is shutting down"
NOT_READY = "not ready"
GONE = "gone"

# Sources, beside https://kubernetes.io/docs/reference/labels-annotations-taints/ and
# https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions:
#   Karpenter: kubernetes-sigs/karpenter pkg/controllers/{disruption,node/termination}, aws/karpenter-provider-aws
#     pkg/controllers/interruption/events (of the node in `default`; newer versions also of each pod on it).
#   AWS node termination handler: aws/aws-node-termination-handler pkg/node/node.go; only with taintNode=true (default
#     false), else it cordons and evicts. So do EKS managed node groups.
#   GKE: the taint is known to kubernetes/autoscaler cluster-autoscaler/utils/taints/taints.go; nodes that only spot
#     preemption ends have kubelet's graceful shutdown alone, kubernetes pkg/kubelet/nodeshutdown.
#   AKS: https://learn.microsoft.com/azure/aks/node-auto-drain; node auto-repair sets the same taint. Earlier it was
#     remediator.aks.microsoft.com/unschedulable (AKS release notes).
#   cluster-autoscaler: utils/taints/taints.go; the taint is removed when the scale-down is given up.
_NTH = "aws-node-termination-handler"
SIGNS: tuple[Sign, ...] = (
    Sign(KARPENTER_TAINT, Where.TAINT, Meaning.UNCLEAR, "Karpenter: interruption, consolidation, drift, expiry"),
    Sign("SpotInterrupted", Where.EVENT, Meaning.MARKET, "Karpenter: the cloud's notice", announces=True),
    Sign("DisruptionTerminating", Where.EVENT, Meaning.OTHER, "Karpenter: consolidation, drift"),
    Sign("InstanceUnhealthy", Where.EVENT, Meaning.OTHER, "Karpenter: the cloud's scheduled change", announces=True),
    Sign("InstanceStopping", Where.EVENT, Meaning.OTHER, "Karpenter: somebody stops the instance", announces=True),
    Sign("InstanceTerminating", Where.EVENT, Meaning.OTHER, "Karpenter: somebody ends the instance", announces=True),
    Sign("SpotRebalanceRecommendation", Where.EVENT, Meaning.NOTHING, "Karpenter, which does nothing about it"),
    Sign(f"{_NTH}/spot-itn", Where.TAINT, Meaning.MARKET, "node termination handler", announces=True),
    Sign(f"{_NTH}/scheduled-maintenance", Where.TAINT, Meaning.OTHER, "node termination handler", announces=True),
    Sign(f"{_NTH}/asg-lifecycle-termination", Where.TAINT, Meaning.OTHER, "node termination handler", announces=True),
    Sign(f"{_NTH}/rebalance-recommendation", Where.TAINT, Meaning.NOTHING, "node termination handler"),
    Sign("cloud.google.com/impending-node-termination", Where.TAINT, Meaning.TAKEN, "GKE", announces=True),
    Sign("remediator.kubernetes.azure.com/unschedulable", Where.TAINT, Meaning.TAKEN, "AKS", announces=True),
    Sign("remediator.aks.microsoft.com/unschedulable", Where.TAINT, Meaning.TAKEN, "AKS, before that", announces=True),
    Sign("ToBeDeletedByClusterAutoscaler", Where.TAINT, Meaning.OTHER, "cluster-autoscaler: scale-down"),
    Sign("DeletionCandidateOfClusterAutoscaler", Where.TAINT, Meaning.NOTHING, "cluster-autoscaler: perhaps later"),
    Sign("node.kubernetes.io/unschedulable", Where.TAINT, Meaning.NOTHING, "cordoned, for whatever reason"),
    Sign("node.kubernetes.io/not-ready", Where.TAINT, Meaning.TAKEN, "node controller: Ready is False"),
    Sign("node.kubernetes.io/unreachable", Where.TAINT, Meaning.TAKEN, "node controller: Ready is Unknown"),
    Sign("node.kubernetes.io/out-of-service", Where.TAINT, Meaning.TAKEN, "whoever saw it stopped", proves_gone=True),
    Sign(
        "node.cloudprovider.kubernetes.io/shutdown",
        Where.TAINT,
        Meaning.TAKEN,
        "cloud controller: the machine is stopped",
        proves_gone=True,
    ),
    Sign(SHUTTING_DOWN, Where.NODE, Meaning.TAKEN, "kubelet, on graceful shutdown: message of Ready", announces=True),
    Sign(NOT_READY, Where.NODE, Meaning.TAKEN, "kubelet or node controller: Ready is not True"),
    Sign(GONE, Where.NODE, Meaning.TAKEN, "its object was deleted", proves_gone=True),
    Sign("EvictionByEvictionAPI", Where.DISRUPTION, Meaning.TAKEN, "a drain: Karpenter, a handler, a person"),
    Sign("DeletionByTaintManager", Where.DISRUPTION, Meaning.TAKEN, "taint manager: NoExecute, as on dead nodes"),
    Sign("DeletionByPodGC", Where.DISRUPTION, Meaning.TAKEN, "pod garbage collector: the node is gone"),
    Sign("TerminationByKubelet", Where.DISRUPTION, Meaning.TAKEN, "kubelet: shutdown; the reason tells"),
    Sign("PreemptionByScheduler", Where.DISRUPTION, Meaning.OTHER, "scheduler: a pod of higher priority"),
    Sign("Terminated", Where.REASON, Meaning.TAKEN, "kubelet: graceful node shutdown"),
    Sign("NodeShutdown", Where.REASON, Meaning.TAKEN, "kubelet: came while the node shuts down"),
    Sign("Shutdown", Where.REASON, Meaning.TAKEN, "kubelet up to Kubernetes 1.21"),
    Sign("NodeLost", Where.REASON, Meaning.TAKEN, "this provider, which rescued it"),
    Sign("Evicted", Where.REASON, Meaning.OTHER, "kubelet: the node runs out of memory, disk or process ids"),
    Sign("Preempting", Where.REASON, Meaning.OTHER, "kubelet: room for a critical pod"),
)


def signs(where: Where) -> dict[str, Sign]:
    """The signs that are seen there, by key."""
    return {sign.key: sign for sign in SIGNS if sign.where is where}


_TAINTS, _NODE, _EVENTS = signs(Where.TAINT), signs(Where.NODE), signs(Where.EVENT)
_DISRUPTIONS, _REASONS = signs(Where.DISRUPTION), signs(Where.REASON)
KNOWN_TAINTS, KNOWN_EVENTS = frozenset(_TAINTS), frozenset(_EVENTS)


class Evidence(NamedTuple):
    """A sign that was seen, in words: which one, where, and when where that is known."""

    sign: Sign
    said: str


def node_evidence(name: str, node: NodeFacts | None, *, gone: bool) -> tuple[Evidence, ...]:
    """What the node itself says about its going away; nothing when it was never seen (nodes may be forbidden to us)."""
    end = (Evidence(_NODE[GONE], f"node {name} is gone"),) if gone else ()
    if node is None:
        return end
    since = f" (seen {clock(node.marked_since)})" if node.marked_since is not None else ""
    taints = (key for key in node.taints if key in _TAINTS and (key != KARPENTER_TAINT or node.deleting))
    found = [Evidence(_TAINTS[key], f"node {name} has taint {key}{since}") for key in taints]
    found += [Evidence(_EVENTS[key], f"Event {key} of node {name}") for key in node.events or () if key in _EVENTS]
    if node.shutting_down:
        found.append(Evidence(_NODE[SHUTTING_DOWN], f"node {name} is shutting down{since}"))
    elif not node.ready:
        found.append(Evidence(_NODE[NOT_READY], f"node {name} is not ready"))
    return (*(each for each in found if each.sign.meaning is not Meaning.NOTHING), *end)


def is_marked(node: NodeFacts) -> bool:
    """Whether the node says anything about its going away."""
    return bool(node_evidence(node.name, node, gone=False))


def proof_of_end(name: str, node: NodeFacts | None, *, gone: bool) -> str:
    """What proves that the machine is stopped; empty when nothing does."""
    return next((each.said for each in node_evidence(name, node, gone=gone) if each.sign.proves_gone), "")


def announcement(node: NodeFacts, *, on_spot: bool) -> tuple[Evidence, ...]:
    """Evidence that the node will surely go: empty when nothing announces that, or it may still be taken back.

    Karpenter's taint alone announces nothing: it is taken back when a consolidation is given up. Once the node is being
    deleted it stays, and its Events tell why. Where they may not be read, it is believed of spot nodes only: Karpenter
    waits for an executor that it must not disrupt, and so do we.
    """
    found = node_evidence(node.name, node, gone=False)
    is_karpenter = KARPENTER_TAINT in node.taints
    if is_karpenter and not node.deleting:
        found = tuple(each for each in found if each.sign.where is not Where.EVENT)
    blind = is_karpenter and node.deleting and node.events_hidden and on_spot
    return found if blind or any(each.sign.announces for each in found) else ()


def needs_events(node: NodeFacts) -> bool:
    """Whether only the node's Events can tell why it goes, and nobody has asked for them."""
    return KARPENTER_TAINT in node.taints and node.deleting and node.events is None


def pod_evidence(pod: PodFacts) -> tuple[Evidence, ...]:
    """What the pod itself says about why it is going away."""
    found = []
    if pod.disruption:
        sign = _DISRUPTIONS.get(pod.disruption, Sign(pod.disruption, Where.DISRUPTION, Meaning.TAKEN, "somebody new"))
        found.append(Evidence(sign, f"pod condition DisruptionTarget: {pod.disruption}"))
    if pod.reason in _REASONS:
        found.append(Evidence(_REASONS[pod.reason], f"pod reason {pod.reason}"))
    return tuple(found)


def judge(evidence: Iterable[Evidence], node: NodeFacts | None, *, on_spot: bool) -> Cause | None:
    """Cause that the evidence speaks for; None when there is none."""
    found = {each.sign.meaning for each in evidence}
    if not found:
        return None
    if not on_spot:
        return Cause.INFRASTRUCTURE
    if Meaning.MARKET in found:
        return Cause.SPOT_INTERRUPTION
    if Meaning.OTHER in found:
        return Cause.INFRASTRUCTURE
    # Until its Events are read, and if they say nothing although they may be read, nobody knows why Karpenter does it.
    is_open = Meaning.UNCLEAR in found and not (node and node.events_hidden)
    return Cause.UNKNOWN if is_open else Cause.SPOT_INTERRUPTION


def attribute(
    pod: PodFacts,
    *,
    on_spot: bool,
    dynamic: bool,
    of_node: tuple[Evidence, ...] = (),
    node: NodeFacts | None = None,
) -> tuple[Cause, tuple[str, ...]]:
    """Cause of an executor's end, and the evidence for it.

    Args:
        pod: its last known state.
        on_spot: whether it was placed on a spot pool.
        dynamic: whether Spark may scale the application down.
        of_node: evidence from `node_evidence`.
        node: the node it is from, if it has been seen.

    """
    of_pod = pod_evidence(pod)
    # Whoever takes a pod away says so on the pod; memory runs out on nodes that go as it does on others.
    if pod.phase == "Failed" and pod.exit_reason == "OOMKilled" and not of_pod:
        return Cause.APPLICATION, (_ended(pod),)
    evidence = of_pod + of_node
    if cause := judge(evidence, node, on_spot=on_spot):
        return cause, tuple(each.said for each in evidence)
    # A deletion ends the process, so the end explains something only without one.
    if pod.phase == "Succeeded" and not pod.deleting:
        return Cause.SCALE_DOWN, ("executor ended by itself",)
    if pod.phase == "Failed" and not pod.deleting:
        return Cause.APPLICATION, (_ended(pod),)
    if dynamic:
        return Cause.SCALE_DOWN, ("deleted without a disruption signal under dynamic allocation",)
    return Cause.UNKNOWN, ("deleted without a disruption signal",)


def clock(seconds: float) -> str:
    """Time of day of a moment, UTC."""
    minutes, second = divmod(int(seconds) % 86400, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}Z"


def _ended(pod: PodFacts) -> str:
    return f"executor ended with exit code {pod.exit_code}" + (f" ({pod.exit_reason})" if pod.exit_reason else "")
