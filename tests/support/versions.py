"""Names that moved between the versions of Airflow that we support: the one place where tests tell them apart."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


def _found(*places: str) -> Any:
    """The first that there is, newest first."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"this Airflow has none of {', '.join(places)}")


serialize = _found("airflow.sdk.serde:serialize", "airflow.serialization.serde:serialize")
deserialize = _found("airflow.sdk.serde:deserialize", "airflow.serialization.serde:deserialize")
DagSerialization = _found(
    "airflow.serialization.serialized_objects:DagSerialization",
    "airflow.serialization.serialized_objects:SerializedDAG",
)
ProvidersManagerTaskRuntime = _found(
    "airflow.sdk.providers_manager_runtime:ProvidersManagerTaskRuntime", "airflow.providers_manager:ProvidersManager"
)
if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag as DagBag
else:
    DagBag = _found("airflow.dag_processing.dagbag:DagBag", "airflow.models.dagbag:DagBag")
