"""Kubeflow spark-operator: ``sparkoperator.k8s.io/v1beta2`` SparkApplication (v2.1 and later).

Facts from the operator's source, v2.5.2: ``spec.executor.template`` becomes the executor pod template file, in the
place of any that sparkConf names, and needs no webhook. Where the webhook is installed it also changes pods that have a
template: it merges ``nodeSelector``, appends ``tolerations``, replaces ``affinity`` and the grace period by those of
the CR. States and their meaning are those of ``api/v1beta2``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_spotmix.backends.base import ExecutorCount, Status
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.resources import custom
from airflow_provider_spotmix.manifests.overlay import Overlay
from airflow_provider_spotmix.manifests.pod_template import driver_template, executor_template
from airflow_provider_spotmix.manifests.spark_conf import GRACE_PERIOD

GROUP, VERSION, KIND = "sparkoperator.k8s.io", "v1beta2", "SparkApplication"

_PHASES = {
    "": ApplicationPhase.PENDING,
    "SUBMITTED": ApplicationPhase.PENDING,
    "COMPLETED": ApplicationPhase.SUCCEEDED,
    "FAILED": ApplicationPhase.FAILED,
}


class Kubeflow:
    """Renders and reads SparkApplications of the Kubeflow operator."""

    name = "kubeflow"
    resource = custom(GROUP, VERSION, "sparkapplications", KIND)

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Refuse what could not be placed, before anything is submitted."""
        _expect(manifest, "apiVersion", f"{GROUP}/{VERSION}")
        _expect(manifest, "kind", KIND)
        spec = manifest.get("spec")
        if not isinstance(spec, Mapping):
            raise InvalidInputError(f"spec is {spec!r}; a SparkApplication has a mapping there")
        for role in ("driver", "executor"):
            _check_role(role, spec.get(role), _conf(manifest))
        if (spec.get("mode") or "cluster") != "cluster":
            raise InvalidInputError(f"spec.mode is {spec['mode']!r}; only 'cluster' can be placed")
        allocator = _conf(manifest).get("spark.kubernetes.allocation.pods.allocator", "direct")
        if allocator != "direct":
            raise InvalidInputError(
                f"spark.kubernetes.allocation.pods.allocator is {allocator!r}; executors can be placed one by one only"
                " with 'direct' (the default)"
            )
        if self.executor_count(manifest).initial < 1:
            raise InvalidInputError(
                "the application starts with no executors; set spec.executor.instances to 1 or more"
            )

    def check_selectors(self, manifest: Mapping[str, Any], pools: Sequence[Pool]) -> None:
        """An executor selector on a pool's own key would make half of the placements impossible."""
        keys = {key for pool in pools for key in pool.node_selector}
        keys |= {requirement.key for pool in pools for requirement in pool.node_requirements}
        for field, key, value in _executor_selectors(manifest):
            if key in keys:
                raise InvalidInputError(f"{field} has {key}={value}, which the mix decides; remove the key")

    def executor_count(self, manifest: Mapping[str, Any]) -> ExecutorCount:
        """Read the count as the operator and Spark do: the CR's own fields win over sparkConf."""
        spec, conf = manifest["spec"], _conf(manifest)
        allocation = spec.get("dynamicAllocation") or {}
        dynamic = bool(allocation.get("enabled")) or conf.get("spark.dynamicAllocation.enabled", "").lower() == "true"
        instances = _first(spec["executor"].get("instances"), conf.get("spark.executor.instances"))
        if not dynamic:
            return ExecutorCount(_whole("spec.executor.instances", instances if instances is not None else 1), False)
        # Spark starts with the largest of the three.
        counts = [
            _first(allocation.get("initialExecutors"), conf.get("spark.dynamicAllocation.initialExecutors")),
            _first(allocation.get("minExecutors"), conf.get("spark.dynamicAllocation.minExecutors")),
            instances,
        ]
        return ExecutorCount(max(_whole("dynamicAllocation", n) for n in (*counts, 1) if n is not None), True)

    def render(self, manifest: Mapping[str, Any], overlay: Overlay) -> dict[str, Any]:
        """Add the overlay to the CR; the pod templates carry what concerns pods, so no webhook is needed."""
        result: dict[str, Any] = copy.deepcopy(dict(manifest))
        metadata = result["metadata"] = dict(result.get("metadata") or {})
        metadata.pop("generateName", None)
        metadata["name"], metadata["namespace"] = overlay.name, overlay.namespace
        metadata["labels"] = {**(metadata.get("labels") or {}), **overlay.labels}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **overlay.annotations}
        spec = result["spec"]
        driver, executor = spec["driver"], spec["executor"]
        grace_seconds = _grace_seconds(manifest, overlay.grace_seconds)
        grace = {GRACE_PERIOD: f"{grace_seconds}s"} if grace_seconds is not None else {}
        spec["sparkConf"] = {**overlay.spark_conf, **grace, **(spec.get("sparkConf") or {})}
        _refuse_other_nodes(manifest, overlay)
        driver["template"] = driver_template(
            driver.get("template"), pod_labels=overlay.labels, pool=overlay.driver_pool
        )
        executor["template"] = executor_template(
            executor.get("template"),
            pod_labels=overlay.labels,
            gates=overlay.executor_gates,
            grace_seconds=grace_seconds,
        )
        return result

    def status(self, application: Raw) -> Status:
        """Read the operator's status; a state that it does not call terminal is one it may still leave."""
        status = application.status
        state = status.get("applicationState") or {}
        word = state.get("state") or ""
        return Status(
            phase=_PHASES.get(word, ApplicationPhase.RUNNING),
            state=word,
            message=state.get("errorMessage") or "",
            driver_pod=(status.get("driverInfo") or {}).get("podName") or f"{application.metadata.name}-driver",
        )


