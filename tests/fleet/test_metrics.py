"""What the metrics system is told of a fleet."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_spotmix.fleet.metrics import METRICS, Gauges, Kind, Measure, gauges, grown
from airflow_provider_spotmix.fleet.progress import Progress
from tests.core.vocabulary import NOON, ON_DEMAND, SPOT, started
from tests.fleet.test_progress import interrupted, seen, spec

_GROWING = ("executor_seconds", "cost", "cost_all_on_demand")


def values(measures: list[Measure]) -> dict[str, Any]:
    """By name, with the tag's value if there is one."""
    return {".".join((each.name.removeprefix("spotmix."), *each.tags.values())): each.value for each in measures}


def test_an_interrupted_fleet() -> None:
    progress, _ = interrupted()
    picture = progress.picture(NOON + 3600)
    assert values(gauges(picture)) == {
        "fleets": 1,
        "fleets_in_fallback": 1,
        "executors_waiting": 0,
        "executors.spot": 1,
        "executors.on-demand": 4,
        "executors_running.spot": 1,
        "executors_running.on-demand": 4,
        "seats.spot": 2,
        "seats.on-demand": 3,
        "breakers_open.spot": 0,
    }
    counted = values(grown({}, picture))
    assert {name: value for name, value in counted.items() if name.split(".")[0] not in _GROWING} == {
        "interruptions": 1,
        "losses.spot-interruption": 1,
        "replacements.on-demand": 1,
        "fallbacks.spot-interruption": 1,
    }
    assert counted["cost.USD"] == float(picture["summary"]["total"])
    assert counted["cost_all_on_demand.USD"] > counted["cost.USD"]
    assert counted["executor_seconds.on-demand"] > 3 * 3600 - 10


def test_every_measure_is_a_metric_of_the_table_with_its_tags() -> None:
    progress, _ = interrupted()
    for measures, kind in ((gauges(progress.picture(NOON)), Kind.GAUGE), (grown({}, progress.picture()), Kind.COUNTER)):
        for each in measures:
            assert (METRICS[each.name].kind, METRICS[each.name].tags) == (kind, tuple(each.tags))


def test_counters_grow_by_what_is_new_also_for_the_next_controller() -> None:
    progress, state = interrupted()
    before = json.loads(json.dumps(progress.picture(NOON + 50)))
    assert grown(before, progress.picture(NOON + 50)) == []
    after = Progress(spec(), before=before)
    seen(after, state, (60, []))
    counted = values(grown(before, after.picture(NOON + 60)))
    assert set(counted) == {"executor_seconds.spot", "executor_seconds.on-demand", "cost.USD", "cost_all_on_demand.USD"}
    assert counted["executor_seconds.spot"] == pytest.approx(10)


def test_another_fleets_picture_is_no_beginning() -> None:
    progress, _ = interrupted()
    picture = progress.picture(NOON + 50)
    assert grown({**picture, "fleet": "an earlier try's"}, picture) == grown({}, picture)


def test_an_estimate_that_is_corrected_downwards_takes_nothing_back() -> None:
    now = {"fleet": "f", "summary": {"currency": "USD", "total": "1.5", "all_on_demand": "4"}}
    before = {"fleet": "f", "summary": {"currency": "USD", "total": "2", "all_on_demand": "3"}}
    assert values(grown(before, now)) == {"cost_all_on_demand.USD": 1}


def test_a_fleet_that_is_over_has_no_gauges() -> None:
    progress = Progress(spec())
    seen(progress, started(spec()), (0, []))
    progress.end("succeeded", "", NOON + 9)
    assert gauges(progress.picture()) == []


def test_gauges_of_a_mapped_tasks_fleets_are_added_up_and_taken_off() -> None:
    tags = {"pool": SPOT}
    sums = Gauges()
    assert sums.set("a", [Measure("n", 2, tags)]) == [Measure("n", 2, tags)]
    assert sums.set("b", [Measure("n", 3, tags)]) == [Measure("n", 5, tags)]
    assert sums.set("a", []) == [Measure("n", 3, tags)]
    sums.forget("b")
    assert sums.set("c", [Measure("n", 1, {"pool": ON_DEMAND}), Measure("n", 4, tags)])[1] == Measure("n", 4, tags)


@pytest.mark.parametrize(
    "picture", [{}, {"summary": 5, "counts": [], "ledger": "x"}, {"summary": {"state": "running"}, "waiting": "many"}]
)
def test_what_others_wrote_harms_nothing(picture: dict[str, Any]) -> None:
    assert {each.value for each in (*grown({}, picture), *gauges(picture))} <= {0, 1}
