"""Translate Kubernetes objects into the core's facts. Pure: no calls, no clock."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from airflow_provider_spotmix.core.events import NodeFacts, PodFacts
from airflow_provider_spotmix.core.interruption import KNOWN_TAINTS, SHUTTING_DOWN
from airflow_provider_spotmix.manifests import labels

if TYPE_CHECKING:
    from airflow_provider_spotmix.kube.objects import Condition, ContainerStateTerminated, Node, Pod, Timestamp


# Of the scheduler's words, which name every reason of every node.
MAX_REASON = 300


def pod_facts(pod: Pod) -> PodFacts | None:
    """Facts of an executor pod; None for any other pod and for one that Spark has not numbered."""
    marks = pod.metadata.labels
    number = marks.get(labels.SPARK_EXECUTOR_ID, "")
    if marks.get(labels.SPARK_ROLE) != "executor" or not number.isdecimal():
        return None
    scheduled = _condition(pod.status.conditions, "PodScheduled")
    disruption = _condition(pod.status.conditions, "DisruptionTarget")
    ended = _ended(pod)
    seat = marks.get(labels.SEAT, "")
    return PodFacts(
        uid=pod.metadata.uid,
        name=pod.metadata.name,
        executor_id=int(number),
        phase=pod.status.phase,
        gated=any(gate.name == labels.GATE for gate in pod.spec.scheduling_gates),
        node=pod.spec.node_name,
        deleting=pod.metadata.deletion_timestamp is not None,
        created_at=_seconds(pod.metadata.creation_timestamp) or 0.0,
        scheduled_at=_seconds(scheduled.last_transition_time) if scheduled else None,
        finished_at=_seconds(ended.finished_at) if ended else None,
        disruption=disruption.reason if disruption else "",
        reason=pod.status.reason,
        exit_code=ended.exit_code if ended else None,
        exit_reason=ended.reason if ended else "",
        seat=int(seat) if seat.isdecimal() else None,
        seat_pool=marks.get(labels.SEAT_POOL, ""),
        placed_pool=marks.get(labels.PLACED_POOL, ""),
        placed_at=_number(pod.metadata.annotations.get(labels.PLACED_AT, "")),
        fallback=marks.get(labels.FALLBACK, ""),
        unschedulable=_unschedulable(pod),
    )


def is_driver(pod: Pod) -> bool:
    """Whether it is the pod of a Spark driver."""
    return pod.metadata.labels.get(labels.SPARK_ROLE) == "driver"


def waits_for(pod: Pod) -> str:
    """Why a pod does not run yet, in the scheduler's or the kubelet's words; empty when nobody says."""
    unscheduled = next((c for c in pod.status.conditions if c.type == "PodScheduled" and c.status == "False"), None)
    waiting = (status.state.waiting for status in pod.status.container_statuses)
    said = unscheduled or next((state for state in waiting if state is not None and state.reason), None)
    if said is None:
        return ""
    return f"{said.reason}: {said.message}" if said.message else said.reason


def node_facts(node: Node) -> NodeFacts:
    """Facts of a node. A node without a Ready condition has just registered and is not ready."""
    ready = next((condition for condition in node.status.conditions if condition.type == "Ready"), None)
    is_ready = ready is not None and ready.status == "True"
    return NodeFacts(
        name=node.metadata.name,
        uid=node.metadata.uid,
        ready=is_ready,
        ready_changed_at=(_seconds(ready.last_transition_time) or 0.0) if ready else 0.0,
        # One key may be there with several effects.
        taints=tuple(dict.fromkeys(taint.key for taint in node.spec.taints if taint.key in KNOWN_TAINTS)),
        deleting=node.metadata.deletion_timestamp is not None,
        shutting_down=ready is not None and not is_ready and SHUTTING_DOWN in ready.message,
    )


def _unschedulable(pod: Pod) -> str:
    """Why no node takes the pod, when the scheduler has tried. It has not while the pod is gated, or it is down."""
    said = next((c for c in pod.status.conditions if c.type == "PodScheduled" and c.status == "False"), None)
    return said.message[:MAX_REASON] or said.reason if said and said.reason == "Unschedulable" else ""


def _number(text: str) -> float | None:
    """Return what is written there, if it is a time."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _seconds(time: Timestamp | None) -> float | None:
    """Return a plain number: the core writes it down, and only plain values can be."""
    return None if time is None else float(time)


def _condition(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """Return the condition of that type if it holds."""
    return next((c for c in conditions if c.type == kind and c.status == "True"), None)


def _ended(pod: Pod) -> ContainerStateTerminated | None:
    statuses = pod.status.container_statuses
    main = next((s for s in statuses if s.name == labels.EXECUTOR_CONTAINER), statuses[0] if statuses else None)
    return main.state.terminated if main else None
