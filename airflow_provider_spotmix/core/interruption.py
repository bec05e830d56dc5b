"""Why an executor is going away: evidence in, cause out. Pure.

The signals and their sources are in docs/interruptions.md. A loss is a spot interruption only when our own placement
says spot *and* a signal says that the infrastructure took it.
"""

from __future__ import annotations

from airflow_provider_spotmix.core.events import NodeFacts, PodFacts
from airflow_provider_spotmix.core.history import Cause

# Taints that mean "this node is going away". karpenter.sh/disrupted also stands for consolidation and drift.
DISRUPTION_TAINTS = (
    "karpenter.sh/disrupted",
    "node.kubernetes.io/out-of-service",
    "node.kubernetes.io/unreachable",
    "node.cloudprovider.kubernetes.io/shutdown",
)
# status.reason that the kubelet writes when the node shuts down or runs out of something.
KUBELET_REASONS = ("Terminated", "NodeShutdown", "Shutdown", "NodeLost")
# DisruptionTarget reasons that a pod of higher priority causes, whatever kind of node it was on.
NOT_OF_THE_NODE = ("PreemptionByScheduler",)


def node_evidence(name: str, node: NodeFacts | None, *, gone: bool) -> tuple[str, ...]:
    """What the node itself says about its going away; nothing when it was never seen (nodes may be forbidden to us)."""
    if gone:
        return (f"node {name} is gone",)
    if node is None:
        return ()
    found = [f"node {name} has taint {taint}" for taint in node.taints if taint in DISRUPTION_TAINTS]
    if not node.ready:
        found.append(f"node {name} is not ready")
    return tuple(found)


def pod_evidence(pod: PodFacts) -> tuple[str, ...]:
    """What the pod itself says about why it is going away."""
    found = []
    if pod.disruption:
        found.append(f"pod condition DisruptionTarget: {pod.disruption}")
    if pod.reason in KUBELET_REASONS:
        found.append(f"pod reason {pod.reason}")
    return tuple(found)


def attribute(
    pod: PodFacts, *, on_spot: bool, dynamic: bool, of_node: tuple[str, ...]
) -> tuple[Cause, tuple[str, ...]]:
    """Cause of an executor's end, and the evidence for it.

    Args:
        pod: its last known state.
        on_spot: whether it was placed on a spot pool.
        dynamic: whether Spark may scale the application down.
        of_node: evidence from `node_evidence`.

    """
    evidence = pod_evidence(pod) + of_node
    if evidence:
        taken_by_cloud = on_spot and pod.disruption not in NOT_OF_THE_NODE
        return (Cause.SPOT_INTERRUPTION if taken_by_cloud else Cause.INFRASTRUCTURE), evidence
    # A deletion ends the process, so the end explains something only without one. Nobody deletes a pod out of memory.
    if pod.phase == "Succeeded" and not pod.deleting:
        return Cause.SCALE_DOWN, ("executor ended by itself",)
    if pod.phase == "Failed" and (not pod.deleting or pod.exit_reason == "OOMKilled"):
        said = f"executor ended with exit code {pod.exit_code}" + (f" ({pod.exit_reason})" if pod.exit_reason else "")
        return Cause.APPLICATION, (said,)
    if dynamic:
        return Cause.SCALE_DOWN, ("deleted without a disruption signal under dynamic allocation",)
    return Cause.UNKNOWN, ("deleted without a disruption signal",)
