"""What SparkKubernetesOperator takes around and inside a SparkApplication, turned into a plain one. Pure.

That is the wrapper ``spark:``, the section ``kubernetes:`` beside it, and ``container_resources`` of driver and
executor, with that operator's meaning (cncf.kubernetes 10.25, ``custom_object_launcher``). What it would replace there
is added to here: nothing that a person wrote is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_spotmix.core.errors import InvalidInputError, at, shown
from airflow_provider_spotmix.hooks.document import read_document

Json = dict[str, Any]

_ROLES = ("driver", "executor")
# What a container gets in relation to the memory that Spark is given: 40 % for overhead, as for jobs in Python.
_OVERHEAD = 1.4
_MEGABYTES = {"m": 1, "M": 1, "Mi": 1, "g": 1024, "G": 1024, "Gi": 1024}
CLUSTER = {"in_cluster": "in_cluster", "kube_config_file": "config_file", "cluster_context": "cluster_context"}


def unwrap(document: Json, field: str) -> tuple[Json, Json]:
    """Return the plain application, and what the document says of the cluster: arguments of the operator by name.

    Raises:
        InvalidInputError: a key means nothing, or a value cannot be used.

    """
    cluster: Json = {}
    if "spark" in document and "spec" not in document:
        unknown = sorted(document.keys() - {"spark", "kubernetes"})
        if unknown:
            raise InvalidInputError(
                f"{field} has {shown(unknown[0])} beside 'spark'; there is only 'kubernetes': move it, or remove it"
            )
        section = _mapping(document.get("kubernetes"), "kubernetes")
        document = read_document(document["spark"], f"section 'spark' of {field}")
        if section:
            cluster = _merge(document, section)
    _read_resources(document)
    return document, cluster


def _merge(application: Json, section: Json) -> Json:
    """Merge the section ``kubernetes`` into the application; return what it says of the cluster."""
    spec = _mapping(application.get("spec"), "spec")
    if not all(isinstance(spec.get(role), dict) for role in _ROLES):
        return {}  # no application: who checks it says so
    for key, value in section.items():
        if key not in CLUSTER and key not in SECTION:
            raise InvalidInputError(
                f"kubernetes has {shown(key)}, with which SparkKubernetesOperator does nothing; remove it (it knows"
                f" {', '.join([*CLUSTER, *SECTION])})"
            )
        if key in SECTION and value:
            SECTION[key](spec, value, at("kubernetes", key))
    if spec.get("labels"):
        found = _mapping(spec.pop("labels"), "spec.labels")
        for role in _ROLES:
            spec[role]["labels"] = {**found, **_mapping(spec[role].get("labels"), f"spec.{role}.labels")}
    return {CLUSTER[key]: section[key] for key in CLUSTER if section.get(key)}


def _env_vars(spec: Json, value: Any, field: str) -> None:
    if isinstance(value, Mapping):
        value = [{"name": name, "value": each} for name, each in value.items()]
    _append_to_roles("env")(spec, value, field)


def _pull_secrets(spec: Json, value: Any, field: str) -> None:
    names = value.split(",") if isinstance(value, str) else _list(value, field)
    spec["imagePullSecrets"] = [*_list(spec.get("imagePullSecrets"), "spec.imagePullSecrets"), *names]


def _config_map_mounts(spec: Json, value: Any, field: str) -> None:
    found = _mapping(value, field)
    _append_volumes(spec, [{"name": name, "configMap": {"name": name}} for name in found], field)
    mounts = [{"name": name, "mountPath": path} for name, path in found.items()]
    _append_to_roles("volumeMounts")(spec, mounts, field)


def _append_volumes(spec: Json, value: Any, field: str) -> None:
    spec["volumes"] = [*_list(spec.get("volumes"), "spec.volumes"), *_list(value, field)]


def _env_from(reference: str) -> Callable[[Json, Any, str], None]:
    def merge(spec: Json, value: Any, field: str) -> None:
        _append_to_roles("envFrom")(spec, [{reference: {"name": name}} for name in _list(value, field)], field)

    return merge


def _append_to_roles(name: str) -> Callable[[Json, Any, str], None]:
    def merge(spec: Json, value: Any, field: str) -> None:
        for role in _ROLES:
            spec[role][name] = [*_list(spec[role].get(name), f"spec.{role}.{name}"), *_list(value, field)]

    return merge


def _node_selector(spec: Json, value: Any, field: str) -> None:
    for role in _ROLES:
        present = _mapping(spec[role].get("nodeSelector"), f"spec.{role}.nodeSelector")
        spec[role]["nodeSelector"] = {**_mapping(value, field), **present}


def _affinity(spec: Json, value: Any, field: str) -> None:
    """Into the templates: the operator's webhook would put the CR's own in the place of the placement."""
    for role in _ROLES:
        inside = f"spec.{role}.template"
        template = spec[role]["template"] = _mapping(spec[role].get("template"), inside)
        pod = template["spec"] = _mapping(template.get("spec"), f"{inside}.spec")
        if pod.get("affinity"):
            raise InvalidInputError(
                f"{field} is {shown(value)}, but {inside}.spec.affinity is there too; keep the latter, with both merged"
            )
        pod["affinity"] = _mapping(value, field)


SECTION: Mapping[str, Callable[[Json, Any, str], None]] = {
    "env_vars": _env_vars,
    "env_from": _append_to_roles("envFrom"),
    "from_env_config_map": _env_from("configMapRef"),
    "from_env_secret": _env_from("secretRef"),
    "image_pull_secrets": _pull_secrets,
    "volumes": _append_volumes,
    "volume_mounts": _append_to_roles("volumeMounts"),
    "config_map_mounts": _config_map_mounts,
    "affinity": _affinity,
    "tolerations": _append_to_roles("tolerations"),
    "node_selector": _node_selector,
}


def _read_resources(application: Json) -> None:
    """Turn ``container_resources`` of driver and executor into the CR's own fields."""
    spec = application.get("spec")
    for role in _ROLES:
        section = spec.get(role) if isinstance(spec, dict) else None
        if isinstance(section, dict) and "container_resources" in section:
            field = f"spec.{role}.container_resources"
            section.update(_resources(_mapping(section.pop("container_resources"), field), field))


