"""How Airflow's metrics are told, at the edge: what they are told is in tests/fleet/test_metrics.py and tests/e2e."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats

from airflow_provider_spotmix.fleet.metrics import METRICS
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.hooks.metrics import FleetMetrics
from tests.core.vocabulary import NOON
from tests.fleet.test_progress import interrupted, spec


class Told:
    """What a metrics system was told, at Airflow's own boundary."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        for kind in ("incr", "gauge", "timing"):
            patch.setattr(Stats, kind, self.take, raising=False)

    def take(self, name: str, value: Any, *, tags: dict[str, str]) -> None:
        assert name in METRICS
        self.names.append(",".join((name, *(f"{key}={tags[key]}" for key in sorted(tags)))))


def test_names_and_tags_are_such_that_statsd_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    progress, _ = interrupted()
    progress.placed(12.5)
    FleetMetrics("ünï " + "d" * 240, "a.b," + "t" * 240).observe(progress.picture(NOON + 60), progress)
    assert {name.split(",")[0] for name in told.names} == set(METRICS) - {"spotmix.notices", "spotmix.returns"}
    assert all(name.isascii() and len(name) <= 250 for name in told.names)
    assert {part for name in told.names for part in name.split(",") if part.startswith("dag_id=")} == {
        "dag_id=_n__" + "d" * 60
    }


def test_latencies_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told, progress = Told(monkeypatch), Progress(spec())
    progress.placed(12.5)
    metrics = FleetMetrics("etl", "spark")
    for _ in range(2):
        metrics.observe(progress.picture(NOON), progress)
    assert told.names.count("spotmix.gate_latency,dag_id=etl,task_id=spark") == 1
    metrics.leave()
