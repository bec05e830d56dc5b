"""What is refused in a SparkApplication of the Kubeflow operator, before anything is submitted. Pure.

Checked is what we read, add to or depend on. All else is the API server's to judge, by the CRD that is installed there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_spotmix.core.errors import InvalidInputError, at, shown
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.manifests.labels import PREFIX
from airflow_provider_spotmix.manifests.part import ExecutorCount
from airflow_provider_spotmix.manifests.shape import Kind, Shape, check_shape

GROUP, VERSION, KIND = "sparkoperator.k8s.io", "v1beta2", "SparkApplication"
_MAX_EXECUTORS = 150_000  # https://kubernetes.io/docs/setup/best-practices/cluster-large/: pods of a cluster

_CONF = "spec.sparkConf"
_ALLOCATOR = "spark.kubernetes.allocation.pods.allocator"
_NAMESPACE = "spark.kubernetes.namespace"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

_TERM: Shape = {"matchExpressions": [{"key": Kind.TEXT, "operator": Kind.TEXT, "values": [Kind.TEXT]}]}
_AFFINITY: Shape = {
    "nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [_TERM]}, _PREFERRED: [{"preference": _TERM}]},
}
_METADATA: Shape = {"labels": Kind.LABELS, "annotations": Kind.ANNOTATIONS}
_TEMPLATE: Shape = {
    "metadata": _METADATA,
    "spec": {
        "affinity": _AFFINITY,
        "containers": [{"name": Kind.TEXT}],
        "nodeName": Kind.TEXT,
        "nodeSelector": Kind.SELECTOR,
        "schedulingGates": [{"name": Kind.TEXT}],
        "terminationGracePeriodSeconds": Kind.COUNT,
        "tolerations": [{}],
    },
}
_ROLE: dict[str, Shape] = {
    "affinity": {},
    "annotations": Kind.ANNOTATIONS,
    "labels": Kind.LABELS,
    "nodeSelector": Kind.SELECTOR,
    "template": _TEMPLATE,
    "terminationGracePeriodSeconds": Kind.COUNT,
    "tolerations": [{}],
}
_SHAPE: Shape = {
    "metadata": _METADATA,
    "spec": {
        "driver": _ROLE,
        "dynamicAllocation": {
            "enabled": Kind.FLAG,
            "initialExecutors": Kind.COUNT,
            "minExecutors": Kind.COUNT,
            "maxExecutors": Kind.COUNT,
        },
        "executor": {
            **_ROLE,
            "coreRequest": Kind.TEXT,
            "cores": Kind.COUNT,
            "instances": Kind.COUNT,
            "memory": Kind.TEXT,
            "memoryOverhead": Kind.TEXT,
        },
        "mainApplicationFile": Kind.TEXT,
        "memoryOverheadFactor": Kind.TEXT,
        "mode": Kind.TEXT,
        "nodeSelector": Kind.SELECTOR,
        "sparkConf": Kind.TEXTS,
        "type": Kind.TEXT,
    },
}


def check(manifest: Mapping[str, Any]) -> None:
    """Refuse what could not be placed.

    Raises:
        InvalidInputError: the message names field, value and remedy.

    """
    for field, value in (("apiVersion", f"{GROUP}/{VERSION}"), ("kind", KIND)):
        if manifest.get(field) != value:
            raise InvalidInputError(f"{field} is {shown(manifest.get(field))}; the kubeflow backend takes {value!r}")
    for field, section in (("spec", manifest), ("driver", manifest.get("spec")), ("executor", manifest.get("spec"))):
        if isinstance(section, Mapping) and section.get(field) is None:
            raise InvalidInputError(
                f"{'spec' if field == 'spec' else f'spec.{field}'} is missing; a SparkApplication has a mapping there"
            )
    check_shape(manifest, _SHAPE)
    spec = manifest["spec"]
    if (spec.get("mode") or "cluster") != "cluster":
        raise InvalidInputError(f"spec.mode is {shown(spec['mode'])}; only 'cluster' can be placed")
    refuse_affinity("executor", spec["executor"])
    for role in ("driver", "executor"):
        gates = [gate.get("name") or "" for gate in _pod(spec[role]).get("schedulingGates") or []]
        if ours := [gate for gate in gates if gate.startswith(PREFIX)]:
            raise InvalidInputError(
                f"spec.{role}.template.spec.schedulingGates has {shown(ours[0])}; this provider adds its gate"
                " itself, to executors only: remove it"
            )
    if node := _pod(spec["executor"]).get("nodeName"):
        raise InvalidInputError(
            f"spec.executor.template.spec.nodeName is {shown(node)}; executors are put on nodes by the mix: remove it"
        )
    _check_conf(conf(manifest))
    executor_count(manifest)


def _check_conf(found: Mapping[str, str]) -> None:
    for role in ("driver", "executor"):
        file = f"spark.kubernetes.{role}.podTemplateFile"
        if file in found:
            raise InvalidInputError(
                f"{at(_CONF, file)} is {shown(found[file])}, which the operator would ignore; move what it says to"
                f" spec.{role}.template"
            )
    if found.get(_ALLOCATOR, "direct") != "direct":
        raise InvalidInputError(
            f"{at(_CONF, _ALLOCATOR)} is {shown(found[_ALLOCATOR])}; executors can be placed one by one only with"
            " 'direct' (the default): remove it"
        )
    for name in found:
        if re.match(rf"spark\.kubernetes\.(driver|executor)\.(label|annotation)\.{re.escape(PREFIX)}", name):
            raise InvalidInputError(
                f"{_CONF} has {shown(name)}; labels and annotations that begin with {PREFIX!r} are written by this"
                " provider alone, which would take it for its own: remove it"
            )


def check_selectors(manifest: Mapping[str, Any], pools: Sequence[Pool]) -> None:
    """An executor selector on a pool's own key would make half of the placements impossible.

    Raises:
        InvalidInputError: there is one; the message names it.

    """
    keys = {key for pool in pools for key in pool.node_selector}
    keys |= {requirement.key for pool in pools for requirement in pool.node_requirements}
    for field, key, value in _executor_selectors(manifest):
        if key in keys:
            raise InvalidInputError(f"{field} has {key}: {shown(value)}, which the mix decides; remove the key")


def check_driver(manifest: Mapping[str, Any], pool: Pool) -> None:
    """What the webhook, Spark and a template say of the driver's nodes must not contradict its pool.

    Raises:
        InvalidInputError: it does; the message names it.

    """
    driver = manifest["spec"]["driver"]
    template, inside = _pod(driver), "spec.driver.template.spec"
    selectors = [
        *(("spec.driver.nodeSelector", *each) for each in (driver.get("nodeSelector") or {}).items()),
        *((f"{inside}.nodeSelector", *each) for each in (template.get("nodeSelector") or {}).items()),
        *_conf_selectors(manifest, "driver"),
    ]
    for field, key, value in selectors:
        if not _may_be(pool, key, value):
            raise InvalidInputError(
                f"{field} has {key}: {shown(value)}, which contradicts pool {pool.name!r}: the driver always runs on"
                " on-demand; remove the key"
            )
    terms = _required(template)
    if terms and not any(_may_match(term, pool) for term in terms):
        raise InvalidInputError(
            f"{inside}.affinity.nodeAffinity is {shown(terms)}, which contradicts pool {pool.name!r}: the driver always"
            " runs on on-demand; remove what excludes it"
        )
    if pool.node_requirements:
        refuse_affinity("driver", driver)


def _may_be(pool: Pool, key: str, value: str) -> bool:
    """Whether a node of the pool may have this label."""
    wanted = (_allows(each.operator, each.values, value) for each in pool.node_requirements if each.key == key)
    return pool.node_selector.get(key, value) == value and all(wanted)


def _may_match(term: Mapping[str, Any], pool: Pool) -> bool:
    """Whether the labels that all nodes of the pool have leave a node affinity term satisfiable."""
    return all(
        _allows(each.get("operator"), each.get("values") or (), pool.node_selector[each["key"]])
        for each in term.get("matchExpressions") or []
        if each.get("key") in pool.node_selector
    )


def _allows(operator: object, values: Sequence[str], value: str) -> bool:
    """Whether a node whose label has this value may satisfy an expression on it."""
    return {"In": value in values, "NotIn": value not in values, "DoesNotExist": False}.get(str(operator), True)


def check_namespace(manifest: Mapping[str, Any], namespace: str) -> None:
    """Spark would start the executors where sparkConf says, and nobody would look for them there.

    Raises:
        InvalidInputError: sparkConf says another namespace.

    """
    found = conf(manifest).get(_NAMESPACE, namespace)
    if found != namespace:
        raise InvalidInputError(
            f"{at(_CONF, _NAMESPACE)} is {shown(found)}, but the application runs in namespace {namespace!r}; remove it"
        )


def refuse_affinity(role: str, section: Mapping[str, Any]) -> None:
    """Refuse an affinity of the CR, by which the operator's webhook replaces that of the pod."""
    if section.get("affinity"):
        raise InvalidInputError(
            f"spec.{role}.affinity is {shown(section['affinity'])}, which would replace the affinity of the {role}'s"
            f" template, and so the placement; move it to spec.{role}.template.spec.affinity"
        )


