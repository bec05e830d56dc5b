"""SparkApplications of groups: one group's part of the person's, and the second attempt of a live one. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from airflow_provider_spotmix.backends.kubeflow_checks import check
from airflow_provider_spotmix.core.errors import InvalidInputError, at, shown
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.part import ATTEMPT, PREFIX, Part, laid_over, substituted
from airflow_provider_spotmix.manifests.pod_template import pin, pool_labels, unpin

_CONF = "spec.sparkConf"
# Spark sets it in the driver's container itself, so no webhook is needed.
_ENVIRONMENT = "spark.kubernetes.driverEnv."
# What is one of a kind in a namespace: several applications cannot all have it.
_UNIQUE = ("spark.kubernetes.driver.pod.name", "spark.kubernetes.executor.podNamePrefix")


def part_of(manifest: Mapping[str, Any], part: Part) -> dict[str, Any]:
    """Return one group's part of an application.

    Raises:
        InvalidInputError: it has a name that only one of several applications could have, or our variables; or the
            group's overrides have what the groups' shares decide.

    """
    _check(manifest, part)
    result: dict[str, Any] = copy.deepcopy(dict(manifest))
    spec = result["spec"]
    for role, over in (("driver", part.driver), ("executor", part.executor)):
        spec[role] = laid_over(spec[role], copy.deepcopy(over))
    spec["executor"]["instances"] = part.executors
    check(result)
    if part.node_selector or part.tolerations:
        pod = {"nodeSelector": part.node_selector, "tolerations": list(part.tolerations)}
        spec["executor"]["template"] = _with_nodes(spec["executor"].get("template"), pod)
    arguments = spec.get("arguments") if part.arguments is None else part.arguments
    if not isinstance(arguments or [], list | tuple):
        raise InvalidInputError(f"spec.arguments is {shown(arguments)}; write a list there")
    if arguments:
        spec["arguments"] = substituted(arguments, part)
    variables = {f"{_ENVIRONMENT}{name}": value for name, value in {**part.variables, ATTEMPT: "1"}.items()}
    spec["sparkConf"] = {**(spec.get("sparkConf") or {}), **variables}
    return result


def _with_nodes(template: Mapping[str, Any] | None, pod: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(template or {})
    below = dict(result.get("spec") or {})
    if pod["nodeSelector"]:
        below["nodeSelector"] = {**(below.get("nodeSelector") or {}), **pod["nodeSelector"]}
    if pod["tolerations"]:
        below["tolerations"] = [*(below.get("tolerations") or []), *pod["tolerations"]]
    return {**result, "spec": below}


def _check(manifest: Mapping[str, Any], part: Part) -> None:
    if "instances" in part.executor:
        raise InvalidInputError(
            f"executor.instances is {shown(part.executor['instances'])}; a group's executors follow from its share:"
            " remove it"
        )
    spec = manifest["spec"]
    found = spec.get("sparkConf") or {}
    for field, value in (
        ("spec.driver.podName", (spec["driver"] or {}).get("podName")),
        ("driver.podName", part.driver.get("podName")),
        *((at(_CONF, name), found.get(name)) for name in _UNIQUE),
    ):
        if value is not None:
            raise InvalidInputError(f"{field} is {shown(value)}, but every group needs pods of its own name; remove it")
    for name in found:
        if name.startswith(f"{_ENVIRONMENT}{PREFIX}"):
            raise InvalidInputError(
                f"{_CONF} has {shown(name)}; variables that begin with {PREFIX} are set by this provider: remove it"
            )


def moved(found: Raw, *, name: str, from_pool: Pool, to_pool: Pool) -> dict[str, Any]:
    """Return what rendering the group on ``to_pool`` as its second attempt would have given."""
    own = {labels.APPLICATION: name}
    spec: dict[str, Any] = copy.deepcopy(found.spec)
    spec["sparkConf"] = {**(spec.get("sparkConf") or {}), f"{_ENVIRONMENT}{ATTEMPT}": "2"}
    driver, executor = spec["driver"]["template"], spec["executor"]["template"]
    driver["metadata"]["labels"] |= own
    gates = driver["spec"].get("schedulingGates") or []
    driver["spec"]["schedulingGates"] = [*gates, {"name": labels.RESUBMISSION_GATE}]
    unpin(executor["spec"], from_pool)
    pin(executor["spec"], to_pool)
    executor["metadata"]["labels"] |= own | pool_labels(to_pool)
    metadata = {
        "name": name,
        "namespace": found.metadata.namespace,
        "labels": {**found.metadata.labels, **own},
        "annotations": dict(found.metadata.annotations),
    }
    return {"apiVersion": found.api_version, "kind": found.kind, "metadata": metadata, "spec": spec}
