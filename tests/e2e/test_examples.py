"""The example DAGs do on real parts what their first line says. (The demo runs the minimal one.)"""

from __future__ import annotations

import pytest

from airflow_provider_spotmix.lab import demo
from airflow_provider_spotmix.lab.airflow import AirflowHarness

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.timeout(600)]


def test_pools_of_ones_own_and_a_base(airflow: AirflowHarness) -> None:
    dag = "spotmix_pools_and_base"
    run = airflow.api.trigger(dag)
    assert airflow.api.wait_for_run(dag, run, timeout=300) == "success"
    report = airflow.api.xcom(dag, run, demo.TASK_ID)
    assert report["initial"] == {"spot-lab-a": 1, "spot-lab-b": 1, "on-demand": 3}
    assert report["mix"] == {"ratio": {"spot-lab-a": 1, "spot-lab-b": 1, "on-demand": 2}, "on_demand_base": 1}
    log = airflow.api.task_log(dag, run, demo.TASK_ID)
    assert "RESULT correct" in log
