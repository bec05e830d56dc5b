"""Write task instances with their runs, DAGs and XComs into the database of the Airflow that is configured."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from airflow_provider_spotmix.hooks.xcom import XCOM_FLEET

START = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
MODELS: list[Any] = [DagBundleModel, DagModel, DagRun, TaskInstance, XComModel]


def empty(session: Session) -> None:
    """Remove all DAGs, runs, task instances and XComs."""
    for model in MODELS[::-1]:
        session.execute(delete(model))


def write_task(
    session: Session,
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
    """Write a task instance; ``minute``: when it began, counted from `START`."""
    bundle, dag, dag_run, instance, xcom = (model.__table__ for model in MODELS)
    start = START + timedelta(minutes=minute)
    key = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    if not session.scalar(select(bundle.c.name).where(bundle.c.name == "tests")):
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
    own_id = uuid5(NAMESPACE_URL, "/".join(map(str, key.values())))
    end = None if state in ("deferred", "running", None) else start + timedelta(minutes=5)
    session.execute(
        insert(instance).values(
            id=own_id if issubclass(instance.c.id.type.python_type, UUID) else str(own_id),  # text before Airflow 3.2
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
    number = session.scalar(found)
    for name, value in ((XCOM_FLEET, fleet), ("return_value", report)):
        if value is not None:
            session.execute(insert(xcom).values(dag_run_id=number, key=name, value=value, timestamp=start, **key))
