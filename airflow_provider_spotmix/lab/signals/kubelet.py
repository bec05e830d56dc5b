"""Kubelet: graceful node shutdown, which is all that most GKE spot nodes show.

Sources: kubernetes pkg/kubelet/nodeshutdown (Failed, reason Terminated, DisruptionTarget TerminationByKubelet; the
condition Ready says that the node is shutting down), https://cloud.google.com/kubernetes-engine/docs/concepts/spot-vms
(25 s for our pods at most, after 5 s for the system's).
"""

from __future__ import annotations

import time

from airflow_provider_spotmix.lab.signals.scene import (
    POLL_SECONDS,
    STRATEGIC,
    Scene,
    Signal,
    disrupt,
    fail,
    now,
    switch_off,
    taint,
    workload,
)

_MESSAGE = "Pod was terminated in response to imminent node shutdown."


def shut_down(scene: Scene) -> None:
    """The node says that it shuts down; its pods have the lead time to end, then they fail and the machine goes."""
    deadline = time.monotonic() + scene.lead_seconds
    while True:
        _say(scene)  # again and again: the node's own heartbeat knows nothing of it
        left = deadline - time.monotonic()
        if left <= 0 or not workload(scene):
            break
        scene.step.update(f"{left:.0f} s until its pods are ended")
        time.sleep(min(left, POLL_SECONDS))
    for pod in workload(scene):
        disrupt(scene.api, pod, "TerminationByKubelet", _MESSAGE)
        fail(scene.api, pod, "Terminated", _MESSAGE)
    switch_off(scene)


def _say(scene: Scene) -> None:
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "KubeletNotReady",
        "message": "node is shutting down",
        "lastHeartbeatTime": now(),
        "lastTransitionTime": now(),
    }
    scene.api.patch(f"{scene.path}/status", {"status": {"conditions": [condition]}}, STRATEGIC)


def _announced(scene: Scene) -> None:
    """Nodes with a handler for maintenance events are tainted before."""
    taint(scene, {"key": "cloud.google.com/impending-node-termination", "effect": "NoSchedule"})
    shut_down(scene)


SIGNALS = {
    "gke": Signal("spot preemption on GKE: the kubelet shuts down", 15.0, shut_down),
    "gke-termination": Signal("GKE taints the node, then the kubelet shuts down", 30.0, _announced),
}
