"""Talk to a supervisor: start one for a directory, or find the one that is there."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab.errors import LabError

STOP_SECONDS = 30.0


class Supervision:
    """The parent of all processes of one directory, seen from outside."""

    def __init__(self, directory: Path, *, lifeline: int | None = None) -> None:
        self._directory = directory
        self._lifeline = lifeline

    @classmethod
    def start(cls, directory: Path, *, ephemeral: bool) -> Supervision:
        """Start a supervisor for a directory. An ephemeral one ends when this process does, however that happens.

        Raises:
            LabError: the directory has one.

        """
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(_address(directory))
        except OSError:
            listener.close()
            raise LabError(f"processes of {directory} are running", remedy="stop them first") from None
        listener.listen()
        read, lifeline = os.pipe() if ephemeral else (None, None)
        inherited = [listener.fileno(), *([read] if read is not None else [])]
        module = "airflow_provider_spotmix.lab.supervisor"
        subprocess.Popen(
            [sys.executable, "-m", module, str(directory), *map(str, inherited)],
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        listener.close()
        if read is not None:
            os.close(read)
        return cls(directory, lifeline=lifeline)

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
        self._command({"do": "start", "component": component})

    def stop(self, name: str) -> None:
        """Stop a child and wait for its end."""
        self._command({"do": "stop", "name": name})

    def pids(self) -> dict[str, int]:
        """Process ids of the children that run."""
        return {c["name"]: c["pid"] for c in self._command({"do": "status"}) if c["exit_code"] is None}

    def ended(self) -> dict[str, int]:
        """Exit codes of the children that have ended."""
        return {c["name"]: c["exit_code"] for c in self._command({"do": "status"}) if c["exit_code"] is not None}

    def shutdown(self) -> None:
        """Stop all children, remove the directory and wait until that is done; idempotent."""
        with suppress(LabError):
            self._command({"do": "shutdown"})
        deadline = time.monotonic() + STOP_SECONDS
        while self._directory.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def _command(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(STOP_SECONDS)
            try:
                connection.connect(_address(self._directory))
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer = json.loads(connection.makefile("rb").readline())
            except (OSError, ValueError) as error:
                raise LabError(f"no supervisor of {self._directory} answers ({error})") from None
        if "error" in answer:
            raise LabError(f"the supervisor of {self._directory} could not {request['do']}: {answer['error']}")
        components: list[dict[str, Any]] = answer["components"]
        return components


def _address(directory: Path) -> bytes:
    """Name in the kernel's abstract namespace: no file to leave behind, freed with the last holder."""
    digest = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:32]
    return b"\0spotmix-supervisor-" + digest.encode()
