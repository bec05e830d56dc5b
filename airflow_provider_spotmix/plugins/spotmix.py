"""The plugin through which Airflow finds this provider's additions to its UI.

Every component of Airflow imports this module, so it loads nothing that only the API server needs.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_spotmix.hooks.addresses import PREFIX, base_path
from airflow_provider_spotmix.plugins.lazy import LazyApp

_UI = f"{base_path()}{PREFIX}/ui"
_ICONS = {
    "icon": f"{base_path()}{PREFIX}/static/icon.svg",
    "icon_dark_mode": f"{base_path()}{PREFIX}/static/icon-dark.svg",
}
_RUN = "dag_id={DAG_ID}&run_id={RUN_ID}"


class SpotmixPlugin(AirflowPlugin):
    """Registers the fleet view: a tab on the task instance and on the DAG run, and a page with all fleets."""

    name = "spotmix"
    fastapi_apps: list[Any] = [{"name": "spotmix", "url_prefix": f"/{PREFIX}", "app": LazyApp()}]  # noqa: RUF012
    external_views: list[Any] = [  # noqa: RUF012 - Airflow's own style
        {
            "name": "Fleet",
            "destination": "task_instance",
            "url_route": "spotmix_fleet",
            "href": f"{_UI}/task?{_RUN}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
            **_ICONS,
        },
        {
            "name": "Fleets",
            "destination": "dag_run",
            "url_route": "spotmix_run",
            "href": f"{_UI}/run?{_RUN}",
            **_ICONS,
        },
        {
            "name": "Spark fleets",
            "destination": "nav",
            "category": "browse",
            "url_route": "spotmix_fleets",
            "href": f"{_UI}/fleets",
            **_ICONS,
        },
    ]
