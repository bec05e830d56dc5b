"""Start and stop a lab many times, in every way that there is, and look after each for what has stayed.

    python -m tests.lab.soak [ROUNDS [SEED]]

One in three rounds is interrupted by kill -9 at a random moment: of who starts it, of its supervisor, or of one of its
parts. The next `up` has to cope with what that leaves; then nothing may be left.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from airflow_provider_spotmix.lab import build, paths, progress
from airflow_provider_spotmix.lab.api import Json
from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.conformance import until
from tests.lab.traces import Traces, adopt_orphans, left_since

NAME = "soak"
UP = [sys.executable, "-c", "from airflow_provider_spotmix.cli import main; main()", "lab", "up", "--name", NAME]
# What a container may do to stay: a session of its own, children of children, deafness.
DEAF = "trap '' TERM"
STUBBORN = f'{DEAF}; (setsid sh -c "{DEAF}; sleep 600 & sleep 600" &); echo here >/data/file; echo up; sleep 600'


def idle(lab: Lab, rng: random.Random) -> None:
    """Nothing happens in it."""


def full(lab: Lab, rng: random.Random) -> None:
    """Pods run on every node when it is stopped."""
    pods = f"/api/v1/namespaces/{lab.create_namespace('soak')}/pods"
    nodes = [node.name for node in lab.status().nodes]
    for node in nodes:
        lab.api.create(
            pods, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node}, "spec": _stubborn_on(node)}
        )
    for path in (f"{pods}/{node}" for node in nodes):
        until("the pod to run", partial(_is_up, lab, path))


def _is_up(lab: Lab, pod: str) -> bool:
    """Whether its container runs and its children do."""
    return lab.api.get(pod)["status"]["phase"] == "Running" and lab.api.text(f"{pod}/log") == "up\n"


def _stubborn_on(node: str) -> Json:
    main = {
        "name": "main",
        "image": "lab/host",
        "command": ["sh", "-c", STUBBORN],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volumes = [{"name": "data", "emptyDir": {}}]
    return {"nodeName": node, "containers": [main], "tolerations": [{"operator": "Exists"}], "volumes": volumes}


def dead_node(lab: Lab, rng: random.Random) -> None:
    """A machine is dead when it is stopped."""
    full(lab, rng)
    lab.interrupt("spot-1", "node-death")


def frozen_node(lab: Lab, rng: random.Random) -> None:
    """A machine stands still when it is stopped."""
    full(lab, rng)
    lab.interrupt("spot-2", "node-freeze")


def cut_off_node(lab: Lab, rng: random.Random) -> None:
    """The network around a machine is broken when it is stopped."""
    full(lab, rng)
    # A kernel may keep it for root to cut off pods, too.
    lab.interrupt("on-demand-1", "node-partition" if os.geteuid() == 0 else "api-partition")


def killed_supervisor(lab: Lab, rng: random.Random) -> None:
    """kill -9 of the supervisor, which may have taken in the pods; then it is started again."""
    full(lab, rng)
    if rng.random() < 0.5:
        lab.restart("nodes")
    time.sleep(rng.uniform(0, 1))
    os.kill(lab.state.supervisor_pid, signal.SIGKILL)
    Lab.up(NAME)


def killed_part(lab: Lab, rng: random.Random) -> None:
    """kill -9 of one of its parts; then it is started again."""
    full(lab, rng)
    os.kill(rng.choice(lab.status().components).pid, signal.SIGKILL)
    Lab.up(NAME)


def killed_starter(lab: Lab, rng: random.Random) -> None:
    """kill -9 of who starts it; then it is started again."""
    lab.down()
    with subprocess.Popen(UP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starter:
        try:
            starter.wait(rng.uniform(0.2, 8))
        except subprocess.TimeoutExpired:
            starter.kill()
    Lab.up(NAME)


GENTLE = (full, frozen_node, dead_node, cut_off_node, idle)
VIOLENT = (killed_supervisor, killed_starter, killed_part)


def _act(number: int) -> Callable[[Lab, random.Random], None]:
    """Two gentle rounds, a violent one, and so on; each kind in turn."""
    thirds, rest = divmod(number, 3)
    return VIOLENT[thirds % len(VIOLENT)] if rest == 2 else GENTLE[(2 * thirds + rest) % len(GENTLE)]


def play(act: Callable[[Lab, random.Random], None], rng: random.Random) -> None:
    """Up, something, down."""
    lab = Lab.up(NAME)
    try:
        act(lab, rng)
    finally:
        Lab.stop(NAME)


def soak(rounds: int, seed: int) -> list[str]:
    """Play so many rounds; returns what the first unclean one has left."""
    build.ensure(progress.for_person())
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="spotmix-soak-") as scratch:
        _move_in(Path(scratch))
        play(idle, random.Random(seed))  # whatever Python itself opens once is open now
        before = Traces.of(Path(scratch))
        for number in range(rounds):
            rng = random.Random(f"{seed} {number}")
            act, started = _act(number), time.monotonic()
            play(act, rng)
            left = left_since(before, Path(scratch))
            verdict = "LEFT SOMETHING" if left else "clean"
            seconds = time.monotonic() - started
            print(f"round {number + 1} of {rounds}, {act.__name__}: {verdict}, {seconds:.1f} s", flush=True)
            if left:
                return [f"round {number + 1} ({act.__name__}, seed {seed}) has left:", *left]
    return []


def _move_in(scratch: Path) -> None:
    """Have everything that follows write into directories of our own; the cache of programs stays where it is."""
    os.environ["XDG_CACHE_HOME"] = str(paths.cache_dir().parent)
    for variable, name in {"XDG_STATE_HOME": "state", "HOME": "home", "TMPDIR": "tmp"}.items():
        (scratch / name).mkdir()
        os.environ[variable] = str(scratch / name)
    tempfile.tempdir = None  # Python remembers it


def main() -> int:
    rounds, seed = (int(word) for word in [*sys.argv[1:], *["50", "1"][len(sys.argv) - 1 :]])
    for line in (left := soak(rounds, seed)):
        print(line)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
