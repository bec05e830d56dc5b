"""The harness itself: real Airflow processes come up, run tasks, survive a killed triggerer, and leave nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from airflow_provider_spotmix.lab.airflow import AirflowConfig, AirflowHarness
from airflow_provider_spotmix.lab.airflow_api import AirflowApi
from airflow_provider_spotmix.lab.errors import LabError
from tests.harness.conftest import DAGS, family

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

DAG = "harness"
TAKEOVER_SECONDS = 40.0


@pytest.fixture
def deferred(airflow: AirflowHarness, files: Path) -> Iterator[str]:
    """A run whose task `wait` is deferred, in a triggerer, until `files` has a file of the run's name."""
    run = airflow.api.trigger(DAG, conf={"file": (name := f"go-{time.monotonic_ns()}")}, run_id=name)
    airflow.api.wait_for_task(DAG, run, "wait", "deferred", timeout=60)
    _until(lambda: airflow.api.task_instance(DAG, run, "wait")["triggerer_job"] is not None, 20)
    yield run
    if airflow.api.run_state(DAG, run) == "running":  # or else it cannot be deleted
        airflow.api.mark_run(DAG, run, "failed")
    airflow.api.delete_run(DAG, run)


def test_a_task_gets_connection_and_environment_and_its_result_and_log_can_be_read(
    airflow: AirflowHarness, files: Path, deferred: str
) -> None:
    seen: list[str] = []
    assert airflow.api.wait_for_task(DAG, deferred, "answer", timeout=60) == "success"
    assert airflow.api.xcom(DAG, deferred, "answer") == {"answer": 42, "environment": "told to every process"}
    assert "a line of the task's log" in airflow.api.task_log(DAG, deferred, "answer")
    (files / deferred).touch()
    assert airflow.api.wait_for_run(DAG, deferred, timeout=60, update=seen.append) == "success"
    assert set(seen) <= {"running"}


def test_a_deferred_task_goes_on_after_its_triggerer_was_killed_and_restarted(
    airflow: AirflowHarness, files: Path, deferred: str
) -> None:
    before = airflow.processes()["triggerer"]
    airflow.kill("triggerer")
    assert "triggerer" not in airflow.processes()
    (files / deferred).touch()
    airflow.start("triggerer")
    assert airflow.processes()["triggerer"] != before
    assert airflow.api.wait_for_run(DAG, deferred, timeout=TAKEOVER_SECONDS) == "success"


def test_a_second_triggerer_takes_over_from_one_that_was_killed(
    airflow: AirflowHarness, files: Path, deferred: str
) -> None:
    airflow.start("triggerer", instance=2)
    try:
        _until(lambda: len(airflow.api.triggerers()) == 2, TAKEOVER_SECONDS)
        airflow.kill("triggerer")
        (files / deferred).touch()
        assert airflow.api.wait_for_run(DAG, deferred, timeout=TAKEOVER_SECONDS) == "success"
    finally:
        airflow.restart("triggerer")
        airflow.kill("triggerer", signal.SIGTERM, instance=2)
    _until(lambda: len(airflow.api.triggerers()) == 1, TAKEOVER_SECONDS)


def test_a_triggerer_that_hangs_loses_its_triggers(airflow: AirflowHarness, files: Path, deferred: str) -> None:
    airflow.kill("triggerer", signal.SIGSTOP)
    try:
        (files / deferred).touch()
        airflow.start("triggerer", instance=2)
        assert airflow.api.wait_for_run(DAG, deferred, timeout=TAKEOVER_SECONDS) == "success"
    finally:
        airflow.kill("triggerer", signal.SIGCONT)
        airflow.kill("triggerer", signal.SIGTERM, instance=2)
    airflow.wait_until_healthy("triggerer", timeout=30)


def test_a_person_can_mark_and_clear_a_task(airflow: AirflowHarness, deferred: str) -> None:
    api = airflow.api
    api.mark(DAG, deferred, "wait", "failed")
    assert api.wait_for_run(DAG, deferred, timeout=30) == "failed"
    api.clear(DAG, deferred, "wait")
    api.wait_for_task(DAG, deferred, "wait", "deferred", timeout=30)
    assert api.task_instance(DAG, deferred, "wait")["try_number"] == 2
    api.mark(DAG, deferred, "wait", "success")
    assert api.wait_for_run(DAG, deferred, timeout=30) == "success"


