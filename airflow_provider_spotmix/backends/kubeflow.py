"""Kubeflow spark-operator: ``sparkoperator.k8s.io/v1beta2`` SparkApplication (v2.1 and later).

Facts from the operator's source, v2.5.2: ``spec.executor.template`` becomes the executor pod template file and needs no
webhook; states and their meaning are those of ``api/v1beta2``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from airflow_provider_spotmix.backends.base import ExecutorCount, Status
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.resources import custom
from airflow_provider_spotmix.manifests.overlay import Overlay
from airflow_provider_spotmix.manifests.pod_template import driver_template, executor_template

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
            if not isinstance(spec.get(role), Mapping):
                raise InvalidInputError(f"spec.{role} is {spec.get(role)!r}; give at least its cores and memory")
        if spec.get("mode", "cluster") != "cluster":
            raise InvalidInputError(f"spec.mode is {spec['mode']!r}; only 'cluster' can be placed")
        if spec["executor"].get("affinity"):
            raise InvalidInputError(
                "spec.executor.affinity would replace the affinity of the executor template, and so the placement;"
                " move it to spec.executor.template.spec.affinity"
            )
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

    def executor_count(self, manifest: Mapping[str, Any]) -> ExecutorCount:
        """Read the count as the operator and Spark do: the CR's own fields win over sparkConf."""
        spec, conf = manifest["spec"], _conf(manifest)
        allocation = spec.get("dynamicAllocation") or {}
        dynamic = bool(allocation.get("enabled")) or conf.get("spark.dynamicAllocation.enabled", "").lower() == "true"
        instances = spec["executor"].get("instances", conf.get("spark.executor.instances"))
        if not dynamic:
            return ExecutorCount(_whole("spec.executor.instances", instances if instances is not None else 1), False)
        # Spark starts with the largest of the three.
        counts = [
            allocation.get("initialExecutors", conf.get("spark.dynamicAllocation.initialExecutors")),
            allocation.get("minExecutors", conf.get("spark.dynamicAllocation.minExecutors")),
            instances,
        ]
        return ExecutorCount(max(_whole("dynamicAllocation", n) for n in (*counts, 1) if n is not None), True)

    def render(self, manifest: Mapping[str, Any], overlay: Overlay) -> dict[str, Any]:
        """Add the overlay to the CR; the pod templates carry what concerns pods, so no webhook is needed."""
        result: dict[str, Any] = copy.deepcopy(dict(manifest))
        metadata = result.setdefault("metadata", {})
        metadata.pop("generateName", None)
        metadata["name"], metadata["namespace"] = overlay.name, overlay.namespace
        metadata["labels"] = {**(metadata.get("labels") or {}), **overlay.labels}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **overlay.annotations}
        spec = result["spec"]
        spec["sparkConf"] = {**overlay.spark_conf, **(spec.get("sparkConf") or {})}
        driver, executor = spec["driver"], spec["executor"]
        _refuse_other_nodes(driver.get("nodeSelector") or {}, overlay)
        driver["template"] = driver_template(
            driver.get("template"), pod_labels=overlay.labels, pool=overlay.driver_pool
        )
        executor["template"] = executor_template(
            executor.get("template"), pod_labels=overlay.labels, gates=overlay.executor_gates
        )
        return result

    def status(self, application: Raw) -> Status:
        """Read the operator's status; a state that it does not call terminal is one it may still leave."""
        status = application.status
        state = status.get("applicationState") or {}
        word = state.get("state", "")
        return Status(
            phase=_PHASES.get(word, ApplicationPhase.RUNNING),
            state=word,
            message=state.get("errorMessage", ""),
            driver_pod=(status.get("driverInfo") or {}).get("podName", "") or f"{application.metadata.name}-driver",
        )


def _conf(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in (manifest["spec"].get("sparkConf") or {}).items()}


def _expect(manifest: Mapping[str, Any], field: str, value: str) -> None:
    if manifest.get(field) != value:
        raise InvalidInputError(f"{field} is {manifest.get(field)!r}; the kubeflow backend takes {value!r}")


def _whole(field: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise InvalidInputError(f"{field} is {value!r}; give a whole number of executors") from None


def _refuse_other_nodes(selector: Mapping[str, str], overlay: Overlay) -> None:
    """``spec.driver.nodeSelector`` is merged into the template's by the webhook: it must not contradict the pool."""
    for key, value in overlay.driver_pool.node_selector.items():
        if selector.get(key, value) != value:
            raise InvalidInputError(
                f"spec.driver.nodeSelector {key}={selector[key]} contradicts pool {overlay.driver_pool.name!r}: the"
                " driver always runs on on-demand; remove the key"
            )
