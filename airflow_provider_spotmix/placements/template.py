"""Placement ``template``: executors are born gated; one atomic patch each puts them on their pool and lifts the gate.

Kubernetes permits tightening a gated pod in the very patch that lifts its last gate, since the check looks at the old
object (https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/). GA since Kubernetes 1.30.
"""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.errors import InvalidInputError, shown
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.part import ExecutorCount
from airflow_provider_spotmix.manifests.pod_template import add_to_map, expressions, pointer
from airflow_provider_spotmix.placements.base import Draft, Groups, JsonPatch

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


class Template:
    """One application; the controller places each of its executors."""

    name = "template"

    def drafts(self, count: ExecutorCount, mix: Mix, groups: Groups) -> tuple[Draft, ...]:
        """One application with a gate on its executors."""
        if groups is not None:
            raise InvalidInputError(
                f"groups is {shown(groups)}, but placement {self.name!r} has none; remove it, or set placement='groups'"
            )
        return (Draft(executor_gates=(labels.GATE,)),)

    def patch(self, pod: Pod, place: Place, pool: Pool) -> JsonPatch:
        """Tests guard the pod and its gate, so that a repeated or late patch changes nothing."""
        gate = [gate.name for gate in pod.spec.scheduling_gates].index(labels.GATE)
        marks = {
            labels.SEAT: str(place.seat),
            labels.SEAT_POOL: place.seat_pool,
            labels.PLACED_POOL: place.pool,
        } | ({labels.FALLBACK: place.fallback} if place.fallback else {})
        notes = {labels.REASON: place.reason, labels.PLACED_AT: f"{place.at:.3f}"}
        tolerations = [*msgspec.to_builtins(pool.tolerations)]
        return [
            {"op": "test", "path": "/metadata/uid", "value": pod.metadata.uid},
            {"op": "test", "path": pointer("spec", "schedulingGates", str(gate), "name"), "value": labels.GATE},
            {"op": "remove", "path": pointer("spec", "schedulingGates", str(gate))},
            *add_to_map(("spec", "nodeSelector"), pod.spec.node_selector, pool.node_selector),
            *_affinity(pod, pool, place.avoid),
            *_append(("spec", "tolerations"), bool(pod.spec.tolerations), tolerations),
            *add_to_map(("metadata", "labels"), pod.metadata.labels, marks),
            *add_to_map(("metadata", "annotations"), pod.metadata.annotations, notes),
        ]


def _append(path: tuple[str, ...], present: bool, items: list[Any]) -> JsonPatch:
    if not items:
        return []
    if not present:
        return [{"op": "add", "path": pointer(*path), "value": items}]
    return [{"op": "add", "path": pointer(*path, "-"), "value": item} for item in items]


def _affinity(pod: Pod, pool: Pool, avoid: tuple[str, ...]) -> JsonPatch:
    """A gated pod's affinity may only be tightened: expressions are added to every term that is there."""
    wanted: dict[str, list[dict[str, Any]]] = {}
    if pool.node_requirements:
        wanted["matchExpressions"] = expressions(pool.node_requirements)
    if avoid:
        # Kubernetes takes one value in each.
        wanted["matchFields"] = [{"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in avoid]
    if not wanted:
        return []
    node_affinity = pod.spec.affinity.get("nodeAffinity")
    terms = ((node_affinity or {}).get(_REQUIRED) or {}).get("nodeSelectorTerms")
    if terms:
        return [
            operation
            for number, term in enumerate(terms)
            for kind, items in wanted.items()
            for operation in _append(
                ("spec", "affinity", "nodeAffinity", _REQUIRED, "nodeSelectorTerms", str(number), kind),
                bool(term.get(kind)),
                items,
            )
        ]
    required = {"nodeSelectorTerms": [wanted]}
    if node_affinity:
        return [{"op": "add", "path": pointer("spec", "affinity", "nodeAffinity", _REQUIRED), "value": required}]
    if pod.spec.affinity:
        return [{"op": "add", "path": pointer("spec", "affinity", "nodeAffinity"), "value": {_REQUIRED: required}}]
    return [{"op": "add", "path": pointer("spec", "affinity"), "value": {"nodeAffinity": {_REQUIRED: required}}}]
