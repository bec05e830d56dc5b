"""The life of a task in real Airflow processes: whatever ends it, no fleet is left. No Spark is started."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spotmix.lab import stage
from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.lab import Lab
from tests.support.airflow import running

pytestmark = [pytest.mark.airflow, pytest.mark.cluster]

APPLICATIONS = "/apis/sparkoperator.k8s.io/v1beta2/namespaces/spark/sparkapplications"


@pytest.fixture(scope="module")
def airflow(
    lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowHarness]:
    config = stage.airflow_config(lab, dags=Path(__file__).parent / "dags", logs=Path("build/tests/airflow-logs"))
    with running(request, tmp_path_factory, config) as harness:
        yield harness


class Life:
    """One run of a DAG, and its applications."""

    def __init__(self, lab: Lab, airflow: AirflowHarness, dag_id: str) -> None:
        self.lab = lab
        self.airflow = airflow
        self.dag_id = dag_id
        self.run_id = airflow.api.trigger(dag_id)

    def applications(self) -> set[str]:
        """Those of this DAG that nobody deletes."""
        found = self.lab.api.items(APPLICATIONS, labelSelector=f"dag_id={self.dag_id}")
        return {each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]}

    def submitted(self, known: frozenset[str] = frozenset()) -> frozenset[str]:
        """Wait for an application that was not known before."""
        deadline = time.monotonic() + 90
        while not (new := self.applications() - known):
            assert time.monotonic() < deadline, f"nothing submitted; the log:\n{self.log()}"
            time.sleep(0.1)
        return frozenset(new)

    def gone(self, applications: frozenset[str]) -> None:
        """Wait until these are deleted."""
        deadline = time.monotonic() + 60
        while self.applications() & applications:
            assert time.monotonic() < deadline, f"still there: {applications}; the log:\n{self.log()}"
            time.sleep(0.1)

    def task_is(self, state: str) -> None:
        """Wait until the task is in that state."""
        self.airflow.api.wait_for_task(self.dag_id, self.run_id, "fleet", state, timeout=90)

    def is_looked_after_in(self, where: str, try_number: int = 1) -> None:
        """Wait until the fleet's runner has seen the application."""
        self.task_is("deferred" if where == "triggerer" else "running")
        deadline = time.monotonic() + 60
        while "is SUSPENDED" not in self.log(try_number):
            assert time.monotonic() < deadline, f"nobody looks after it; the log:\n{self.log(try_number)}"
            time.sleep(0.2)

    def mark(self, state: str) -> None:
        """Do what a person does."""
        self.airflow.api.mark(self.dag_id, self.run_id, "fleet", state)

    def log(self, try_number: int = 1) -> str:
        """What the task said."""
        return self.airflow.api.task_log(self.dag_id, self.run_id, "fleet", try_number=try_number)


@pytest.mark.parametrize("state", ["failed", "success"])
@pytest.mark.parametrize("where", ["triggerer", "worker"])
def test_a_person_ends_it(lab: Lab, airflow: AirflowHarness, where: str, state: str) -> None:
    life = Life(lab, airflow, f"life_{where}_endless")
    submitted = life.submitted()
    life.is_looked_after_in(where)
    life.mark(state)
    life.gone(submitted)
    life.task_is(state)


@pytest.mark.parametrize("where", ["triggerer", "worker"])
def test_it_takes_too_long(lab: Lab, airflow: AirflowHarness, where: str) -> None:
    life = Life(lab, airflow, f"life_{where}_limited")
    submitted = life.submitted()
    life.task_is("failed")
    life.gone(submitted)
    assert "Timeout" in life.log() or "timeout" in life.log()


@pytest.mark.parametrize("where", ["triggerer", "worker"])
def test_a_person_clears_it(lab: Lab, airflow: AirflowHarness, where: str) -> None:
    """The next try has a fleet of its own, and that of the first is deleted."""
    life = Life(lab, airflow, f"life_{where}_endless")
    first = life.submitted()
    life.is_looked_after_in(where)
    airflow.api.clear(life.dag_id, life.run_id)
    second = life.submitted(known=first)
    life.gone(first)
    life.is_looked_after_in(where, try_number=2)
    assert life.applications() == second
    life.mark("failed")
    life.gone(second)


def gc(lab: Lab, airflow: AirflowHarness, *options: str, renamed: str = "") -> list[dict[str, Any]]:
    """Run `spotmix gc` as an administrator of this Airflow, which may have got another name since."""
    command = [str(Path(sys.executable).with_name("spotmix")), "gc", "--kubeconfig", str(lab.kubeconfig)]
    command += ["--namespace", "spark", "--older-than", "0", "--output", "json", *options]
    environment = airflow.environment() | ({"AIRFLOW__SPOTMIX__INSTANCE": renamed} if renamed else {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [each for each in found if each["kind"] == "SparkApplication"]


def test_a_person_ends_it_while_no_triggerer_runs(lab: Lab, airflow: AirflowHarness) -> None:
    """Nobody is told. The next trigger to start sweeps the namespace, and `spotmix gc` needs no triggerer at all."""
    first = Life(lab, airflow, "life_triggerer_endless")
    of_first = first.submitted()
    first.is_looked_after_in("triggerer")
    airflow.kill("triggerer")
    first.mark("failed")
    first.task_is("failed")
    assert first.applications() == of_first
    airflow.start("triggerer")
    second = Life(lab, airflow, "life_triggerer_endless")
    of_second = second.submitted(known=of_first)
    second.is_looked_after_in("triggerer")
    first.gone(of_first)

    assert gc(lab, airflow) == []  # it is still looked after
    airflow.kill("triggerer")
    second.mark("failed")
    by_old_name = "--dry-run", "--instance", airflow.environment()["AIRFLOW__SPOTMIX__INSTANCE"]
    (name,) = of_second
    assert gc(lab, airflow, "--dry-run", renamed="new") == []
    assert [each["name"] for each in gc(lab, airflow, *by_old_name, renamed="new")] == [name]
    airflow.api.wait_for_run(second.dag_id, second.run_id, "failed", timeout=60)
    airflow.api.delete_run(second.dag_id, second.run_id)
    assert gc(lab, airflow, *by_old_name, renamed="new") == []  # nobody knows whose that was
    (planned,) = gc(lab, airflow, "--dry-run")
    assert (planned["name"], planned["action"]) == (name, "would-delete")
    assert planned["why"].endswith("Airflow has no such task instance any more")
    assert second.applications() == of_second
    assert [(each["name"], each["action"]) for each in gc(lab, airflow)] == [(name, "deleted")]
    second.gone(of_second)
    airflow.start("triggerer")
