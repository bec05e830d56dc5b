"""The harness itself: real Airflow processes come up, run tasks, survive a killed triggerer, and leave nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from airflow_provider_spotmix.lab.airflow import AirflowConfig, AirflowHarness
from airflow_provider_spotmix.lab.errors import LabError

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

DAG = """
import datetime as dt
from airflow.sdk import DAG, task
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor

with DAG("harness", schedule=None):
    @task
    def answer():
        print("a line of the task's log")
        return {"answer": 42}
    answer() >> TimeDeltaSensor(task_id="wait", delta=dt.timedelta(seconds=15), deferrable=True)
"""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowHarness]:
    dags = tmp_path_factory.mktemp("dags")
    (dags / "harness.py").write_text(DAG)
    home = tmp_path_factory.mktemp("airflow") / "home"
    harness = AirflowHarness(home, AirflowConfig(dags=dags, logs=home.parent / "logs")).up()
    processes = _family(harness)
    yield harness
    harness.down()
    assert not home.exists()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def _family(harness: AirflowHarness) -> list[psutil.Process]:
    parents = [psutil.Process(pid) for pid in harness.processes().values()]
    return [*parents, *(child for parent in parents for child in parent.children(recursive=True))]


def test_a_task_runs_and_a_deferred_one_resumes_after_its_triggerer_was_killed(harness: AirflowHarness) -> None:
    api = harness.api
    run = api.trigger("harness")
    assert api.wait_for_task("harness", run, "answer", timeout=60) == "success"
    assert api.xcom("harness", run, "answer") == {"answer": 42}
    assert "a line of the task's log" in api.task_log("harness", run, "answer")
    api.wait_for_task("harness", run, "wait", "deferred", timeout=30)
    before = harness.processes()["triggerer"]
    harness.kill("triggerer")
    assert "triggerer" not in harness.processes()
    harness.start("triggerer")
    assert harness.processes()["triggerer"] != before
    assert api.wait_for_run("harness", run, timeout=90) == "success"


def test_everything_listens_on_loopback_only(harness: AirflowHarness) -> None:
    listening = {
        connection.laddr.ip
        for process in _family(harness)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert all(address.startswith("127.") for address in listening), listening


def test_attaching_finds_the_same_airflow(harness: AirflowHarness) -> None:
    again = AirflowHarness.attach(harness.home, harness.config)
    assert (again.url, again.processes()) == (harness.url, harness.processes())


def test_attaching_to_nothing_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="spotmix up"):
        AirflowHarness.attach(tmp_path / "none", AirflowConfig(dags=tmp_path))


def test_nothing_survives_an_owner_that_is_killed(tmp_path: Path) -> None:
    """PostgreSQL stands for all components: they have one parent, and that one has the owner's lifeline."""
    script = f"""
import time
from pathlib import Path
from airflow_provider_spotmix.lab.supervision import Supervision
home = Path({str(tmp_path / "home")!r}); home.mkdir()
children = Supervision.start(home, ephemeral=True)
children.run("sleep", ["sleep", "1000"], env={{}}, log=Path({str(tmp_path / "log")!r}), graceful=True)
print(children.pids()["sleep"], flush=True)
time.sleep(1000)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert owner.stdout is not None
    child = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (child.is_running() and child.status() != psutil.STATUS_ZOMBIE)
    while (tmp_path / "home").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (tmp_path / "home").exists()