def _conf(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in (manifest["spec"].get("sparkConf") or {}).items()}


def _first(*values: Any) -> Any:
    """The first that is not None."""
    return next((value for value in values if value is not None), None)


def _check_role(role: str, section: object, conf: Mapping[str, str]) -> None:
    if not isinstance(section, Mapping):
        raise InvalidInputError(f"spec.{role} is {section!r}; give at least its cores and memory")
    if role == "executor":
        _refuse_affinity(role, section)
    template = section.get("template")
    for field, value in (("", template), (".metadata", _in(template, "metadata")), (".spec", _in(template, "spec"))):
        if value is not None and not isinstance(value, Mapping):
            raise InvalidInputError(f"spec.{role}.template{field} is {value!r}; a pod template has a mapping there")
    file = f"spark.kubernetes.{role}.podTemplateFile"
    if file in conf:
        raise InvalidInputError(
            f"{file} is {conf[file]!r}, which the operator would ignore; move what it says to spec.{role}.template"
        )


def _refuse_affinity(role: str, section: Mapping[str, Any]) -> None:
    if section.get("affinity"):
        raise InvalidInputError(
            f"spec.{role}.affinity would replace the affinity of the {role} template, and so the placement;"
            f" move it to spec.{role}.template.spec.affinity"
        )


def _in(found: object, key: str) -> Any:
    return found.get(key) if isinstance(found, Mapping) else None


def _executor_selectors(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Everything by which executors are told where to run: field, key, value."""
    spec, executor = manifest["spec"], manifest["spec"]["executor"]
    template = (executor.get("template") or {}).get("spec") or {}
    for field, selector in (
        ("spec.nodeSelector", spec.get("nodeSelector")),
        ("spec.executor.nodeSelector", executor.get("nodeSelector")),
        ("spec.executor.template.spec.nodeSelector", template.get("nodeSelector")),
    ):
        yield from ((field, key, value) for key, value in (selector or {}).items())
    for name, value in _conf(manifest).items():
        if found := re.fullmatch(r"spark\.kubernetes\.(?:executor\.)?node\.selector\.(.+)", name):
            yield "spec.sparkConf", found[1], value


def _grace_seconds(manifest: Mapping[str, Any], default: int | None) -> int | None:
    """What the person gave, wherever it was: each Spark version heeds another place, so all get the same."""
    executor = manifest["spec"]["executor"]
    template = (executor.get("template") or {}).get("spec") or {}
    given = _first(
        executor.get("terminationGracePeriodSeconds"),
        _conf(manifest).get(GRACE_PERIOD),
        template.get("terminationGracePeriodSeconds"),
        default,
    )
    found = re.fullmatch(r"(\d+)\s*(s?|m|min|h)", str(given))
    return int(found[1]) * {"m": 60, "min": 60, "h": 3600}.get(found[2], 1) if found else None


def _expect(manifest: Mapping[str, Any], field: str, value: str) -> None:
    if manifest.get(field) != value:
        raise InvalidInputError(f"{field} is {manifest.get(field)!r}; the kubeflow backend takes {value!r}")


def _whole(field: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise InvalidInputError(f"{field} is {value!r}; give a whole number of executors") from None


def _refuse_other_nodes(manifest: Mapping[str, Any], overlay: Overlay) -> None:
    """What the webhook and Spark put over the driver's template must not contradict its pool."""
    driver, pool = manifest["spec"]["driver"], overlay.driver_pool
    selectors = [("spec.driver.nodeSelector", key, value) for key, value in (driver.get("nodeSelector") or {}).items()]
    for name, value in _conf(manifest).items():
        if found := re.fullmatch(r"spark\.kubernetes\.driver\.node\.selector\.(.+)", name):
            selectors.append(("spec.sparkConf", found[1], value))
    for field, key, value in selectors:
        if pool.node_selector.get(key, value) != value:
            raise InvalidInputError(
                f"{field} {key}={value} contradicts pool {pool.name!r}: the driver always runs on on-demand; remove the"
                " key"
            )
    if pool.node_requirements:
        _refuse_affinity("driver", driver)
