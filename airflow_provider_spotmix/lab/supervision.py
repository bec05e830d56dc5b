"""Talk to a supervisor, the parent of all processes of one directory: start one, command it, stop it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import supervisor
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.processes import ProcessId

TIMEOUT_SECONDS = 30.0  # a supervisor answers `stop` only when all has stopped


@dataclass(frozen=True)
class ChildStatus:
    """A child of a supervisor.

    Attributes:
        name: what it is called.
        pid: its process.
        exit_code: None while it runs; negative: the signal that ended it.
        stopped: whether it has ended because it was told to.

    """

    name: str
    pid: int
    exit_code: int | None
    stopped: bool = False


def spawn(directory: Path, listener: socket.socket, log: Path) -> tuple[ProcessId, int]:
    """Start the supervisor of a directory.

    It is the standard library alone (-I, -S: isolated, no site-packages), so that it is there at once and small.

    Args:
        directory: removed by the supervisor at its end.
        listener: the socket on which it takes commands.
        log: its own output.

    Returns:
        The process, and the leash: it ends when this descriptor is closed, until it is told to `keep` going.

    """
    read_end, write_end = os.pipe()
    for descriptor in (listener.fileno(), read_end):
        os.set_inheritable(descriptor, True)
    arguments = [sys.executable, "-I", "-S", str(Path(supervisor.__file__).resolve())]
    arguments += [str(directory), str(listener.fileno()), str(read_end)]
    actions: list[Any] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=actions, setsid=True)
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return ProcessId.of(pid), write_end


def ask(address: str | bytes, **request: Any) -> list[ChildStatus]:
    """Send one command to the supervisor that listens on that abstract Unix socket.

    Raises:
        LabError: it is not there, or it could not carry out the command.

    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
        except (OSError, ValueError) as error:
            raise LabError(f"the supervisor does not answer: {error}") from error
    if "error" in answer:
        raise LabError(f"the supervisor could not {request.get('do')}: {answer['error']}")
    return [ChildStatus(**child) for child in answer["components"]]


class Supervision:
    """The supervisor of a directory, found by the directory alone."""

    def __init__(self, directory: Path, *, process: ProcessId | None = None, leash: int | None = None) -> None:
        self._directory = directory.absolute()
        self._process = process
        self._leash = leash

    @classmethod
    def start(cls, directory: Path, *, ephemeral: bool) -> Supervision:
        """Start a supervisor for a directory. An ephemeral one ends when this process does, however that happens.

        Raises:
            LabError: the directory has one.

        """
        with socket.socket(socket.AF_UNIX) as listener:
            try:
                listener.bind(_address(directory.absolute()))
            except OSError:
                raise LabError(f"processes of {directory} are running", remedy="stop them first") from None
            listener.listen()
            process, leash = spawn(directory, listener, directory / "supervisor.log")
        found = cls(directory, process=process, leash=leash)
        if not ephemeral:
            found._ask(do="keep")
        return found

    @classmethod
    def attach(cls, directory: Path) -> Supervision:
        """Return the supervisor of a directory.

        Raises:
            LabError: it has none.

        """
        found = cls(directory)
        found.pids()
        return found

    def run(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, graceful: bool) -> None:
        """Start a child. ``graceful``: it gets a SIGTERM and time before it is killed."""
        component = {
            "name": name,
            "command": list(command),
            "env": dict(env),
            "log": str(log),
            "graceful": graceful,
            "own_tmp_but": None,
        }
        self._ask(do="start", component=component)

    def stop(self, name: str) -> None:
        """Stop a child and wait for its end."""
        self._ask(do="stop", name=name)

    def pids(self) -> dict[str, int]:
        """Process ids of the children that run."""
        return {child.name: child.pid for child in self._ask(do="status") if child.exit_code is None}

    def ended(self) -> dict[str, int]:
        """Exit codes of the children that have ended."""
        return {child.name: child.exit_code for child in self._ask(do="status") if child.exit_code is not None}

    def shutdown(self) -> None:
        """Stop all children, remove the directory and wait until that is done; idempotent."""
        with contextlib.suppress(LabError):
            self._ask(do="shutdown")
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._directory.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None
        if self._process is not None and not self._process.wait(TIMEOUT_SECONDS):
            self._process.end(signal.SIGKILL)  # its children go with it
        if self._process is not None:
            with contextlib.suppress(ChildProcessError):  # reap it, if it is ours to reap
                os.waitpid(self._process.pid, os.WNOHANG)

    def _ask(self, **request: Any) -> list[ChildStatus]:
        return ask(_address(self._directory), **request)


def _address(directory: Path) -> bytes:
    """Name in the kernel's abstract namespace: no file to leave behind, freed with the last holder."""
    return b"\0spotmix-supervisor-" + hashlib.sha256(os.fsencode(directory)).hexdigest()[:32].encode()
