"""What every benchmark shares: measuring in fresh processes, comparing with a limit, and saying so.

A benchmark is a file of this directory that `make bench BENCH=name` runs. It writes ``build/bench/name.json``, prints a
line for each measure, and exits with 1 when one is beyond its limit.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "bench"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One quantity, smaller is better.

    Attributes:
        name: what was measured.
        unit: of ``ours``, ``peer`` and ``limit``.
        ours: our value.
        limit: the largest one that is allowed.
        peer: the value of what a user would take instead; None without such a thing.

    """

    name: str
    unit: str
    ours: float
    limit: float
    peer: float | None = None

    @property
    def is_within(self) -> bool:
        """Whether the limit is kept. A value that is no number keeps none."""
        return self.ours <= self.limit

    @property
    def ratio(self) -> float | None:
        """Our value as a part of the peer's, or of the limit where there is no peer."""
        base = self.limit if self.peer is None else self.peer
        return self.ours / base if base else None

    def to_dict(self) -> dict[str, Any]:
        """The keys that every benchmark's file has."""
        return {
            "name": self.name,
            "ours": _rounded(self.ours),
            "peer": None if self.peer is None else _rounded(self.peer),
            "limit": _rounded(self.limit),
            "ratio": None if self.ratio is None else _rounded(self.ratio),
            "unit": self.unit,
            "within_limit": self.is_within,
        }

    def __str__(self) -> str:
        peer = "" if self.peer is None else f", peer {self.peer:.4g} {self.unit}"
        ratio = "" if self.ratio is None else f" (ratio {self.ratio:.2g})"
        verdict = "ok" if self.is_within else "LIMIT BROKEN"
        return f"{self.name}: {self.ours:.4g} {self.unit}{peer}{ratio}, limit {self.limit:.4g} {self.unit}: {verdict}"


def finish(name: str, measures: Sequence[Measure], *, runs: int, output: Path = OUTPUT) -> int:
    """Write the benchmark's file, print its lines, return its exit status. The first measure is the headline."""
    found: dict[str, Any] = {
        **measures[0].to_dict(),
        "bench": name,
        "measures": [measure.to_dict() for measure in measures],
        "within_limit": all(measure.is_within for measure in measures),
        "runs": runs,
        "machine": machine(),
    }
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{name}.json"
    path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    for measure in measures:
        print(f"{name}: {measure}")
    print(f"{name}: {runs} runs each, written to {os.path.relpath(path)}")
    return 0 if found["within_limit"] else 1


def interleaved(
    commands: Mapping[str, Sequence[str]], *, runs: int, env: Mapping[str, str]
) -> dict[str, list[dict[str, float]]]:
    """Run every command as often, in turn, each in a fresh process, and collect what it prints: one JSON object.

    In turn, so that a machine that is busy for a while is so for all of them; the first of each round changes, so that
    none always runs after the same other one. A round before the first only warms caches and is not counted.

    Raises:
        subprocess.CalledProcessError: a command failed; what it said was shown.

    """
    names = list(commands)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for run in range(runs + 1):
        print(f"  {'warming up' if run == 0 else f'run {run} of {runs}'} ...", file=sys.stderr, flush=True)
        first = run % len(names)
        for name in names[first:] + names[:first]:
            done = subprocess.run(commands[name], env=dict(env), stdout=subprocess.PIPE, text=True, check=True)
            if run:
                samples[name].append(json.loads(done.stdout.splitlines()[-1]))
    return samples


def medians(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of every key."""
    return {key: median(sample[key] for sample in samples) for key in samples[0]}


def machine() -> dict[str, Any]:
    """What a reader needs to judge the numbers; nothing that names the machine."""
    return {
        "cpu": _first_value("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _first_value("/proc/meminfo", "MemTotal"),
        "load_1_minute": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _first_value(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