def _resources(given: Json, field: str) -> Json:
    if unknown := sorted(given.keys() - {"cpu", "memory", "gpu"}):
        raise InvalidInputError(f"{field} has {shown(unknown[0])}; it takes cpu, memory and gpu: remove it")
    cpu, memory, gpu = (_mapping(given.get(name), at(field, name)) for name in ("cpu", "memory", "gpu"))
    found: Json = {}
    if cpu.get("request"):
        found["cores"] = int(_number(cpu["request"], f"{field}.cpu.request"))
    if cpu.get("limit"):
        found["coreLimit"] = str(cpu["limit"])
    if memory.get("limit"):
        found["memory"] = _memory(memory["limit"], f"{field}.memory.limit")
    if memory.get("request") not in (None, "", memory.get("limit")):
        raise InvalidInputError(
            f"{field}.memory.request is {shown(memory['request'])}; Spark requests as much as it limits: set"
            " memory.limit alone"
        )
    if gpu.get("name") and gpu.get("quantity"):
        found["gpu"] = {"name": gpu["name"], "quantity": int(_number(gpu["quantity"], f"{field}.gpu.quantity"))}
    return found


def _memory(given: Any, field: str) -> str:
    """A container's limit, as the memory that Spark is given so that its overhead fits in."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*([mM]i?|[gG]i?)", str(given), re.ASCII)
    if not found or found[2] not in _MEGABYTES:
        raise InvalidInputError(f"{field} is {shown(given)}; write a number of gigabytes or megabytes, such as '4Gi'")
    return f"{int(float(found[1]) * _MEGABYTES[found[2]] / _OVERHEAD)}m"


def _number(given: Any, field: str) -> float:
    found = re.fullmatch(r"\d{1,6}(\.\d{1,6})?", str(given), re.ASCII)
    if not found or float(given) < 1:
        raise InvalidInputError(f"{field} is {shown(given)}; write a number, 1 or more")
    return float(given)


def _mapping(found: Any, field: str) -> Json:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidInputError(f"{field} is {shown(found, field)}; write a mapping there")
    return found


def _list(found: Any, field: str) -> list[Any]:
    if found is None:
        return []
    if not isinstance(found, list):
        raise InvalidInputError(f"{field} is {shown(found, field)}; write a list there")
    return found
