"""The plugin through which Airflow finds this provider's additions to its UI."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class SpotmixPlugin(AirflowPlugin):
    """Registers the provider's plugin."""

    name = "spotmix"
