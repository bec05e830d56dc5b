"""Karpenter v1 on AWS. One taint for everything; its Events tell what it is.

https://karpenter.sh/docs/concepts/disruption/ and its sources: karpenter pkg/controllers/disruption (taint of a
candidate, taken back when the command fails; Event DisruptionTerminating), pkg/controllers/node/termination (taint,
label, eviction), karpenter-provider-aws pkg/controllers/interruption (Events of the node and, in newer versions, of its
pods).
"""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_spotmix.lab.api import Json
from airflow_provider_spotmix.lab.signals.scene import (
    Scene,
    Signal,
    countdown,
    delete_node,
    drain,
    edit_list,
    event,
    evict,
    has_ended,
    pods_of,
    taint,
    untaint,
)

DISRUPTED = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
FINALIZER = "karpenter.sh/termination"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
_EXCLUDE_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers"
_CRITICAL = ("system-cluster-critical", "system-node-critical")


def _interrupted(scene: Scene) -> None:
    """The cloud's notice has come: everybody is told, and the node is terminated in the time that is left."""
    said = "Spot interruption warning was triggered"
    _tell(scene, "SpotInterrupted", said)
    for pod in pods_of(scene.api, scene.node):
        event(scene.api, pod, "Pod", "SpotInterrupted", said, component="karpenter")
    _mark_deleted(scene)
    _tell(scene, "TerminatingOnInterruption", "Interruption triggered termination for the Node")
    _terminate(scene)


def _disrupted(why: str) -> Callable[[Scene], None]:
    """Karpenter's own decision: the taint first, then the deletion, with an Event for both."""

    def play(scene: Scene) -> None:
        taint(scene, DISRUPTED)
        _tell(scene, "DisruptionTerminating", f"Disrupting Node: {why}", warning=False)
        _mark_deleted(scene)
        _terminate(scene)

    return play


def _expired(scene: Scene) -> None:
    """Its time is over: it is deleted, and no Event says why."""
    _mark_deleted(scene)
    _terminate(scene)


def _withdrawn(scene: Scene) -> None:
    """A consolidation that is given up: the replacement did not come."""
    taint(scene, DISRUPTED)
    countdown(scene, "until it is given up")
    untaint(scene, DISRUPTED["key"])


def _rebalance(scene: Scene) -> None:
    """A recommendation: Karpenter says so and does nothing."""
    _tell(scene, "SpotRebalanceRecommendation", "Spot rebalance recommendation was triggered", warning=False)


def _mark_deleted(scene: Scene) -> None:
    """The finalizer holds the object."""
    where = ("metadata", "finalizers")
    edit_list(scene.api, scene.path, where, lambda old: [*(each for each in old if each != FINALIZER), FINALIZER])
    scene.api.delete(scene.path)


def _terminate(scene: Scene) -> None:
    """The machine goes when all pods have left, or when the time is over; then the Node object does."""
    taint(scene, DISRUPTED)
    scene.api.patch(scene.path, {"metadata": {"labels": {_EXCLUDE_BALANCERS: "karpenter"}}})
    drain(scene, lambda: _evict_in_order(scene))
    scene.machines.kill(scene.node)
    delete_node(scene.api, scene.node, FINALIZER)


def _tell(scene: Scene, reason: str, message: str, *, warning: bool = True) -> None:
    node = scene.api.get(scene.path)
    event(scene.api, node, "Node", reason, message, component="karpenter", warning=warning)


def _evict_in_order(scene: Scene) -> list[Json]:
    """Evict the first group that has pods, as Karpenter orders them; returns the pods that have not left yet."""
    waiting = [pod for pod in pods_of(scene.api, scene.node) if is_drainable(pod)]
    turn = min(map(eviction_order, waiting), default=0)
    for pod in waiting:
        leaving = pod["metadata"].get("deletionTimestamp")
        if eviction_order(pod) == turn and not leaving and not _must_not_be_disrupted(pod):
            evict(scene.api, pod)
    return waiting


def is_drainable(pod: Json) -> bool:
    """Whether a drain waits for the pod to leave: it has not ended, is not static, does not tolerate the taint."""
    static = any(owner["kind"] == "Node" for owner in pod["metadata"].get("ownerReferences") or [])
    return not has_ended(pod) and not static and not _tolerates_disruption(pod)


def eviction_order(pod: Json) -> int:
    """Karpenter's order: 0 ordinary pods, 1 those of daemon sets, 2 and 3 the critical ones likewise."""
    owners = pod["metadata"].get("ownerReferences") or []
    of_daemon_set = any(owner["kind"] == "DaemonSet" for owner in owners)
    critical = pod["spec"].get("priorityClassName") in _CRITICAL
    return 2 * critical + of_daemon_set


def _must_not_be_disrupted(pod: Json) -> bool:
    return (pod["metadata"].get("annotations") or {}).get(DO_NOT_DISRUPT) == "true"


def _tolerates_disruption(pod: Json) -> bool:
    def matches(toleration: Json) -> bool:
        effect = toleration.get("effect") or DISRUPTED["effect"]
        key = toleration.get("key") or (DISRUPTED["key"] if toleration.get("operator") == "Exists" else "")
        value = toleration.get("operator") == "Exists" or not toleration.get("value")
        return effect == DISRUPTED["effect"] and key == DISRUPTED["key"] and value

    return any(matches(toleration) for toleration in pod["spec"].get("tolerations") or [])


SIGNALS = {
    "karpenter": Signal("spot interruption, as Karpenter handles it on AWS", 120.0, _interrupted),
    "karpenter-consolidation": Signal("Karpenter consolidates the node", 120.0, _disrupted("Underutilized/Replace")),
    "karpenter-drift": Signal("Karpenter replaces a node that has drifted", 120.0, _disrupted("Drifted/Replace")),
    "karpenter-expiry": Signal("Karpenter replaces a node that is too old", 120.0, _expired),
    "karpenter-withdrawn": Signal("Karpenter begins to consolidate the node, and gives up", 10.0, _withdrawn, "stays"),
    "karpenter-rebalance": Signal("a rebalance recommendation, as Karpenter passes it on", 0.0, _rebalance, "stays"),
}
