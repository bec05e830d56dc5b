"""Controller processes end with whoever plays, however that ends, and leave nothing of themselves."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SECONDS = 60.0
# Has a controller for an API server that is not there, and waits.
PLAYER = """
import asyncio, sys
from pathlib import Path
from tests.chaos.controller import Order
from tests.chaos.fleet import planned
from tests.chaos.processes import nursery
from tests.chaos.schedule import Setup

CONFIG = '''{"apiVersion": "v1", "kind": "Config", "current-context": "x", "users": [{"name": "x", "user": {}}],
"clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
"contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]}'''

async def main():
    spec = planned(Setup(shares=(1, 1), executors=2), "stage", ["", ""]).spec
    async with nursery() as mother:
        order = Order(name="c", kubeconfig=CONFIG, spec=spec, directory=sys.argv[1])
        print((await mother.start(order)).pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("paused", [pytest.param(False, id="running"), pytest.param(True, id="paused")])
def test_a_controller_does_not_survive_who_plays(tmp_path: Path, paused: bool) -> None:
    player = subprocess.Popen([sys.executable, "-c", PLAYER, str(tmp_path)], stdout=subprocess.PIPE)
    assert player.stdout is not None
    controller = psutil.Process(int(player.stdout.readline()))
    mother = controller.parent()
    assert mother is not None
    if paused:
        controller.send_signal(signal.SIGSTOP)
    player.kill()
    player.communicate()
    _, alive = psutil.wait_procs([mother, controller], SECONDS)
    assert not alive


@pytest.mark.cluster
def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--count", "8", "--outages", "1", "--keep", str(tmp_path)]
    player = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 4 * SECONDS
        while not list(tmp_path.glob("*/controller-*.log")):
            assert player.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        family = psutil.Process(player.pid).children(recursive=True)
        player.send_signal(signal.SIGTERM)
        said, _ = player.communicate(timeout=SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            player.kill()
    assert said.decode().endswith("chaos: interrupted\n")
    assert player.returncode == 130
    _, alive = psutil.wait_procs(family, SECONDS)
    assert not alive
