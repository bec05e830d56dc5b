from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from airflow_provider_spotmix.lab.processes import ProcessId


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_running_process_is_found_and_ended(sleeper: subprocess.Popen[bytes]) -> None:
    found = ProcessId.of(sleeper.pid)
    assert found.is_running()
    found.end()
    assert found.wait(5)


def test_another_process_with_the_same_number_is_never_touched(sleeper: subprocess.Popen[bytes]) -> None:
    earlier = ProcessId(sleeper.pid, ProcessId.of(sleeper.pid).started - 100)
    earlier.end()
    assert not earlier.is_running()
    assert ProcessId.of(sleeper.pid).is_running()


def test_a_zombie_does_not_run(sleeper: subprocess.Popen[bytes]) -> None:
    found = ProcessId.of(sleeper.pid)
    sleeper.kill()
    assert found.wait(5)  # nobody has reaped it