def executor_count(manifest: Mapping[str, Any]) -> ExecutorCount:
    """Read the count as the operator and Spark do: the CR's own fields win over sparkConf.

    Raises:
        InvalidInputError: a count is no whole number, there are no executors, or more than a cluster holds.

    """
    spec, properties = manifest["spec"], conf(manifest)
    allocation = spec.get("dynamicAllocation") or {}
    if not allocation.get("enabled"):  # the operator passes the others on only then
        allocation = {}
    enabled = properties.get("spark.dynamicAllocation.enabled", "").strip().lower() == "true"
    instances = _count(spec["executor"], "spec.executor.instances", properties, "spark.executor.instances")
    if not allocation and not enabled:
        field, count = instances
        return ExecutorCount(_in_range(field, 1 if count is None else count), dynamic=False)
    initial, least, most = (
        _count(allocation, f"spec.dynamicAllocation.{name}", properties, f"spark.dynamicAllocation.{name}")
        for name in ("initialExecutors", "minExecutors", "maxExecutors")
    )
    # Spark starts with the largest of the three.
    counts = [(field, count) for field, count in (initial, least, instances) if count]
    field, count = max(counts, key=lambda each: each[1] or 0, default=("", 1))
    return ExecutorCount(_in_range(field, count or 1), dynamic=True, maximum=most[1])


