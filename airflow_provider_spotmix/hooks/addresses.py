"""Where the fleet view is, as the browser sees it."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

from airflow.providers.common.compat.sdk import conf

PREFIX = "spotmix"
TASK_TAB = "spotmix_fleet"


def base_path() -> str:
    """Return the path of ``[api] base_url``, ``/`` at its end: ``/`` or such as ``/airflow/``."""
    path = urlsplit(conf.get("api", "base_url", fallback="") or "").path
    return path if path.endswith("/") else f"{path}/"


def task_page(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Return the path of a task instance in Airflow's UI, which begins with its log."""
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"{base_path()}dags/{_quoted(dag_id)}/runs/{_quoted(run_id)}/tasks/{_quoted(task_id)}{mapped}"


def fleet_tab(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Return the path of a task instance's fleet view in Airflow's UI."""
    return f"{task_page(dag_id, run_id, task_id, map_index)}/plugin/{TASK_TAB}"


def spark_page(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """Return the path of the route that leads on to the Spark UI or a history server."""
    return f"{base_path()}{PREFIX}/go/{_quoted(dag_id)}/{_quoted(run_id)}/{_quoted(task_id)}/{map_index}"


def absolute(path: str) -> str:
    """Return a path of this Airflow as a URL, if ``[api] base_url`` says which Airflow it is."""
    return urljoin(conf.get("api", "base_url", fallback="") or "", path)


def _quoted(text: str) -> str:
    return quote(text, safe="")
