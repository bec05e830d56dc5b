"""Buttons on the task's page, which work as soon as the task is deferred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_spotmix.hooks.addresses import absolute, fleet_tab, spark_page

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey


class FleetLink(BaseOperatorLink):
    """Leads to the fleet view of the task instance."""

    name = "Fleet"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL."""
        return absolute(fleet_tab(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index))


class SparkUiLink(BaseOperatorLink):
    """Leads to the Spark UI of the fleet's driver while it runs, afterwards to a history server.

    By a route of the plugin: where they are is known when somebody follows the link, not when the task is deferred.
    """

    name = "Spark UI"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL."""
        return absolute(spark_page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index))
