"""Kubeflow spark-operator: ``sparkoperator.k8s.io/v1beta2`` SparkApplication (v2.1 and later).

Facts from the operator's source, v2.5.2: ``spec.executor.template`` becomes the executor pod template file, in the
place of any that sparkConf names, and needs no webhook. Where the webhook is installed it also changes pods that have a
template: it merges ``nodeSelector``, appends ``tolerations``, replaces ``affinity`` and the grace period by those of
the CR. States and their meaning are those of ``api/v1beta2``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_spotmix.backends import kubeflow_checks as checks
from airflow_provider_spotmix.backends import kubeflow_groups as groups
from airflow_provider_spotmix.backends.base import Status
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.resources import custom
from airflow_provider_spotmix.manifests import executor_request as request
from airflow_provider_spotmix.manifests.overlay import Overlay
from airflow_provider_spotmix.manifests.part import ExecutorCount, Part
from airflow_provider_spotmix.manifests.pod_template import driver_template, executor_template
from airflow_provider_spotmix.manifests.spark_conf import GRACE_PERIOD, KILL, dangers, missed

# Fields of the CR that the operator passes on as Spark properties.
_REQUEST_FIELDS = {
    request.CORES: "spec.executor.cores",
    request.CORE_REQUEST: "spec.executor.coreRequest",
    request.MEMORY: "spec.executor.memory",
    request.OVERHEAD: "spec.executor.memoryOverhead",
    request.OVERHEAD_FACTOR: "spec.memoryOverheadFactor",
}
_PHASES = {
    "": ApplicationPhase.PENDING,
    "SUBMITTED": ApplicationPhase.PENDING,
    "SUBMISSION_FAILED": ApplicationPhase.PENDING,
    "SUSPENDING": ApplicationPhase.PENDING,
    "SUSPENDED": ApplicationPhase.PENDING,
    "RESUMING": ApplicationPhase.PENDING,
    "COMPLETED": ApplicationPhase.SUCCEEDED,
    "FAILED": ApplicationPhase.FAILED,
}
# v2.5.2 records an application's own end only when it could not be submitted, and the driver's always.
_ENDINGS = {
    "SparkApplicationCompleted": ApplicationPhase.SUCCEEDED,
    "SparkApplicationFailed": ApplicationPhase.FAILED,
    "SparkDriverCompleted": ApplicationPhase.SUCCEEDED,
    "SparkDriverFailed": ApplicationPhase.FAILED,
}
# A triggerer that is upgraded or moved is back within the hour.
SHORT_LIFE_SECONDS = 3600


class Kubeflow:
    """Renders and reads SparkApplications of the Kubeflow operator."""

    name = "kubeflow"
    resource = custom(checks.GROUP, checks.VERSION, "sparkapplications", checks.KIND)
    endings: Mapping[str, ApplicationPhase] = _ENDINGS

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Refuse what could not be placed, before anything is submitted."""
        checks.check(manifest)

    def check_selectors(self, manifest: Mapping[str, Any], pools: Sequence[Pool]) -> None:
        """An executor selector on a pool's own key would make half of the placements impossible."""
        checks.check_selectors(manifest, pools)

    def executor_count(self, manifest: Mapping[str, Any]) -> ExecutorCount:
        """Read the count as the operator and Spark do: the CR's own fields win over sparkConf."""
        return checks.executor_count(manifest)

    def executor_request(self, manifest: Mapping[str, Any]) -> request.ExecutorRequest:
        """Read it as the operator and Spark do: the CR's own fields win over sparkConf."""
        spec = manifest["spec"]
        fields, properties = {}, checks.conf(manifest)
        for name, field in _REQUEST_FIELDS.items():
            section = spec["executor"] if ".executor." in field else spec
            value = section.get(field.rpartition(".")[2])
            if value not in (None, ""):
                properties[name], fields[name] = str(value), field
        return request.executor_request(properties, language=_language(spec), fields=fields)

    def properties(self, manifest: Mapping[str, Any]) -> dict[str, str]:
        """Read ``spec.sparkConf``."""
        return checks.conf(manifest)

    def spark_version(self, manifest: Mapping[str, Any]) -> str:
        """Read ``spec.sparkVersion``, which the operator requires and does not compare with the image."""
        return str(manifest["spec"].get("sparkVersion") or "")

    def render(self, manifest: Mapping[str, Any], overlay: Overlay) -> dict[str, Any]:
        """Add the overlay to the CR; the pod templates carry what concerns pods, so no webhook is needed."""
        checks.check_driver(manifest, overlay.driver_pool)
        checks.check_namespace(manifest, overlay.namespace)
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
        if grace_seconds is not None and overlay.grace_seconds is not None and grace_seconds < overlay.grace_seconds:
            grace[KILL] = f"{grace_seconds}s"  # whoever gives less than the cloud does ends it sooner
        spec["sparkConf"] = {**overlay.spark_conf, **grace, **(spec.get("sparkConf") or {})}
        driver["template"] = driver_template(
            driver.get("template"),
            pod_labels=overlay.labels,
            pool=overlay.driver_pool,
            gates=overlay.driver_gates,
        )
        executor["template"] = executor_template(
            executor.get("template"),
            pod_labels=overlay.labels,
            gates=overlay.executor_gates,
            grace_seconds=grace_seconds,
            pool=overlay.executor_pool,
        )
        return result

    def warnings(self, manifest: Mapping[str, Any]) -> list[str]:
        """Warn of dangerous Spark properties, and of a short life after the end.

        That takes the outcome along when nobody was connected meanwhile.
        """
        properties, seconds = checks.conf(manifest), manifest["spec"].get("timeToLiveSeconds")
        found = [*dangers(properties), *missed(properties, self.spark_version(manifest))]
        if not isinstance(seconds, int) or not 0 < seconds < SHORT_LIFE_SECONDS:
            return found
        said = (
            f"spec.timeToLiveSeconds is {seconds}: when no triggerer runs for longer than that after the application's"
            " end, its outcome may be lost with it; leave it out (the task deletes the application by itself) or set"
            f" {SHORT_LIFE_SECONDS} or more"
        )
        return [*found, said]

    def part(self, manifest: Mapping[str, Any], part: Part) -> dict[str, Any]:
        """Give a group its executors, its overrides, its arguments and its environment variables."""
        return groups.part_of(manifest, part)

    def moved(self, application: Raw, *, name: str, from_pool: Pool, to_pool: Pool) -> dict[str, Any]:
        """Make the second attempt from what the API server has of the first."""
        return groups.moved(application, name=name, from_pool=from_pool, to_pool=to_pool)

    def status(self, application: Raw) -> Status:
        """Read the operator's status; a state that it does not call terminal is one it may still leave."""
        status = application.status
        state = status.get("applicationState") or {}
        word = state.get("state") or ""
        phase = _PHASES.get(word, ApplicationPhase.RUNNING)
        # It counts submissions that came through: the second one follows a driver that has run.
        restarted = (status.get("executionAttempts") or 0) > 1
        return Status(
            phase=phase,
            state=word,
            message=state.get("errorMessage") or "",
            driver_pod=(status.get("driverInfo") or {}).get("podName") or f"{application.metadata.name}-driver",
            started=phase is not ApplicationPhase.PENDING or restarted,
            restarted=restarted,
        )


def _language(spec: Mapping[str, Any]) -> str:
    """Spark goes by the file that it is given; the type is what a person calls it."""
    file = spec.get("mainApplicationFile") or ""
    if file.endswith(".py") or spec.get("type") == "Python":
        return "python"
    return "r" if file.endswith((".R", ".r")) or spec.get("type") == "R" else "jvm"


def _first(*values: Any) -> Any:
    """The first that is not None."""
    return next((value for value in values if value is not None), None)


def _grace_seconds(manifest: Mapping[str, Any], default: int | None) -> int | None:
    """What the person gave, wherever it was: each Spark version heeds another place, so all get the same."""
    executor = manifest["spec"]["executor"]
    template = (executor.get("template") or {}).get("spec") or {}
    given = _first(
        executor.get("terminationGracePeriodSeconds"),
        checks.conf(manifest).get(GRACE_PERIOD),
        template.get("terminationGracePeriodSeconds"),
        default,
    )
    found = re.fullmatch(r"(\d{1,9})\s*(s?|m|min|h)", str(given))
    return int(found[1]) * {"m": 60, "min": 60, "h": 3600}.get(found[2], 1) if found else None
