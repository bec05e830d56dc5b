"""A task instance and its context, made of Airflow's own classes, without a scheduler or database."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, DagRunType, TIRunContext
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance


def running(operator: Any, *, render: bool = True, **fields: Any) -> tuple[RuntimeTaskInstance, Any]:
    """Start a try of this operator: its task instance and its context, with templates rendered into the operator."""
    now = dt.datetime.now(dt.UTC)
    known = {
        "id": uuid.uuid4(),
        "dag_id": operator.dag_id,
        "task_id": operator.task_id,
        "run_id": "manual__2026-01-01T00:00:00+00:00",
        "try_number": 1,
        "map_index": -1,
        "start_date": now,
        "dag_version_id": uuid.uuid4(),
    } | fields
    dag_run = DagRun(
        dag_id=known["dag_id"],
        run_id=known["run_id"],
        logical_date=now,
        data_interval_start=now,
        data_interval_end=now,
        run_after=now,
        start_date=now,
        end_date=None,
        run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING,
        conf={},
        consumed_asset_events=[],
        **{name: None for name in ("partition_key",) if name in DagRun.model_fields},  # Airflow 3.3
    )
    ti = RuntimeTaskInstance.model_construct(
        task=operator, _ti_context_from_server=TIRunContext(dag_run=dag_run, max_tries=0), **known
    )
    context = ti.get_template_context()
    if render:
        ti.render_templates(context)
    return ti, context
