"""How quickly a rehearsal lab is there, and what it takes while nothing happens in it.

Each run starts a lab in a fresh process, waits until it is ready, leaves it alone for a while, and stops it. Beside the
time to ready stands that of the control plane itself in the same run: etcd and API server, until the latter is ready.
With ``--cold`` it also builds the programs once, as on a machine that has nothing of them, and on two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import harness

UP_SECONDS = 10.0
UP_RATIO = 4.0  # of the control plane's own start; after it come controllers, scheduler, nodes and operator
MEMORY_MIB = 1536.0
IDLE_CORES = 0.5
COLD_MINUTES = 10.0
COLD_CORES = 2

# Run in a fresh process: it prints what it has measured.
PROBE = """
import json, secrets, sys, time
import psutil
from airflow_provider_spotmix.lab import parts
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.progress import Silent

SETTLE_SECONDS, IDLE_SECONDS = 10.0, 10.0


class Clock(Silent):
    # Remembers until when the API server was waited for at first, before anything else was begun.
    ready, is_over = 0.0, False

    def update(self, detail):
        self.is_over = self.is_over or (self.ready > 0 and not detail.startswith(parts.API_SERVER))
        if not self.is_over and detail.startswith(parts.API_SERVER):
            self.ready = time.perf_counter()


def tree(lab):
    supervisor = psutil.Process(lab.state.supervisor_pid)
    return [supervisor, *supervisor.children(recursive=True)]


def cpu_seconds(processes):
    return sum(sum(process.cpu_times()[:2]) for process in processes)


clock, start = Clock(), time.perf_counter()
with Lab.ephemeral(progress=clock) as lab:
    up = time.perf_counter() - start
    time.sleep(SETTLE_SECONDS)
    processes = tree(lab)
    before, began = cpu_seconds(processes), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    cores = (cpu_seconds(processes) - before) / (time.perf_counter() - began)
    pss = sum(process.memory_full_info().pss for process in processes)
    stopping = time.perf_counter()
down = time.perf_counter() - stopping
print(json.dumps({"up": up, "control_plane": clock.ready - start, "down": down, "mib": pss / 2**20, "cores": cores}))
"""

BUILD = "from airflow_provider_spotmix.lab import build, progress; build.ensure(progress.for_person())"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how many labs are started")
    parser.add_argument("--cold", action="store_true", help="build everything from nothing, too: minutes")
    chosen = parser.parse_args(arguments)
    runs = max(chosen.runs, 1)
    subprocess.run([sys.executable, "-c", BUILD], check=True)
    samples = harness.interleaved({"lab": [sys.executable, "-c", PROBE]}, runs=runs, env=os.environ)
    found = harness.medians(samples["lab"])
    print(f"lab: down takes {found['down']:.1f} s")
    measures = [
        harness.Measure(name="up", unit="s", ours=found["up"], peer=found["control_plane"], limit=UP_SECONDS),
        harness.Measure(
            name="up to control plane", unit="times", ours=found["up"] / found["control_plane"], limit=UP_RATIO
        ),
        harness.Measure(name="memory (PSS)", unit="MiB", ours=found["mib"], limit=MEMORY_MIB),
        harness.Measure(name="idle", unit="cores", ours=found["cores"], limit=IDLE_CORES),
    ]
    if chosen.cold:
        measures.append(harness.Measure(name="cold build", unit="min", ours=cold_build() / 60, limit=COLD_MINUTES))
    return harness.finish("lab", measures, runs=runs)


def cold_build() -> float:
    """Seconds to fetch and compile everything into empty caches."""
    with tempfile.TemporaryDirectory(prefix="spotmix-bench-", ignore_cleanup_errors=True) as scratch:
        caches = {"XDG_CACHE_HOME": "cache", "GOCACHE": "go-build", "GOPATH": "go", "GOMODCACHE": "go/pkg/mod"}
        env = {**os.environ, **{name: str(Path(scratch, place)) for name, place in caches.items()}}
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", BUILD],
            env=env,
            check=True,
            preexec_fn=_on_few_cores,
        )
        seconds = time.perf_counter() - started
        subprocess.run(["chmod", "-R", "u+w", scratch], check=False)  # Go write-protects its modules
    return seconds


def _on_few_cores() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:COLD_CORES])


if __name__ == "__main__":
    sys.exit(main())
