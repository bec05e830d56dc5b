"""From a task's arguments and context to what a plan needs: the manifest, the identity, the labels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from airflow.providers.common.compat.sdk import conf

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.manifests.identity import Identity

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_EXTENSIONS = (".yaml", ".yml", ".json")


def load_manifest(application_file: str | None, template_spec: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the application that a person gave, as a path, as text or as a mapping.

    Raises:
        InvalidInputError: it is missing, no YAML, or no mapping.

    """
    found: Any = template_spec
    if application_file is not None:
        found = _parse(_text(application_file))
    if isinstance(found, str):
        found = _parse(found)
    if not isinstance(found, Mapping):
        raise InvalidInputError(f"the application is a {type(found).__name__}; give a SparkApplication, a mapping")
    if "spark" in found and "spec" not in found:  # the wrapper that SparkKubernetesOperator takes
        if found.get("kubernetes"):
            raise InvalidInputError(
                "the application has a 'kubernetes' section, which is not supported; move its settings into the"
                " SparkApplication's driver and executor"
            )
        found = found["spark"]
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return plain


def _text(application_file: str) -> str:
    """Airflow has put the file's content in place of a path already, where it found the file."""
    if "\n" in application_file or not application_file.strip().endswith(_EXTENSIONS):
        return application_file
    try:
        return Path(application_file.strip()).read_text()
    except OSError as error:
        raise InvalidInputError(
            f"application_file {application_file!r} cannot be read ({error.strerror}); give a path that is absolute or"
            " relative to the DAG file"
        ) from None


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)  # JSON is YAML
    except yaml.YAMLError as error:
        raise InvalidInputError(f"the application is no YAML: {error}") from None


def identity(context: Context) -> Identity:
    """Identity of the task instance's try, which has a UUID of its own."""
    instance = conf.get("spotmix", "instance", fallback=None) or conf.get("api", "base_url", fallback=None) or "airflow"
    return Identity(instance=str(instance).rstrip("/"), task_instance=str(context["ti"].id))


def task_labels(context: Context) -> dict[str, str]:
    """Labels by which dashboards find a task's pods; the same keys that SparkKubernetesOperator sets."""
    ti = context["ti"]
    values = {
        "dag_id": ti.dag_id,
        "task_id": ti.task_id,
        "run_id": ti.run_id,
        "try_number": str(ti.try_number),
        "spark_kubernetes_operator": "True",
        "airflow_provider": "spotmix",
    }
    if ti.map_index is not None and ti.map_index >= 0:
        values["map_index"] = str(ti.map_index)
    return {key: label_value(value) for key, value in values.items()}


def label_value(text: str) -> str:
    """Make any text a label value, in the way of the Kubernetes provider, so that both select the same pods."""
    from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value

    return re.sub(r"^[^a-zA-Z0-9]+|[^a-zA-Z0-9]+$", "", make_safe_label_value(text))
