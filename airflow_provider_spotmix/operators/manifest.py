"""From a task's arguments and context to what a plan needs: the manifest, the identity, the labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_spotmix.core.errors import InvalidInputError, shown
from airflow_provider_spotmix.hooks.document import plain, read_document
from airflow_provider_spotmix.manifests.identity import Identity, TaskRef
from airflow_provider_spotmix.manifests.labels import label_value
from airflow_provider_spotmix.operators.peer_input import unwrap

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_EXTENSIONS = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Application:
    """What a person gave: the SparkApplication, and what stands beside it about the cluster (operator's arguments)."""

    manifest: dict[str, Any]
    cluster: Mapping[str, Any]

    @property
    def namespace(self) -> str | None:
        """The namespace that its manifest names."""
        return (self.manifest.get("metadata") or {}).get("namespace")


def load_application(application_file: Any, template_spec: Any) -> Application:
    """Return the application that a person gave, as a path, as text or as a mapping.

    Raises:
        InvalidInputError: it is missing, no YAML, or no mapping.

    """
    if application_file is None:
        found, field = template_spec, "template_spec"
    else:
        found, field = _content(application_file), "application_file"
    document, cluster = unwrap(read_document(found, field), field)
    if document.get("metadata") is not None and not isinstance(document["metadata"], dict):
        raise InvalidInputError(f"metadata is {shown(document['metadata'])}; a SparkApplication has a mapping there")
    return Application(manifest=document, cluster=cluster)


def as_arguments_say(manifest: Mapping[str, Any], task_id: str, *, image: Any, code_path: Any) -> dict[str, Any]:
    """Return the manifest with what the task's arguments put in its place, and named after the task if it has no name.

    Raises:
        InvalidInputError: an argument is no text, or none that can be written.

    """
    fields = {"image": ("image", image), "mainApplicationFile": ("code_path", code_path)}
    for name, value in fields.values():
        if value is not None and not isinstance(value, str):
            raise InvalidInputError(f"{name} is {shown(value)}; give text")
        plain(value, name)
    result, metadata = dict(manifest), dict(manifest.get("metadata") or {})
    if metadata.get("name") in (None, ""):
        result["metadata"] = {**metadata, "name": _name_of(task_id)}
    if isinstance(result.get("spec"), Mapping):
        result["spec"] = {**result["spec"], **{field: value for field, (_, value) in fields.items() if value}}
    return result


def _name_of(task_id: str) -> str:
    """Name of an application that a person gave none: its task's, in the letters that are permitted."""
    name = re.sub(r"[^a-z0-9]+", "-", task_id.lower()).strip("-")
    return name if name[:1].isalpha() else f"task-{name}".rstrip("-")


def _content(application_file: Any) -> Any:
    """Airflow has put the file's content in place of a path already, where it found the file."""
    if not isinstance(application_file, str):  # JSON that was rendered to a native object is a mapping already
        return application_file
    path = application_file.strip()
    if "\n" in path or not path.endswith(_EXTENSIONS):
        return application_file
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidInputError(
            f"application_file {shown(application_file)} cannot be read ({why}); give a path that is relative to the"
            " DAG file or in template_searchpath"
        ) from None


def identity(context: Context) -> Identity:
    """Identity of the task instance's try, which has a UUID of its own."""
    from airflow_provider_spotmix.hooks.instance import instance_name  # loads Airflow's configuration

    ti = context["ti"]
    task = TaskRef(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
        run=_run_of(context),
    )
    return Identity(instance=instance_name(), task_instance=str(ti.id), task=task)


def _run_of(context: Context) -> str:
    """Tells a run from a deleted one of the same run_id, and from itself before a task of it was cleared."""
    run: Any = context["dag_run"]
    if run is None or run.start_date is None:
        return ""
    return f"{run.start_date.isoformat()}/{getattr(run, 'clear_number', None) or 0}"


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
