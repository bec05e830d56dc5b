"""Airflow's own API application with this provider's plugin in it, on a database of its own, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from airflow_provider_spotmix.hooks.xcom import XCOM_FLEET
from tests.support.auth import viewer

START = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def airflow_app() -> Iterator[Any]:
    """Airflow's API application, whose users read only some DAGs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.support.auth.AuthManagerByDag")
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.api_fastapi.app import create_app, purge_cached_app
        from airflow.utils.db import initdb

        initdb()
        purge_cached_app()
        yield create_app(apps="core")
        purge_cached_app()


@pytest.fixture
def clients(airflow_app: Any) -> Iterator[Clients]:
    """Browsers of several people, on an Airflow without any fleet."""
    made = Clients(airflow_app)
    made.empty()
    yield made
    made.empty()


class Clients:
    """Makes browsers, and what they see."""

    def __init__(self, app: Any) -> None:
        """Begin with an application."""
        self.app = app

    def of(self, name: str | None) -> TestClient:
        """Return the browser of a user; None: of somebody who has not signed in."""
        client = TestClient(self.app, raise_server_exceptions=False, follow_redirects=False)
        if name is not None:
            client.cookies.set("_token", self.app.state.auth_manager.generate_jwt(viewer(name)))
        return client

    def empty(self) -> None:
        """Remove all DAGs, runs, task instances and XComs."""
        from airflow.utils.session import create_session
        from sqlalchemy import delete

        with create_session() as session:
            for model in _models()[::-1]:
                session.execute(delete(model))

    def task(
        self,
        dag_id: str,
        run_id: str = "run-1",
        task_id: str = "spark",
        *,
        map_index: int = -1,
        state: str | None = "deferred",
        operator: str = "SparkFleetOperator",
        minute: int = 0,
        fleet: Any = None,
        report: Any = None,
    ) -> None:
        """Write a task instance with its run, DAG and XComs."""
        from airflow.utils.session import create_session
        from sqlalchemy import insert, select

        bundle, dag, dag_run, instance, xcom = (model.__table__ for model in _models())
        start = START + timedelta(minutes=minute)
        key = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
        with create_session() as session:
            if not session.scalar(select(bundle.c.name)):
                session.execute(insert(bundle).values(name="tests", active=True))
            if not session.scalar(select(dag.c.dag_id).where(dag.c.dag_id == dag_id)):
                session.execute(
                    insert(dag).values(
                        dag_id=dag_id,
                        bundle_name="tests",
                        is_stale=False,
                        max_active_tasks=16,
                        max_consecutive_failed_dag_runs=0,
                        has_task_concurrency_limits=False,
                    )
                )
            found = select(dag_run.c.id).where(dag_run.c.dag_id == dag_id, dag_run.c.run_id == run_id)
            if not session.scalar(found):
                times = {"logical_date": start, "run_after": start, "start_date": start}
                session.execute(
                    insert(dag_run).values(dag_id=dag_id, run_id=run_id, run_type="manual", state="running", **times)
                )
            end = None if state in ("deferred", "running", None) else start + timedelta(minutes=5)
            session.execute(
                insert(instance).values(
                    **_own_id(instance, key),
                    **key,
                    state=state,
                    start_date=start,
                    end_date=end,
                    try_number=1,
                    max_tries=0,
                    pool="default_pool",
                    pool_slots=1,
                    operator=operator,
                    custom_operator_name=operator,
                    executor_config={},
                )
            )
            run_number = session.scalar(found)
            for name, value in ((XCOM_FLEET, fleet), ("return_value", report)):
                if value is not None:
                    session.execute(
                        insert(xcom).values(dag_run_id=run_number, key=name, value=value, timestamp=start, **key)
                    )


def _models() -> list[Any]:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel

    return [DagBundleModel, DagModel, DagRun, TaskInstance, XComModel]


def _own_id(table: Any, key: dict[str, Any]) -> dict[str, Any]:
    from uuid import NAMESPACE_URL, uuid5

    return {"id": uuid5(NAMESPACE_URL, "/".join(map(str, key.values())))}


def summary(**changes: Any) -> dict[str, Any]:
    """Return a summary as `fleet/progress.py` writes it (tests/plugins/test_fleets.py holds it to that)."""
    return {
        "fleet": "f-1",
        "namespace": "spark",
        "state": "running",
        "started_at": "2026-05-04T03:00:00+00:00",
        "ended_at": None,
        "updated_at": "2026-05-04T03:01:00+00:00",
        "placement": "template",
        "executors": 10,
        "spot": 4,
        "on_demand": 6,
        "interruptions": 0,
        "replacements": 0,
        "fallbacks": 0,
        "in_fallback": False,
        "currency": "USD",
        "total": "6.5",
        "all_on_demand": "10",
        "saved": "3.5",
        "estimated": False,
        **changes,
    }


def fleet(**changes: Any) -> dict[str, Any]:
    """Return as much of a fleet's XCom as the routes look at."""
    return {"schema": 1, "fleet": "f-1", "namespace": "spark", "summary": summary(**changes), "drivers": []}
