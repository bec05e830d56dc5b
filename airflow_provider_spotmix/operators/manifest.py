"""From a task's arguments and context to what a plan needs: the manifest, the identity, the labels."""

from __future__ import annotations

import datetime
import hashlib
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

_MAX_SHOWN = 100
_MAX_LABEL = 63
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
    found = _mapping("the application", found)
    if "spark" in found and "spec" not in found:  # the wrapper that SparkKubernetesOperator takes
        if found.get("kubernetes"):
            raise InvalidInputError(
                "the application has a 'kubernetes' section, which is not supported; move its settings into the"
                " SparkApplication's driver and executor"
            )
        found = _mapping("'spark' of the application", found["spark"])
    if found.get("metadata") is not None:
        _mapping("metadata of the application", found["metadata"])
    return _plain(found)


def _text(application_file: str) -> str:
    """Airflow has put the file's content in place of a path already, where it found the file."""
    if "\n" in application_file or not application_file.strip().endswith(_EXTENSIONS):
        return application_file
    try:
        return Path(application_file.strip()).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"application_file {application_file!r} cannot be read ({error}); give a path that is relative to the DAG"
            " file or in template_searchpath"
        ) from None


def _parse(text: str) -> Any:
    try:
        return yaml.safe_load(text)  # JSON is YAML
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: the 31st of February
        raise InvalidInputError(f"the application is no YAML: {error}") from None


def _mapping(what: str, found: Any) -> Mapping[str, Any]:
    if isinstance(found, Mapping):
        return found
    said = "is empty" if found is None else f"is a {type(found).__name__}: {str(found)[:_MAX_SHOWN]!r}"
    raise InvalidInputError(f"{what} {said}; give a SparkApplication, or the path of one that ends with .yaml or .json")


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """Make it what JSON can say; YAML's dates are the text that they were written as."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(found, default=_date, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"the application holds something that JSON cannot say: {error}") from None
    return plain


def _date(value: Any) -> str:
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__}")


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
    """Make any text a label value, in the way of the Kubernetes provider, so that both select the same pods.

    Its own function would load the Kubernetes client into every task; a test holds this one to it.
    """
    safe = re.sub(r"^[^a-z0-9A-Z]*|[^a-zA-Z0-9_\-.]|[^a-z0-9A-Z]*$", "", text)
    if safe != text or len(safe) > _MAX_LABEL:
        digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:9]
        safe = f"{safe[: _MAX_LABEL - len(digest) - 1]}-{digest}"
    return safe.lstrip("-_.")  # where nothing valid is left of the text, theirs would begin with the hyphen
