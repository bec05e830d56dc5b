"""A try whose process is killed leaves its fleet to the next one, in real Airflow. No Spark is started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spotmix.lab import stage
from airflow_provider_spotmix.lab.lab import Lab
from tests.support.airflow import running

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

APPLICATIONS = "/apis/sparkoperator.k8s.io/v1beta2/namespaces/spark/sparkapplications"
DAG_ID, TASK_ID = "reattach", "fleet"


def until(met: Callable[[], Any], what: str, log: Callable[[], str]) -> Any:
    """Wait for something; return it."""
    deadline = time.monotonic() + 120
    while not (found := met()):
        assert time.monotonic() < deadline, f"never: {what}; the log:\n{log()}"
        time.sleep(0.2)
    return found


def test_the_fleet_of_a_killed_try_is_taken_over(
    lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = stage.airflow_config(lab, dags=Path(__file__).parent / "dags", logs=Path("build/tests/airflow-logs"))

    def uids() -> list[str]:
        found = lab.api.items(APPLICATIONS, labelSelector=f"dag_id={DAG_ID}")
        return [each["metadata"]["uid"] for each in found if "deletionTimestamp" not in each["metadata"]]

    with running(request, tmp_path_factory, config) as airflow:
        run = airflow.api.trigger(DAG_ID)

        def log(number: int = 1) -> str:
            return airflow.api.task_log(DAG_ID, run, TASK_ID, try_number=number)

        submitted = until(uids, "the first try submits", lambda: "")
        until(lambda: "is SUSPENDED" in log(), "the first try looks after its fleet", log)
        os.kill(airflow.api.task_instance(DAG_ID, run, TASK_ID)["pid"], signal.SIGKILL)
        until(lambda: airflow.api.task_instance(DAG_ID, run, TASK_ID)["try_number"] == 2, "a second try", log)
        until(lambda: "which an earlier try left running" in log(2), "the second try takes it over", lambda: log(2))
        until(lambda: "is SUSPENDED" in log(2), "the second try looks after it", lambda: log(2))
        assert uids() == submitted
        airflow.api.mark(DAG_ID, run, TASK_ID, "failed")
        until(lambda: not uids(), "the fleet is deleted with the try that took it over", lambda: log(2))