def _count(section: Mapping[str, Any], field: str, properties: Mapping[str, str], name: str) -> tuple[str, int | None]:
    """A count and where it is from."""
    if (value := section.get(field.rpartition(".")[2])) is not None:
        return field, value
    if name not in properties:
        return field, None
    text = properties[name].strip()
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII):
        raise InvalidInputError(f"{at(_CONF, name)} is {shown(text)}; give a whole number of executors")
    return at(_CONF, name), int(text)


def _in_range(field: str, count: int) -> int:
    if count < 1:
        raise InvalidInputError(f"{field} is {count}, but there are no executors to place then; set it to 1 or more")
    if count > _MAX_EXECUTORS:
        raise InvalidInputError(
            f"{field} is {count}; the largest Kubernetes clusters hold {_MAX_EXECUTORS:,} pods: set it lower"
        )
    return count


def conf(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Spark properties of an application."""
    return dict(manifest["spec"].get("sparkConf") or {})


def _pod(section: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``spec`` of a role's pod template."""
    return (section.get("template") or {}).get("spec") or {}


def _executor_selectors(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Everything by which executors are told where to run: field, key, value."""
    spec, executor = manifest["spec"], manifest["spec"]["executor"]
    template, inside = _pod(executor), "spec.executor.template.spec"
    for field, selector in (
        ("spec.nodeSelector", spec.get("nodeSelector")),
        ("spec.executor.nodeSelector", executor.get("nodeSelector")),
        (f"{inside}.nodeSelector", template.get("nodeSelector")),
    ):
        yield from ((field, key, value) for key, value in (selector or {}).items())
    yield from _conf_selectors(manifest, "executor")
    affinity = (template.get("affinity") or {}).get("nodeAffinity") or {}
    preferred = [each.get("preference") or {} for each in affinity.get(_PREFERRED) or []]
    for term in (*_required(template), *preferred):
        for each in term.get("matchExpressions") or []:
            yield f"{inside}.affinity.nodeAffinity", each.get("key") or "", [each.get("operator"), each.get("values")]


def _conf_selectors(manifest: Mapping[str, Any], role: str) -> Iterator[tuple[str, str, str]]:
    for name, value in conf(manifest).items():
        if found := re.fullmatch(rf"spark\.kubernetes\.(?:{role}\.)?node\.selector\.(.+)", name, re.DOTALL):
            yield _CONF, found[1], value


def _required(pod: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Terms of a pod's required node affinity, of which a node has to match one."""
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    return (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()
