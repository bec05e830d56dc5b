"""AWS node termination handler: cordon, taint if it is told to, drain.

Sources: aws/aws-node-termination-handler pkg/node/node.go (taints, with taintNode=true; the value is the event's id),
pkg/interruptionevent/draincordon (the order), README (what is drained by default). EKS managed node groups do the same
without taints: https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
"""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_spotmix.lab.signals.scene import (
    Scene,
    Signal,
    cordon,
    countdown,
    drain,
    switch_off,
    taint,
    untaint,
)

_PREFIX = "aws-node-termination-handler/"


def _mark(scene: Scene, kind: str) -> None:
    cordon(scene)
    taint(scene, {"key": f"{_PREFIX}{kind}", "value": "event-0", "effect": "NoSchedule"})


def _drained(kind: str) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        if kind:
            _mark(scene, kind)
        else:
            cordon(scene)
        drain(scene)
        switch_off(scene)

    return play


def _recommended(scene: Scene) -> None:
    """With enableRebalanceMonitoring but not enableRebalanceDraining: nobody is evicted."""
    _mark(scene, "rebalance-recommendation")


def _withdrawn(scene: Scene) -> None:
    """The maintenance was cancelled: taint and cordon are taken back."""
    _mark(scene, "scheduled-maintenance")
    countdown(scene, "until it is cancelled")
    untaint(scene, f"{_PREFIX}scheduled-maintenance")
    scene.api.patch(scene.path, {"spec": {"unschedulable": None}})


SIGNALS = {
    "nth": Signal("spot interruption: the handler taints and drains (taintNode=true)", 120.0, _drained("spot-itn")),
    "nth-untainted": Signal("spot interruption: the handler, or EKS, only cordons and drains", 120.0, _drained("")),
    "nth-maintenance": Signal("scheduled maintenance: the handler drains", 120.0, _drained("scheduled-maintenance")),
    "nth-asg": Signal("the Auto Scaling group ends the instance", 120.0, _drained("asg-lifecycle-termination")),
    "nth-rebalance": Signal("a rebalance recommendation: the handler marks the node", 0.0, _recommended, "is marked"),
    "nth-withdrawn": Signal("scheduled maintenance that is cancelled", 10.0, _withdrawn, "stays"),
}
