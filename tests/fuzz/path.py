"""The way of a task's input: the operator as a DAG file makes it, its connection, the plan. Nothing of it is played."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any
from unittest import mock

from airflow.sdk import DAG
from airflow.sdk._shared.secrets_masker import reset_secrets_masker
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.kube.errors import ConfigError
from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from tests.fuzz.inputs import Task
from tests.support.running_task import running


def outcome(task: Task) -> FleetPlan | Exception:
    """Plan a task, or return the error that the person would see. Anything else that is raised is a bug of ours."""
    reset_secrets_masker()  # Airflow's, which gets slower with every connection that it has seen
    extra = {"namespace": "spark", **task.extra}
    with mock.patch.dict(os.environ, {"AIRFLOW_CONN_SPOTMIX_DEFAULT": _connection(extra)}):
        try:
            operator = SparkFleetOperator(task_id="etl", **task.arguments)
        except ValueError as error:  # what a DAG file is refused with
            return error
        try:
            operator._hook().cluster()
            return operator._plan(_context(), lambda *_: None)
        except (InvalidInputError, AirflowNotFoundException, ConfigError) as error:
            return error


def _connection(extra: dict[str, Any]) -> str:
    return json.dumps({"conn_type": "spotmix", "extra": extra}, default=str, skipkeys=True)


@cache
def _context() -> Any:
    return running(SparkFleetOperator(task_id="etl", template_spec={}, dag=DAG("etl", schedule=None)), render=False)[1]
