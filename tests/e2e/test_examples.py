"""The example DAGs do on real parts what their first line says. (The demo runs the minimal one.)"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

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


def test_a_task_of_the_peer_runs_as_it_is(airflow: AirflowHarness) -> None:
    dag = "spotmix_migration"
    run = airflow.api.trigger(dag)
    assert airflow.api.wait_for_run(dag, run, timeout=300) == "success"
    assert airflow.api.xcom(dag, run, demo.TASK_ID)["initial"] == {"spot": 2, "on-demand": 3}
    assert "RESULT correct" in airflow.api.task_log(dag, run, demo.TASK_ID)


def test_groups_write_their_shards(airflow: AirflowHarness) -> None:
    dag = "spotmix_groups"
    run = airflow.api.trigger(dag)
    output = Path("/tmp/spotmix-sharded-numbers") / run.replace(":", "-").replace("+", "-")
    try:
        assert airflow.api.wait_for_run(dag, run, timeout=300) == "success"
        lines = [line for part in output.glob("shard=*/part-*.json") for line in part.read_text().splitlines()]
    finally:
        shutil.rmtree(output, ignore_errors=True)
    assert sorted(json.loads(line)["number"] for line in lines) == list(range(3000))
    report = airflow.api.xcom(dag, run, "sharded_numbers")
    assert sorted((each["group"], each["state"]) for each in report["applications"]) == [
        (f"group-{number}", "COMPLETED") for number in range(3)
    ]
    assert report["initial"] == {"spot": 1, "on-demand": 2}


def test_a_sensor_waits_for_the_mix(airflow: AirflowHarness) -> None:
    dag = "spotmix_sensor"
    run = airflow.api.trigger(dag)
    assert airflow.api.wait_for_run(dag, run, timeout=300) == "success"
    assert airflow.api.xcom(dag, run, "mixed")["running"] == {"on-demand": 3, "spot": 2}
    assert airflow.api.xcom(dag, run, "tell") == "3 on on-demand, 2 on spot"
    announced = airflow.api.xcom(dag, run, "checked_shuffle", key="spotmix_fleet")
    assert announced["fleet"] == airflow.api.xcom(dag, run, "checked_shuffle")["fleet"]
