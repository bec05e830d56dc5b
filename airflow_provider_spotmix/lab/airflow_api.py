"""What a user does with Airflow, through its stable REST API (v2)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx

from airflow_provider_spotmix.lab.errors import LabError

Json = dict[str, Any]
Update = Callable[[str], None]
OVER = ("success", "failed", "upstream_failed", "skipped", "removed")
POLL_SECONDS = 0.2
# What the health endpoint calls a component; that it answers at all is the api-server's health.
_NAMES_IN_HEALTH = {
    "api-server": "",
    "postgres": "metadatabase",
    "scheduler": "scheduler",
    "dag-processor": "dag_processor",
    "triggerer": "triggerer",
}


def _nothing(_: str) -> None:
    """Tell nobody."""


class AirflowApi:
    """One user's session.

    Args:
        url: address of the api-server.
        username: a user of the simple auth manager.
        password: the user's password.

    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self._credentials = {"username": username, "password": password}

    def unhealthy(self) -> list[str]:
        """Return the components that are not healthy (yet): all of them while the api-server does not answer."""
        try:
            health = self._http.get("/api/v2/monitor/health").raise_for_status().json()
        except httpx.HTTPError:
            return list(_NAMES_IN_HEALTH)
        return [name for name, key in _NAMES_IN_HEALTH.items() if key and health[key]["status"] != "healthy"]

    def triggerers(self) -> list[int]:
        """Return the job ids of the triggerers whose heartbeat is not too old."""
        jobs = self.call("GET", "/api/v2/jobs?job_type=TriggererJob&is_alive=true")["jobs"]
        return sorted(job["id"] for job in jobs)

    def wait_for_dag(self, dag_id: str, *, timeout: float = 60) -> None:
        """Wait until the DAG has been parsed.

        Raises:
            LabError: it never was; the message has the import errors.

        """
        path = f"/api/v2/dags/{quote(dag_id)}"
        deadline = time.monotonic() + timeout
        while self._request("GET", path, allow=(404,)).status_code == 404:
            if time.monotonic() > deadline:
                errors = self.call("GET", "/api/v2/importErrors").get("import_errors", [])
                said = "; ".join(f"{e['filename']}: {e['stack_trace']}" for e in errors) or "no import error"
                raise LabError(f"no DAG {dag_id} after {timeout:.0f} s ({said})")
            time.sleep(0.2)

    def trigger(self, dag_id: str, *, conf: Json | None = None, run_id: str | None = None) -> str:
        """Start a DAG run and return its id."""
        self.wait_for_dag(dag_id)
        body: Json = {"logical_date": None, "conf": conf or {}, **({"dag_run_id": run_id} if run_id else {})}
        found: str = self.call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"]
        return found

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self.call("GET", _run(dag_id, run_id))["state"])

    def wait_for_run(self, dag_id: str, run_id: str, *states: str, timeout: float, update: Update = _nothing) -> str:
        """Wait until a DAG run is in one of the states (by default: over) and return its state.

        Args:
            dag_id: the DAG.
            run_id: the run.
            states: states of a DAG run, such as ``running``.
            timeout: in seconds.
            update: called with the state at every look.

        Raises:
            LabError: it is not in time, or is over in another state.

        """
        return _wait(
            lambda: self.run_state(dag_id, run_id), states or OVER, f"run {run_id} of {dag_id}", timeout, update
        )

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *states: str,
        timeout: float,
        map_index: int = -1,
        update: Update = _nothing,
    ) -> str:
        """Wait until a task instance is in one of the states (by default: over) and return its state.

        Args:
            dag_id: the DAG.
            run_id: the run.
            task_id: the task.
            states: states of a task instance, such as ``running``, ``deferred`` or ``None`` (cleared).
            timeout: in seconds.
            map_index: of a mapped task.
            update: called with the state at every look.

        Raises:
            LabError: it is not in time, or is over in another state.

        """

        def state() -> str:
            return str(self.task_instance(dag_id, run_id, task_id, map_index=map_index)["state"])

        return _wait(state, states or OVER, f"task {task_id} of run {run_id}", timeout, update)

    def task_instance(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> Json:
        """Return a task instance."""
        return self.call("GET", _task(dag_id, run_id, task_id, map_index))

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of a try as text, one line per message."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        answer = self.call("GET", f"{path}?full_content=true&map_index={map_index}")
        return "\n".join(_line(message) for message in answer["content"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """Return an XCom's value."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}?map_index={map_index}"
        value = self.call("GET", path)["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int = -1) -> None:
        """Mark a task instance success or failed, as a person does."""
        self.call("PATCH", _task(dag_id, run_id, task_id, map_index), {"new_state": state})

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a DAG run success or failed, which ends its tasks."""
        self.call("PATCH", _run(dag_id, run_id), {"state": state})

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks of a run (by default all), so that they run again."""
        body: Json = {"dry_run": False, "dag_run_id": run_id, "only_failed": False}
        if task_ids:
            body["task_ids"] = list(task_ids)
        self.call("POST", f"/api/v2/dags/{quote(dag_id)}/clearTaskInstances", body)

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a DAG run."""
        self._request("DELETE", _run(dag_id, run_id))

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """Call the API; an empty answer (to DELETE) is an empty one here.

        Raises:
            LabError: it refused; the message has its answer.

        """
        answer = self._request(method, path, body)
        found: Json = answer.json() if answer.content else {}
        return found

    def _request(
        self, method: str, path: str, body: Json | None = None, *, allow: tuple[int, ...] = ()
    ) -> httpx.Response:
        if "Authorization" not in self._http.headers:
            self._log_in()
        answer = self._http.request(method, path, json=body)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # a token lives for a day; a person's Airflow longer
            self._log_in()
            answer = self._http.request(method, path, json=body)
        if answer.is_error and answer.status_code not in allow:
            raise LabError(f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer

    def _log_in(self) -> None:
        answer = self._http.post("/auth/token", json=self._credentials)
        if answer.is_error:
            user = self._credentials["username"]
            raise LabError(f"Airflow answered {answer.status_code} to the log-in of {user!r}: {answer.text[:500]}")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def _wait(state: Callable[[], str], wanted: tuple[str, ...], what: str, timeout: float, update: Update) -> str:
    deadline = time.monotonic() + timeout
    while (found := state()) not in wanted:
        update(found)
        if found in OVER:
            raise LabError(f"{what} is over, and {found}, not {' or '.join(wanted)}")
        if time.monotonic() > deadline:
            raise LabError(f"{what} is {found} after {timeout:.0f} s, not {' or '.join(wanted)}")
        time.sleep(POLL_SECONDS)
    return found


def _line(message: str | Json) -> str:
    """A log message as text, with the story of an exception if it tells one."""
    if isinstance(message, str):
        return message
    story = "".join(f": {error['exc_type']}: {error['exc_value']}" for error in message.get("error_detail") or [])
    return f"{message.get('event', '')}{story}"


def _run(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _task(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    mapped = f"/{map_index}" if map_index >= 0 else ""
    return f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}{mapped}"
