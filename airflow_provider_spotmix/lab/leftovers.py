"""What labs leave behind that did not end as they should: a directory, sometimes processes. Find it and remove it.

A lab is stale when its supervisor is gone (killed, or the machine was restarted), or when `up` died half-way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from airflow_provider_spotmix.lab import locks, paths
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import Network
from airflow_provider_spotmix.lab.processes import ProcessId
from airflow_provider_spotmix.lab.state import State

STOP_SECONDS = 20.0


def all_names() -> list[str]:
    """Names of the labs that have a directory, running or not."""
    labs = paths.labs_dir()
    return sorted(path.name for path in labs.iterdir() if _is_lab(Files(path))) if labs.is_dir() else []


def _is_lab(files: Files) -> bool:
    return files.state.exists() or files.pki.exists()


@dataclass(frozen=True)
class Found:
    """A lab that has a directory.

    Attributes:
        name: its name.
        state: "running", "stale" (the next `up` or `down` of any lab removes it) or "starting".
        ephemeral: whether it ends with the process that started it.
        api_server: its URL; empty where it is not known.
        directory: its directory.

    """

    name: str
    state: str
    ephemeral: bool
    api_server: str
    directory: str


def find_all() -> list[Found]:
    """Every lab of this user, by name."""
    return [_found(name) for name in all_names()]


def _found(name: str) -> Found:
    files = Files(paths.lab_dir(name))
    state = State.read(files)
    word = "stale" if is_stale(name) else "running" if state and state.complete else "starting"
    url = Network(state.network).api_url if state else ""
    return Found(name, word, bool(state and state.ephemeral), url, str(files.root))


def is_stale(name: str) -> bool:
    """Whether nothing of the lab runs any more, or it never came up."""
    files = Files(paths.lab_dir(name))
    state = State.read(files)
    return not supervisors(files.root) if state is None else not supervisor_of(state).is_running()


def supervisor_of(state: State) -> ProcessId:
    """The parent of all processes of a lab."""
    return ProcessId(state.supervisor_pid, state.supervisor_started)


def sweep() -> list[str]:
    """Remove every stale lab of this user that nobody is starting or stopping; returns their names."""
    removed = []
    for name in all_names():
        with locks.exclusive_or_none(paths.lab_lock_path(name)) as held:
            if held and is_stale(name):
                remove(paths.lab_dir(name))
                removed.append(name)
    return removed


def supervisors(directory: Path) -> list[ProcessId]:
    """Supervisors of that directory by their command lines: for a lab whose state is lost."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            arguments = process.cmdline()
            if str(directory) in arguments and any(word.endswith("lab/supervisor.py") for word in arguments):
                found.append(ProcessId(process.pid, process.create_time()))
    return found


def end(supervisor: ProcessId) -> None:
    """End a supervisor and with it everything of its lab."""
    supervisor.end(signal.SIGTERM)
    if not _reaped(supervisor, STOP_SECONDS):
        supervisor.end(signal.SIGKILL)  # its children go with it
        _reaped(supervisor, STOP_SECONDS)


def _reaped(process: ProcessId, seconds: float) -> bool:
    ended = process.wait(seconds)
    with contextlib.suppress(ChildProcessError):  # not our child, or reaped already
        os.waitpid(process.pid, os.WNOHANG)
    return ended


def remove(directory: Path) -> None:
    """Remove a lab's directory, and those above it if it was the last.

    Raises:
        LabError: it cannot be removed.

    """
    for _ in range(50):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            break
        time.sleep(0.1)
    else:
        raise LabError(f"{directory} cannot be removed", remedy="remove it by hand")
    for parent in (paths.labs_dir(), paths.labs_dir().parent):
        with contextlib.suppress(OSError):  # another lab is in it
            parent.rmdir()
