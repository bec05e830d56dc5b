"""How long the page with all fleets waits for its data: 1,000 fleets that are over and 50 that run, in a real Airflow.

On PostgreSQL, with XComs as long fleets leave them behind (a full timeline, 100 events). Beside it stands Airflow's own
list of the same task instances, asked for in turns with ours.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from airflow_provider_spotmix.lab.airflow import AirflowConfig, AirflowHarness
from airflow_provider_spotmix.lab.airflow_settings import environment
from airflow_provider_spotmix.lab.progress import for_person
from bench import harness

OVER, RUNNING, DAGS = 1000, 50, 20
PAGE = 50
LIMIT_SECONDS = 1.0
ASKED = {
    "the page with all fleets": f"/spotmix/api/v1/fleets?limit={PAGE}",
    "the same, the largest savings first": f"/spotmix/api/v1/fleets?limit={PAGE}&order_by=-saved",
    "the same, one text searched for": f"/spotmix/api/v1/fleets?limit={PAGE}&q=run-7",
}
PEER = f"/api/v2/dags/~/dagRuns/~/taskInstances?limit={PAGE}&order_by=-start_date"


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how often each is asked")
    runs: int = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as scratch:
        dags = Path(scratch) / "dags"
        dags.mkdir()
        with AirflowHarness(Path(scratch) / "home", AirflowConfig(dags=dags), progress=for_person()) as airflow:
            size = fill(airflow)
            took = ask(airflow, runs)
    peer = median(took[PEER])
    measures = [
        harness.Measure(name=name, unit="s", ours=median(took[path]), peer=peer, limit=LIMIT_SECONDS)
        for name, path in ASKED.items()
    ]
    print(f"{OVER} fleets that are over and {RUNNING} that run, {size / 1000:.0f} kB each; a page of {PAGE}")
    return harness.finish("nav", measures, runs=runs)


def ask(airflow: AirflowHarness, runs: int) -> dict[str, list[float]]:
    """Ask for each in turns; the first turn is not counted."""
    took: dict[str, list[float]] = {path: [] for path in (*ASKED.values(), PEER)}
    for _ in range(runs + 1):
        for path, seconds in took.items():
            since = time.perf_counter()
            found = airflow.api.call("GET", path)
            seconds.append(time.perf_counter() - since)
            total = found.get("total", found.get("total_entries"))
            if "q=" not in path and total != OVER + RUNNING:
                raise AssertionError(f"{path}: {total} of {OVER + RUNNING}")
    return {path: seconds[1:] for path, seconds in took.items()}


def fill(airflow: AirflowHarness) -> int:
    """Write the fleets into Airflow's database, and return how long an XCom is."""
    os.environ.update(environment(airflow.home, airflow.config, airflow.settings, airflow.logs))
    from airflow.utils.session import create_session

    from tests.support.rows import write_task

    picture = long_fleet()
    with for_person().step("Writing fleets"), create_session() as session:
        for number in range(OVER + RUNNING):
            is_over = number < OVER
            changes = {
                "state": "succeeded" if is_over else "running",
                "saved": f"{number % 97}.{number % 10:04}",
                "started_at": f"2026-05-{1 + number % 28:02}T03:00:00+00:00",
            }
            fleet = {**picture, "summary": {**picture["summary"], **changes}}
            write_task(
                session,
                f"dag-{number % DAGS}",
                f"run-{number}",
                state="success" if is_over else "deferred",
                minute=number,
                fleet=fleet,
                report={"fleet": picture["fleet"], "result": "succeeded"} if is_over else None,
            )
    return len(json.dumps(picture))


def long_fleet() -> dict[str, Any]:
    """Return the picture of a fleet that has run for long and lost much."""
    from airflow_provider_spotmix.core.actions import Topic
    from airflow_provider_spotmix.fleet.timeline import MAX_POINTS
    from tests.core.vocabulary import NOON
    from tests.fleet.test_progress import interrupted

    progress, state = interrupted()
    observe: Callable[..., None] = progress.observe
    for minute in range(2 * MAX_POINTS):
        observe(state, NOON + 100 + 60 * minute)
        progress.told(Topic.NOTICE, f"notice: node spot-{minute} will go within 2 min", NOON + 100 + 60 * minute)
    return progress.picture(NOON + 100 + 120 * MAX_POINTS)


if __name__ == "__main__":
    sys.exit(main())
