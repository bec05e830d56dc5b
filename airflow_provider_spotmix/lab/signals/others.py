"""AKS, cluster-autoscaler, and what a person does to a node.

AKS: https://learn.microsoft.com/azure/aks/node-auto-drain (taint, cordon, drain). cluster-autoscaler:
utils/taints/taints.go and core/scaledown/actuation (taint, eviction, then the machine). `kubectl drain` cordons and
evicts.
"""

from __future__ import annotations

import time

from airflow_provider_spotmix.lab.signals.scene import Scene, Signal, cordon, countdown, drain, switch_off, taint

OUT = "lab.spotmix.io/out"


def _aks(scene: Scene) -> None:
    taint(scene, {"key": "remediator.kubernetes.azure.com/unschedulable", "effect": "NoSchedule"})
    cordon(scene)
    drain(scene)
    switch_off(scene)


def _scaled_down(scene: Scene) -> None:
    taint(scene, {"key": "ToBeDeletedByClusterAutoscaler", "value": str(int(time.time())), "effect": "NoSchedule"})
    drain(scene)
    switch_off(scene)


def _candidate(scene: Scene) -> None:
    """Unneeded for now: the autoscaler would rather have nothing new there."""
    value = str(int(time.time()))
    taint(scene, {"key": "DeletionCandidateOfClusterAutoscaler", "value": value, "effect": "PreferNoSchedule"})


def _drained(scene: Scene) -> None:
    cordon(scene)
    drain(scene)


def _no_execute(scene: Scene) -> None:
    """The cluster's own taint manager removes what does not tolerate it."""
    countdown(scene, "until the taint")
    taint(scene, {"key": OUT, "effect": "NoExecute"})


SIGNALS = {
    "aks": Signal("spot preemption on AKS: node auto-drain", 30.0, _aks),
    "cluster-autoscaler": Signal("scale-down by cluster-autoscaler", 60.0, _scaled_down),
    "cluster-autoscaler-candidate": Signal("cluster-autoscaler may scale down later", 0.0, _candidate, "is marked"),
    "drain": Signal("a person drains the node", 60.0, _drained, "is cordoned"),
    "no-execute": Signal("a NoExecute taint: the taint manager removes the pods", 0.0, _no_execute, "is tainted"),
}
