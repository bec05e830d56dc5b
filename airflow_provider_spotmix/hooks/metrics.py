"""Tell Airflow's metrics (StatsD, Datadog or OpenTelemetry, as Airflow is configured) how a task's fleet does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Stats

from airflow_provider_spotmix.fleet.metrics import METRICS, Gauges, Kind, Measure, gauges, grown

if TYPE_CHECKING:
    from airflow_provider_spotmix.fleet.progress import Progress

MAX_TAG = 64
_NO_TAG = re.compile(r"[^A-Za-z0-9_.-]")

_gauges = Gauges()


@cache
def prepare_trigger_process() -> None:
    """Let metrics reach their destination from the process that runs triggers. Idempotent.

    Airflow 3.2 and later set up the metrics of providers only where tasks run (`task_runner.main`).
    """
    try:
        from airflow.sdk.observability import stats
        from airflow.sdk.observability.metrics import stats_utils
    except ImportError:  # earlier ones set them up wherever they are used
        return
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)


class FleetMetrics:
    """Follows the pictures of one task's fleet."""

    def __init__(self, dag_id: str, task_id: str, *, before: Mapping[str, Any] | None = None) -> None:
        """Begin, or go on after the last picture of an earlier controller (``before``)."""
        self._tags = {"dag_id": _tag(dag_id), "task_id": _tag(task_id)}
        self._before: Mapping[str, Any] = before or {}

    def observe(self, picture: Mapping[str, Any], progress: Progress) -> None:
        """Tell what has changed."""
        found = grown(self._before, picture)
        self._before = picture
        for each in (*found, *_gauges.set(self, self._tagged(gauges(picture)))):
            _emit(each, {**self._tags, **each.tags})
        for milliseconds in progress.take_gate_latencies():
            Stats.timing("spotmix.gate_latency", timedelta(milliseconds=milliseconds), tags=self._tags)

    def leave(self) -> None:
        """Somebody else may go on with the fleet: its gauges are not this process's any more."""
        _gauges.forget(self)

    def _tagged(self, measures: Iterable[Measure]) -> list[Measure]:
        return [Measure(each.name, each.value, {**self._tags, **each.tags}) for each in measures]


def _tag(name: str) -> str:
    """Return a name as every metrics system takes it: with StatsD it is part of one of 250 characters."""
    return _NO_TAG.sub("_", name)[:MAX_TAG]


def _emit(measure: Measure, tags: dict[str, str]) -> None:
    how: Callable[..., Any] = Stats.incr if METRICS[measure.name].kind is Kind.COUNTER else Stats.gauge
    whole = int(measure.value)
    value = whole if whole == measure.value else measure.value  # "3", as StatsD's readers expect
    how(measure.name, value, tags=tags)
