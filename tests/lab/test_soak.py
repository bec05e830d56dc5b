"""Nothing of a lab stays, however it ends; and what stays is seen. `make soak` goes on for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LEAVE_EVERYTHING = """
import os, pathlib, socket, subprocess, sys
from tests.lab.traces import Traces, adopt_orphans, left_since
place = pathlib.Path(sys.argv[1])
adopt_orphans()
before = Traces.of(place)
subprocess.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"])
port = socket.create_server(("127.99.0.1", 0))
name = socket.socket(socket.AF_UNIX)
name.bind("\\0spotmix-" + place.name)
memory = pathlib.Path("/dev/shm", "spotmix-" + place.name)
memory.touch()
(place / "a directory").mkdir()
os.mkfifo(place / "a directory" / "pipe")
left = left_since(before, place, settle_seconds=0)
memory.unlink()
for process in [line.split()[1] for line in left if line.startswith("processes")]:
    os.kill(int(process), 9)
print(*left, sep="\\n")
"""


def test_all_that_stays_is_seen(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_EVERYTHING, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    kinds = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert set(kinds) == {"descriptors", "files", "memory", "names", "ports", "processes"}, done.stdout


@pytest.mark.cluster
def test_a_lab_leaves_nothing_whatever_was_in_it_and_however_it_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab.soak", "3"], capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
