"""The supervisor with real children, of which some do not want to end."""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from airflow_provider_spotmix.lab import network
from airflow_provider_spotmix.lab.clients import ask_supervisor
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import Network
from airflow_provider_spotmix.lab.processes import ProcessId
from airflow_provider_spotmix.lab.supervision import spawn

SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


@dataclass
class Supervised:
    """A supervisor of this test's own."""

    directory: Path
    network: Network
    process: ProcessId
    leash: int

    def start(self, name: str, code: str, *, graceful: bool = False, own_tmp_but: list[str] | None = None) -> ProcessId:
        component = {
            "name": name,
            "command": [sys.executable, "-I", "-S", "-c", code],
            "env": {},
            "log": str(self.directory / "logs" / name),
            "graceful": graceful,
            "own_tmp_but": own_tmp_but,
        }
        children = ask_supervisor(self.network, do="start", component=component)
        return ProcessId.of(next(child.pid for child in children if child.name == name))


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    directory = tmp_path / "a lab"
    (directory / "logs").mkdir(parents=True)
    net, claim = network.claim("test-supervisor")
    with claim:
        process, leash = spawn(directory, claim, Files(directory).log("supervisor"))
    yield Supervised(directory, net, process, leash)
    process.end(signal.SIGKILL)
    process.wait(5)


def test_when_its_owner_dies_all_children_end_and_the_directory_goes(supervised: Supervised) -> None:
    children = [supervised.start("a", SLEEP), supervised.start("b", STUBBORN)]
    os.close(supervised.leash)  # what the kernel does when the owner dies
    assert supervised.process.wait(5)
    assert not any(child.is_running() for child in children)
    assert not supervised.directory.exists()


def test_it_holds_nothing_open_that_it_inherited(tmp_path: Path) -> None:
    """Whoever starts a lab in a script waits for the ends of the script's pipes."""
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    (tmp_path / "logs").mkdir()
    _, claim = network.claim("test-supervisor")
    with claim:
        process, leash = spawn(tmp_path, claim, Files(tmp_path).log("supervisor"))
    os.close(write_end)
    try:
        assert select.select([read_end], [], [], 10)[0]
        assert os.read(read_end, 1) == b""
        assert process.is_running()
    finally:
        os.close(leash)
        os.close(read_end)
        assert process.wait(5)


def test_once_told_to_keep_the_lab_it_outlives_its_owner(supervised: Supervised) -> None:
    child = supervised.start("a", SLEEP)
    ask_supervisor(supervised.network, do="keep")
    os.close(supervised.leash)
    assert [c.exit_code for c in ask_supervisor(supervised.network, do="status")] == [None]
    supervised.process.end()
    assert supervised.process.wait(5)
    assert not child.is_running()
    assert not supervised.directory.exists()


def test_even_kill_9_of_the_supervisor_leaves_no_child(supervised: Supervised) -> None:
    children = [supervised.start("a", SLEEP), supervised.start("b", STUBBORN, graceful=True)]
    supervised.process.end(signal.SIGKILL)
    assert all(child.wait(5) for child in children)


def test_a_graceful_child_may_tidy_up(supervised: Supervised, tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    code = "\n".join(
        (
            "import pathlib, signal, sys, time",
            f"tidy_up = lambda *_: (pathlib.Path({str(tidied)!r}).touch(), sys.exit())",
            "signal.signal(signal.SIGTERM, tidy_up)",
            "print('ready', flush=True)",
            "time.sleep(600)",
        )
    )
    supervised.start("a", code, graceful=True)
    _until(lambda: "ready" in (supervised.directory / "logs" / "a").read_text())
    supervised.process.end()
    assert supervised.process.wait(5)
    assert tidied.exists()


def test_a_child_can_have_a_tmp_of_its_own_in_which_only_what_it_needs_remains(supervised: Supervised) -> None:
    """Even when the lab, or the whole checkout, is below /tmp."""
    with tempfile.TemporaryDirectory(dir="/tmp") as kept, tempfile.TemporaryDirectory(dir="/tmp") as hidden:
        Path(kept, "file").touch()
        code = "import os, pathlib; pathlib.Path('/tmp/spark').mkdir();"
        code += f"print(os.path.exists({kept + '/file'!r}), os.path.exists({hidden!r}), 'done', flush=True)"
        supervised.start("a", code, own_tmp_but=[kept, sys.prefix, sys.base_prefix])
        log = supervised.directory / "logs" / "a"
        _until(lambda: "\n" in log.read_text())
        assert log.read_text() == "True False done\n"


def test_a_child_that_ended_is_reported_with_its_exit_code_and_leaves_no_zombie(supervised: Supervised) -> None:
    supervised.start("a", "raise SystemExit(3)")
    _until(lambda: ask_supervisor(supervised.network, do="status")[0].exit_code == 3)
    assert psutil.Process(supervised.process.pid).children() == []


def test_a_command_that_cannot_be_done_is_an_error_and_no_end(supervised: Supervised) -> None:
    supervised.start("a", SLEEP)
    with pytest.raises(LabError, match="a is already running"):
        supervised.start("a", SLEEP)
    with pytest.raises(LabError, match="unknown command 'dance'"):
        ask_supervisor(supervised.network, do="dance")
    assert supervised.process.is_running()


def _until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


FORKS = """
import os, sys, time
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
if pid:
    open("{pid_file}", "w").write(str(pid))
while not pid or {stays} or not os.path.exists("{pid_file}.seen"):
    time.sleep(0.01)
"""


@pytest.mark.parametrize("stays", [True, False], ids=["stopped", "ended-by-itself"])
def test_what_a_child_leaves_behind_ends_with_it(supervised: Supervised, tmp_path: Path, *, stays: bool) -> None:
    """A scheduler's tasks outlive it when it has to be killed, in groups of their own: its whole session goes."""
    pid_file = tmp_path / "pid"
    child = supervised.start("parent", FORKS.format(pid_file=pid_file, stays=stays))
    _until(lambda: pid_file.exists() and pid_file.read_text() != "")
    left = ProcessId.of(int(pid_file.read_text()))
    pid_file.with_name("pid.seen").touch()
    if stays:
        ask_supervisor(supervised.network, do="stop", name="parent")
    assert child.wait(5)
    assert left.wait(5)


def test_what_has_a_session_of_its_own_outlives_a_child_but_not_the_lab(supervised: Supervised, tmp_path: Path) -> None:
    """As a container's shim does while its node's process is restarted."""
    pid_file = tmp_path / "pid"
    child = supervised.start("parent", FORKS.format(pid_file=pid_file, stays=True).replace("setpgid(0, 0)", "setsid()"))
    _until(lambda: pid_file.exists() and pid_file.read_text() != "")
    left = psutil.Process(int(pid_file.read_text()))
    _until(lambda: os.getsid(left.pid) == left.pid)
    ask_supervisor(supervised.network, do="stop", name="parent")
    assert not child.is_running()
    assert left.ppid() == supervised.process.pid
    supervised.process.end()
    assert supervised.process.wait(5)
    assert not left.is_running()


def test_an_orphan_that_ends_leaves_no_zombie(supervised: Supervised) -> None:
    supervised.start("parent", "import os, time; os.fork() or os.setsid() or time.sleep(0.3)")
    supervisor = psutil.Process(supervised.process.pid)
    _until(lambda: supervisor.children() == [])
