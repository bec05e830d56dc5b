"""What hits executors and not their node: each acts on the executors that run there, the node stays.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions,
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_spotmix.lab.api import Json
from airflow_provider_spotmix.lab.signals.scene import Scene, Signal, countdown, disrupt, fail, pod_path, workload


def _each(hit: Callable[[Scene, Json], None]) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        countdown(scene, "until it happens")
        for pod in workload(scene):
            if (pod["metadata"].get("labels") or {}).get("spark-role") == "executor":
                hit(scene, pod)

    return play


def _preempt(scene: Scene, pod: Json) -> None:
    disrupt(scene.api, pod, "PreemptionByScheduler", "preempted by a pod of higher priority")
    scene.api.delete(pod_path(pod))


def _run_out_of_memory(scene: Scene, pod: Json) -> None:
    fail(scene.api, pod, "", "", exit_reason="OOMKilled")


def _evict_for_pressure(scene: Scene, pod: Json) -> None:
    said = "The node was low on resource: memory."
    disrupt(scene.api, pod, "TerminationByKubelet", said)
    fail(scene.api, pod, "Evicted", said)


def _delete(scene: Scene, pod: Json) -> None:
    scene.api.delete(pod_path(pod))


SIGNALS = {
    "preemption": Signal("executors make room for pods of higher priority", 0.0, _each(_preempt), "stays"),
    "node-pressure": Signal("executors are evicted: the node has no memory", 0.0, _each(_evict_for_pressure), "stays"),
    "oom": Signal("executors are out of memory themselves", 0.0, _each(_run_out_of_memory), "stays"),
    "pod-deletion": Signal("a person deletes the executors", 0.0, _each(_delete), "stays"),
}
