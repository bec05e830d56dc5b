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

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def executor_template(
    template: Mapping[str, Any] | None,
    *,
    pod_labels: Mapping[str, str],
    gates: Sequence[str],
    grace_seconds: int | None = None,
    pool: Pool | None = None,
) -> Json:
    """A person's executor template (or none) with our labels and scheduling gates.

    Args:
        template: the person's; not changed.
        pod_labels: labels to add.
        gates: scheduling gates to add.
        grace_seconds: termination grace period if the template has none; None leaves Kubernetes' own (30 s).
        pool: the pool that executors are born on; None when each is placed later.

    Raises:
        InvalidInputError: the template carries one of the gates already.

    """
    result = _with_metadata(template, pod_labels)
    spec = result["spec"]
    present = [gate.get("name") for gate in spec.get("schedulingGates") or []]
    for gate in gates:
        if gate in present:
            raise InvalidInputError(
                f"spec.schedulingGates of the executor template has {gate!r}, which this provider adds; remove it"
            )
    _add_gates(spec, gates)
    if pool:
        result["metadata"]["labels"] |= pool_labels(pool)
        pin(spec, pool)
    if grace_seconds is not None and spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = grace_seconds
    if not spec.get("containers"):
        spec["containers"] = [{"name": labels.EXECUTOR_CONTAINER}]
    return result


def pool_labels(pool: Pool) -> dict[str, str]:
    """Labels of an executor that is born on its pool."""
    return {labels.SEAT_POOL: pool.name, labels.PLACED_POOL: pool.name}


def driver_template(
    template: Mapping[str, Any] | None, *, pod_labels: Mapping[str, str], pool: Pool, gates: Sequence[str] = ()
) -> Json:
    """A person's driver template (or none) with our labels and gates, pinned to a pool.

    Raises:
        InvalidInputError: the template selects other nodes than the pool's.

    """
    result = _with_metadata(template, pod_labels)
    spec = result["spec"]
    selector = spec.get("nodeSelector") or {}
    for key, value in pool.node_selector.items():
        if selector.get(key, value) != value:
            raise InvalidInputError(
                f"the driver's nodeSelector {key}={selector[key]} contradicts pool {pool.name!r} ({key}={value}): the"
                " driver always runs on on-demand; remove the key"
            )
    pin(spec, pool)
    _add_gates(spec, gates)
    if not spec.get("containers"):
        spec["containers"] = [{"name": labels.DRIVER_CONTAINER}]
    return result


def pin(spec: Json, pool: Pool) -> None:
    """Put a pod's spec onto a pool: in place, after everything that is there."""
    if pool.node_selector:
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **pool.node_selector}
    if pool.node_requirements:
        _require(spec, pool.node_requirements)
    if pool.tolerations:
        spec["tolerations"] = [*(spec.get("tolerations") or []), *msgspec.to_builtins(pool.tolerations)]


def unpin(spec: Json, pool: Pool) -> None:
    """Take back what `pin` has done, in place. What becomes empty goes, as if it had never been there."""
    selector = {key: value for key, value in (spec.get("nodeSelector") or {}).items() if key not in pool.node_selector}
    _keep_unless_empty(spec, "nodeSelector", selector)
    tolerations = list(spec.get("tolerations") or [])
    _keep_unless_empty(spec, "tolerations", _without_last(tolerations, msgspec.to_builtins(pool.tolerations)))
    if pool.node_requirements:
        _no_longer_require(spec, pool.node_requirements)


def _add_gates(spec: Json, gates: Sequence[str]) -> None:
    if gates:
        spec["schedulingGates"] = [*(spec.get("schedulingGates") or []), *({"name": gate} for gate in gates)]


def _keep_unless_empty(parent: Json, key: str, value: Any) -> None:
    parent.pop(key, None)
    if value:
        parent[key] = value


def _without_last(items: list[Json], ours: Sequence[Json]) -> list[Json]:
    """The items without the last one of each of ours: we add at the end."""
    kept = items[::-1]
    for each in ours:
        if each in kept:
            kept.remove(each)
    return kept[::-1]


def _no_longer_require(spec: Json, requirements: Sequence[NodeRequirement]) -> None:
    affinity = dict(spec.get("affinity") or {})
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    terms = (node_affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    kept = []
    for term in terms:
        others = _without_last(list(term.get("matchExpressions") or []), expressions(requirements))
        rest = {key: value for key, value in term.items() if key != "matchExpressions"}
        kept.append({**rest, "matchExpressions": others} if others else rest)
    _keep_unless_empty(node_affinity, _REQUIRED, {"nodeSelectorTerms": kept} if any(kept) else {})
    _keep_unless_empty(affinity, "nodeAffinity", node_affinity)
    _keep_unless_empty(spec, "affinity", affinity)


def _with_metadata(template: Mapping[str, Any] | None, pod_labels: Mapping[str, str]) -> Json:
    result: Json = copy.deepcopy(dict(template or {}))
    metadata = _mapping_in(result, "metadata")
    metadata["labels"] = {**(metadata.get("labels") or {}), **pod_labels}
    # An annotation of our own, so that a JSON patch can later add one without replacing the whole map.
    metadata["annotations"] = {**(metadata.get("annotations") or {}), labels.MANAGED_BY: labels.MANAGER}
    _mapping_in(result, "spec")
    return result


def _mapping_in(parent: Json, key: str) -> Json:
    """The mapping under a key; a new one in the place of none or null, as YAML's empty ``key:`` is read."""
    if parent.get(key) is None:
        parent[key] = {}
    found: Json = parent[key]
    return found


def _require(spec: Json, requirements: Sequence[NodeRequirement]) -> None:
    """Add expressions to every required node affinity term, or make one."""
    affinity = _mapping_in(_mapping_in(spec, "affinity"), "nodeAffinity")
    required = _mapping_in(affinity, _REQUIRED)
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
