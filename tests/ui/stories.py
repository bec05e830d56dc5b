"""What the routes answer for a few fleets, made by the Python that makes it for real: the tests of ui/ read them.

``python -m tests.ui.stories`` writes them into ui/fixtures; read the diff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from airflow_provider_spotmix.core.actions import Topic
from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet.happenings import written
from airflow_provider_spotmix.fleet.overhead import Overhead
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.report import build
from tests.core.vocabulary import NOON, ON_DEMAND, SPOT, done, evicted, gone, observed, pod, running, started
from tests.fleet.test_progress import seen, spec

FIXTURES = Path(__file__).parents[2] / "ui" / "fixtures"
HOSTILE = "<img src=x onerror=alert(1)>"
TASK = {"dag_id": "etl", "run_id": "manual__2027-01-15T08:00:00+00:00", "task_id": "spark", "map_index": -1}


def interrupted() -> tuple[Progress, FleetState]:
    """Five executors; one on spot is noticed and evicted, and its replacement runs on on-demand."""
    progress, state = Progress(spec()), started(spec())
    number, lost = next((e.pod.executor_id, e.pod) for _, e in state.executors() if e.placed_pool == SPOT)
    there = running(6, seat=number - 1, pool=ON_DEMAND, seat_pool=SPOT, since=1840, fallback="spot-interruption")
    seen(progress, state, (0, []))
    progress.told(Topic.NOTICE, f"notice: node {lost.node} will go within 2 min", NOON + 1800)
    state = seen(
        progress,
        state,
        (1830, [evicted(lost, 1830)]),
        (1832, [gone(replace(lost, deleting=True, disruption="EvictionByEvictionAPI"), 1832)]),
        (1834, [observed(pod(6), 1834)]),
        (1840, [done(6, 1840), observed(there, 1840)]),
    )
    progress.lost_work(Overhead(lost_tasks=2, lost_task_seconds=61.5, repeated_tasks=14, repeated_task_seconds=420.2))
    return progress, state


def pictures() -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
    """Pictures of progress by name, each with the report, if there is one."""
    at_work = Progress(spec())
    seen(at_work, started(spec()), (0, []))
    disturbed, state = interrupted()
    in_fallback = disturbed.picture(NOON + 2400)
    disturbed.end("succeeded", "all applications succeeded", NOON + 3600)
    report = build(state, succeeded=True, message="all applications succeeded", gate_latencies_ms=[12.5, 14, 18, 21])
    return {
        "submitted": (Progress(spec()).picture(NOON), None),
        "running": (_created(at_work.picture(NOON + 600)), None),
        "fallback": (_created(in_fallback), None),
        "succeeded": (_created(disturbed.picture()), report.to_dict()),
        "hostile": (_hostile(in_fallback), None),
    }


def _created(picture: dict[str, Any]) -> dict[str, Any]:
    """Only the API server says when an application was created, and here is none."""
    picture["summary"]["started_at"] = written(NOON)
    return picture


def _hostile(picture: Mapping[str, Any]) -> dict[str, Any]:
    """Put markup wherever somebody else writes text, and into the names of pools."""
    others = {"applications", "breaker", "drivers", "events", "fallback_pool", "ledger", "message", "mix", "periods"}
    pools = {"placed", "pools", "running", "seats", "target", "timeline"}
    text = json.dumps({name: picture[name] for name in {*others, *pools}})
    for innocent in (SPOT, "etl", "evicted", "spot-interruption"):
        text = text.replace(f'"{innocent}"', f'"{HOSTILE}{innocent}"')
    changed: dict[str, Any] = {**picture, **json.loads(text), "message": HOSTILE}
    changed["events"] = [{**each, "text": HOSTILE} for each in changed["events"]]
    changed["drivers"] = [
        {**each, "message": HOSTILE, "links": {"spark_ui": "javascript:alert(1)", "history_server": None}}
        for each in changed["drivers"]
    ]
    return changed


def answers() -> dict[str, Any]:
    """What the routes answer, by the name of the fixture."""
    made = pictures()
    tasks = {f"task-{name}": _task(*each) for name, each in made.items()}
    rows = [_row(name, picture["summary"]) for name, (picture, _) in made.items() if name != "hostile"]
    saved = {"currency": "USD", "saved": "7.1234", "total": "21.5000", "all_on_demand": "28.6234", "fleets": 3}
    return {
        **tasks,
        "task-nothing": _task(None, None),
        "run": {"fleets": rows},
        "fleets": {"fleets": rows, "total": 120, "totals": [saved], "truncated": False},
    }


def _task(fleet: dict[str, Any] | None, report: dict[str, Any] | None) -> dict[str, Any]:
    times = {"start_date": "2027-01-15T08:00:00+00:00", "end_date": None}
    task: dict[str, Any] = {
        **TASK,
        "state": "success" if report else "deferred",
        "try_number": 1,
        **times,
        "log_url": "/dags/etl",
    }
    return {"task": task, "fleet": fleet, "report": report, "why_empty": None if fleet else "nothing submitted yet"}


def _row(name: str, summary: dict[str, Any]) -> dict[str, Any]:
    other = {"dag_display_name": f"ETL {name}", "try_number": 1, "task_state": "deferred"}
    return {
        **TASK,
        "task_id": name,
        **other,
        "logical_date": None,
        "fleet": "f1",
        "namespace": "spark",
        "summary": summary,
    }


def main() -> None:
    """Write them."""
    FIXTURES.mkdir(exist_ok=True)
    for name, answer in answers().items():
        (FIXTURES / f"{name}.json").write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
