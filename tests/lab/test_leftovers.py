from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab import leftovers, locks, network, paths
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.processes import ProcessId
from airflow_provider_spotmix.lab.state import State
from airflow_provider_spotmix.lab.supervision import spawn


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "spotmix" / "labs").mkdir(parents=True)
    return tmp_path / "spotmix" / "labs"


@pytest.fixture
def ended() -> ProcessId:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return ProcessId.of(process.pid)


def make(labs: Path, name: str, supervisor: ProcessId) -> Files:
    files = Files(labs / name)
    files.pki.mkdir(parents=True)
    State(name, 100, supervisor.pid, supervisor.started, {}, ephemeral=False, complete=True).write(files)
    return files


def test_a_lab_whose_supervisor_is_gone_is_stale_and_goes(labs: Path, ended: ProcessId) -> None:
    """Killed, or of the time before the machine was restarted; the number may be another process's by now."""
    make(labs, "killed", ended)
    make(labs, "rebooted", ProcessId(os.getpid(), 1.0))
    make(labs, "alive", ProcessId.of(os.getpid()))
    assert [(lab.name, lab.state) for lab in leftovers.find_all()] == [
        ("alive", "running"),
        ("killed", "stale"),
        ("rebooted", "stale"),
    ]
    assert leftovers.sweep() == ["killed", "rebooted"]
    assert leftovers.all_names() == ["alive"]


@pytest.mark.parametrize("content", [None, "", '{"name": "half'], ids=["none", "empty", "half"])
def test_a_half_written_lab_goes_and_what_is_no_lab_stays(labs: Path, content: str | None) -> None:
    files = Files(labs / "half")
    files.pki.mkdir(parents=True)
    if content is not None:
        files.state.write_text(content)
    (labs / "demo-airflow" / "logs").mkdir(parents=True)
    assert leftovers.sweep() == ["half"]
    assert [path.name for path in labs.iterdir()] == ["demo-airflow"]


def test_what_is_being_started_is_left_alone(labs: Path) -> None:
    Files(labs / "new").pki.mkdir(parents=True)
    with locks.exclusive(paths.lab_lock_path("new")):
        assert leftovers.sweep() == []
    assert leftovers.sweep() == ["new"]


@pytest.fixture
def supervisor(labs: Path) -> Iterator[ProcessId]:
    directory = labs / "lost"
    (directory / "logs").mkdir(parents=True)
    _, claim = network.claim("test-leftovers")
    with claim:
        process, leash = spawn(directory, claim, Files(directory).log("supervisor"))
    yield process
    process.end(signal.SIGKILL)
    process.wait(5)
    os.close(leash)


@pytest.mark.parametrize("remains", [True, False], ids=["directory", "nothing"])
def test_a_lab_whose_state_is_lost_is_stopped_all_the_same(labs: Path, supervisor: ProcessId, *, remains: bool) -> None:
    if remains:
        Files(labs / "lost").state.write_text("{")
    else:
        (labs / "lost" / "logs" / "supervisor.log").unlink()
        (labs / "lost" / "logs").rmdir()
        (labs / "lost").rmdir()
    assert Lab.stop("lost")
    assert not supervisor.is_running()
    assert not labs.exists()
    assert not Lab.stop("lost")


def test_the_state_is_replaced_as_a_whole(labs: Path, ended: ProcessId) -> None:
    files = make(labs, "one", ended)
    assert json.loads(files.state.read_text())["complete"]
    assert files.state.stat().st_mode & 0o077 == 0
    assert [path.name for path in files.root.iterdir() if path.is_file()] == ["lab.json"]