def test_waiting_for_what_can_no_longer_come_fails_at_once(airflow: AirflowHarness, deferred: str) -> None:
    with pytest.raises(LabError, match=r"task answer of run .* is over, and success, not deferred"):
        airflow.api.wait_for_task(DAG, deferred, "answer", "deferred", timeout=600)


def test_the_viewer_may_look_but_not_touch(airflow: AirflowHarness, deferred: str) -> None:
    viewer = AirflowApi(airflow.url, "viewer", airflow.viewer_password)
    assert viewer.run_state(DAG, deferred) == "running"
    with pytest.raises(LabError, match="answered 403 to PATCH"):
        viewer.mark(DAG, deferred, "wait", "failed")


def test_the_api_server_can_be_restarted(airflow: AirflowHarness, deferred: str) -> None:
    airflow.restart("api-server")
    assert airflow.api.run_state(DAG, deferred) == "running"


def test_everything_listens_on_loopback_only(airflow: AirflowHarness) -> None:
    listening = {
        connection.laddr.ip
        for process in family(airflow)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_the_database_shares_no_memory_that_could_outlive_it(airflow: AirflowHarness) -> None:
    database = psutil.Process(airflow.processes()["postgres"])
    processes = [database, *database.children(recursive=True)]
    mapped = {region.path for process in processes for region in process.memory_maps()}
    assert [path for path in mapped if path.startswith("/dev/shm/")] == []
    creators = {int(line.split()[4]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}
    assert creators.isdisjoint(process.pid for process in processes)


def test_attaching_finds_the_same_airflow(airflow: AirflowHarness) -> None:
    again = AirflowHarness.attach(airflow.home, airflow.config)
    assert (again.url, again.processes()) == (airflow.url, airflow.processes())


def test_a_home_in_use_is_refused_and_left_alone(airflow: AirflowHarness) -> None:
    other = AirflowHarness(airflow.home, airflow.config)
    with pytest.raises(LabError, match="is running in"):
        other.up()
    other.down()
    airflow.wait_until_healthy(timeout=10)


def test_what_does_not_run_cannot_be_killed(airflow: AirflowHarness) -> None:
    with pytest.raises(LabError, match="triggerer-3 does not run"):
        airflow.kill("triggerer", instance=3)


def test_a_directory_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").touch()
    with pytest.raises(LabError, match="files of somebody else"), AirflowHarness(tmp_path, AirflowConfig(dags=DAGS)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_attaching_to_nothing_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="spotmix up"):
        AirflowHarness.attach(tmp_path / "none", AirflowConfig(dags=tmp_path))


def test_stopping_nothing_is_no_error(tmp_path: Path) -> None:
    AirflowHarness.stop(tmp_path / "none")


def test_a_component_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    home = tmp_path / "home"
    harness = AirflowHarness(home, AirflowConfig(dags=DAGS, env={"AIRFLOW__CORE__AUTH_MANAGER": "nobody.NoManager"}))
    with pytest.raises(LabError, match=r"(?s)ended with 1; the end of .*home\.logs/.*nobody"):
        harness.up()
    assert not home.exists()
    assert (tmp_path / "home.logs" / "api-server.log").exists()


OWNER = """
import signal, sys, time
from pathlib import Path

# As a terminal starts it: a shell's background job, such as this test run may be, inherits a Ctrl-C that is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from airflow_provider_spotmix.lab.airflow import AirflowConfig, AirflowHarness

home, dags = map(Path, sys.argv[1:])
with AirflowHarness(home, AirflowConfig(dags=dags, env={"HARNESS_BUSY_SECONDS": "600"})) as airflow:
    run = airflow.api.trigger("harness_busy")
    airflow.api.wait_for_task("harness_busy", run, "busy", "running", timeout=60)
    print("running", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill-9"])
def test_nothing_is_left_of_an_airflow_whose_owner_ends(tmp_path: Path, number: signal.Signals) -> None:
    """Not even the process that a running task has started."""
    home = tmp_path / "home"
    owner = psutil.Popen([sys.executable, "-c", OWNER, str(home), str(DAGS)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout.readline() == "running\n"
        _until(lambda: any(_is_busy(process) for process in owner.children(recursive=True)), 20)
        processes = owner.children(recursive=True)
    finally:
        owner.send_signal(number)
    _until(lambda: not home.exists(), 60)
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:  # so that a failure costs the machine nothing
        process.kill()
    assert alive == []


def _is_busy(process: psutil.Process) -> bool:
    try:
        return bool(process.name() == "sleep")
    except psutil.NoSuchProcess:
        return False


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.1)
