"""Apache Airflow provider that keeps a spot : on-demand mix of Spark executors on Kubernetes."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow (entry point ``apache_airflow_provider``)."""
    import copy

    from airflow_provider_spotmix.provider_info import PROVIDER_INFO

    return copy.deepcopy(PROVIDER_INFO)  # callers change what they get
