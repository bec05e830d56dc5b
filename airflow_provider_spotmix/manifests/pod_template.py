"""Pod templates and patches of live pods: how a pod gets onto a pool."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.pools import NodeRequirement, Pool
from airflow_provider_spotmix.manifests import labels

Json = dict[str, Any]


def executor_template(
    template: Mapping[str, Any] | None, *, pod_labels: Mapping[str, str], gates: Sequence[str]
) -> Json:
    """A person's executor template (or none) with our labels and scheduling gates.

    Raises:
        InvalidInputError: the template carries one of the gates already.

    """
    result = _with_metadata(template, pod_labels)
    spec = result["spec"]
    present = [gate.get("name") for gate in spec.get("schedulingGates") or []]
    for gate in gates:
        if gate in present:
            raise InvalidInputError(
                f"the executor template carries the scheduling gate {gate!r}, which this provider adds; remove it"
            )
    if gates:
        spec["schedulingGates"] = [*(spec.get("schedulingGates") or []), *({"name": gate} for gate in gates)]
    if not spec.get("containers"):
        spec["containers"] = [{"name": labels.EXECUTOR_CONTAINER}]
    return result


def driver_template(template: Mapping[str, Any] | None, *, pod_labels: Mapping[str, str], pool: Pool) -> Json:
    """A person's driver template (or none) with our labels, pinned to a pool.

    Raises:
        InvalidInputError: the template selects other nodes than the pool's.

    """
    result = _with_metadata(template, pod_labels)
    spec = result["spec"]
    selector = dict(spec.get("nodeSelector") or {})
    for key, value in pool.node_selector.items():
        if selector.get(key, value) != value:
            raise InvalidInputError(
                f"the driver's nodeSelector {key}={selector[key]} contradicts pool {pool.name!r} ({key}={value}): the"
                " driver always runs on on-demand; remove the key"
            )
        selector[key] = value
    if selector:
        spec["nodeSelector"] = selector
    if pool.node_requirements:
        _require(spec, pool.node_requirements)
    if pool.tolerations:
        spec["tolerations"] = [*(spec.get("tolerations") or []), *msgspec.to_builtins(pool.tolerations)]
    if not spec.get("containers"):
        spec["containers"] = [{"name": labels.DRIVER_CONTAINER}]
    return result


def _with_metadata(template: Mapping[str, Any] | None, pod_labels: Mapping[str, str]) -> Json:
    result: Json = copy.deepcopy(dict(template or {}))
    metadata = result.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **pod_labels}
    # An annotation of our own, so that a JSON patch can later add one without replacing the whole map.
    metadata["annotations"] = {**(metadata.get("annotations") or {}), labels.MANAGED_BY: labels.MANAGER}
    if result.get("spec") is None:
        result["spec"] = {}
    return result


def _require(spec: Json, requirements: Sequence[NodeRequirement]) -> None:
    """Add expressions to every required node affinity term, or make one."""
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or []), *expressions(requirements)]}
        for term in terms
    ]


def expressions(requirements: Sequence[NodeRequirement]) -> list[Json]:
    """Node requirements as Kubernetes writes them."""
    return [*msgspec.to_builtins(requirements)]


def pointer(*parts: str) -> str:
    """JSON pointer (RFC 6901) from its unescaped parts."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def add_to_map(path: Sequence[str], present: Mapping[str, str], additions: Mapping[str, str]) -> list[Json]:
    """JSON patch operations that add keys to a map of a live object, whether or not it has that map yet."""
    if not additions:
        return []
    if not present:
        return [{"op": "add", "path": pointer(*path), "value": dict(additions)}]
    return [{"op": "add", "path": pointer(*path, key), "value": value} for key, value in additions.items()]
