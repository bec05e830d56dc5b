"""What a person sees of a fleet: right at every moment, small for every fleet, and the same after a restart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Topic
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.cost import Price, Prices
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet.progress import MAX_BYTES, Progress
from airflow_provider_spotmix.fleet.timeline import MAX_POINTS, Point, Timeline
from tests.core.test_scale import running_fleet
from tests.core.vocabulary import (
    NOON,
    ON_DEMAND,
    SPOT,
    deleting,
    done,
    evicted,
    fleet,
    gone,
    observed,
    pod,
    run,
    running,
    started,
)

PRICES = Prices(by_pool={SPOT: Price(executor_hour=Decimal(1)), ON_DEMAND: Price(executor_hour=Decimal(3))})


def spec(executors: int = 5) -> FleetSpec:
    return replace(fleet("40:60", executors=executors), prices=PRICES)


def seen(progress: Progress, state: FleetState, *steps: tuple[float, Sequence[ev.AnyEvent]]) -> FleetState:
    """Let happen what happens at each time, and let it be seen."""
    for at, events in steps:
        state = run(state, *events)
        progress.observe(state, NOON + at)
    return state


def interrupted() -> tuple[Progress, FleetState]:
    """Five executors; the first on spot is evicted, and its replacement runs on on-demand."""
    progress, state = Progress(spec()), started(spec())
    number, lost = next((e.pod.executor_id, e.pod) for _, e in state.executors() if e.placed_pool == SPOT)
    there = running(6, seat=number - 1, pool=ON_DEMAND, seat_pool=SPOT, since=40, fallback="spot-interruption")
    state = seen(
        progress,
        state,
        (0, []),
        (30, [evicted(lost, 30)]),
        (32, [gone(replace(lost, deleting=True, disruption="EvictionByEvictionAPI"), 32)]),
        (34, [observed(pod(6), 34)]),
        (40, [done(6, 40), observed(there, 40)]),
    )
    return progress, state


def test_before_anything_is_seen_it_says_what_will_be() -> None:
    picture = Progress(spec()).picture(NOON)
    assert picture["summary"]["state"] == "submitted"
    assert picture["target"] == {SPOT: 2, ON_DEMAND: 3}
    assert (picture["placed"], picture["seats"], picture["events"], picture["periods"]) == ({}, {}, [], [])
    assert picture["applications"] == ["etl"]


def test_a_running_fleet_is_counted_by_pool() -> None:
    progress = Progress(spec())
    seen(progress, started(spec()), (0, []))
    picture = progress.picture(NOON + 3600)
    counts = {SPOT: 2, ON_DEMAND: 3}
    assert [picture[name] for name in ("target", "seats", "placed", "running")] == [counts] * 4
    assert picture["summary"]["state"] == "running"
    assert (picture["summary"]["spot"], picture["summary"]["on_demand"]) == (2, 3)
    assert picture["timeline"]["placed"] == {SPOT: [2, 2], ON_DEMAND: [3, 3]}


def test_costs_grow_while_executors_run() -> None:
    progress = Progress(spec())
    seen(progress, started(spec()), (0, []))
    after_an_hour, after_two = (progress.picture(NOON + hours * 3600)["summary"] for hours in (1, 2))
    assert (after_an_hour["total"], after_an_hour["all_on_demand"], after_an_hour["saved"]) == (
        "11.0000",
        "15.0000",
        "4.0000",
    )
    assert after_two["saved"] == "8.0000"


def test_an_interruption_is_a_loss_a_replacement_and_a_period_of_fallback() -> None:
    progress, _ = interrupted()
    picture = progress.picture(NOON + 50)
    assert [(each["kind"], each["cause"]) for each in picture["events"]] == [
        ("loss", "spot-interruption"),
        ("replacement", "spot-interruption"),
    ]
    assert picture["placed"] == {SPOT: 1, ON_DEMAND: 4}
    assert picture["seats"] == {SPOT: 2, ON_DEMAND: 3}
    (period,) = picture["periods"]
    assert (period["kind"], period["pool"], period["until"]) == ("fallback", SPOT, None)
    assert picture["summary"]["in_fallback"]
    assert (picture["summary"]["interruptions"], picture["summary"]["replacements"]) == (1, 1)
    assert picture["timeline"]["running"] == {SPOT: [2, 1, 1, 1], ON_DEMAND: [3, 3, 4, 4]}


def test_the_end_closes_what_is_open_and_stands_still() -> None:
    progress, _ = interrupted()
    progress.end("succeeded", "all applications succeeded", NOON + 60)
    picture = progress.picture(NOON + 9999)
    assert picture == progress.picture(NOON + 60)
    assert (picture["summary"]["state"], picture["message"]) == ("succeeded", "all applications succeeded")
    assert (picture["placed"], picture["running"], picture["waiting"]) == ({}, {}, 0)
    assert [each["until"] for each in picture["periods"]] == [picture["summary"]["ended_at"]]
    assert picture["timeline"]["placed"][SPOT][-1] == 0


def test_a_new_controller_goes_on_where_the_last_one_was() -> None:
    progress, state = interrupted()
    progress.told(Topic.NOTICE, "notice: node spot-1 will go", NOON + 45)
    before = json.loads(json.dumps(progress.picture(NOON + 50)))
    successor = Progress(spec(), before=before)
    successor.observe(state, NOON + 70)
    after = successor.picture(NOON + 80)
    assert after["timeline"]["at"][:4] == before["timeline"]["at"][:4]
    assert after["events"] == before["events"]
    assert after["periods"] == before["periods"]
    assert after["counts"] == before["counts"]


def test_the_picture_of_another_fleet_is_not_continued() -> None:
    progress, _ = interrupted()
    other = Progress(replace(spec(), fleet_id="f2"), before=progress.picture(NOON + 50))
    assert other.picture(NOON)["timeline"]["at"] == []


@pytest.mark.parametrize(
    "before",
    [
        {"timeline": 7, "events": 7, "periods": 7, "counts": 7},
        {"timeline": {"at": ["x"]}, "events": [7], "periods": [{}], "counts": {"notices": "x"}},
        {"timeline": {"at": [1.0], "placed": {}, "seats": [], "running": None}, "events": [{"kind": "notice"}]},
    ],
    ids=["no columns", "no numbers", "no rows"],
)
def test_what_cannot_be_read_of_an_earlier_picture_is_ignored(before: dict[str, object]) -> None:
    picture = Progress(spec(), before={"fleet": "f1", **before}).picture(NOON)
    assert (picture["timeline"]["at"], picture["events"], picture["periods"]) == ([], [], [])
    assert picture["counts"]["notices"] == 0


def test_it_tells_when_something_has_changed_and_only_then() -> None:
    changes: list[str] = []
    progress = Progress(spec(), changed=lambda: changes.append("changed"))
    state = seen(progress, started(spec()), (0, []))
    assert changes == ["changed"]
    seen(progress, state, (5, []), (10, []))
    assert changes == ["changed"]
    lost = next(e.pod for _, e in state.executors() if e.placed_pool == SPOT)
    seen(progress, state, (20, [deleting(lost, 20)]), (22, [gone(replace(lost, deleting=True), 22)]))
    assert len(changes) > 1


def test_ten_thousand_executors_in_a_storm_are_small() -> None:
    state, pods = running_fleet(10_000)
    progress = Progress(state.spec)
    spot = [each for each in pods if each.placed_pool == SPOT]
    for step, lost in enumerate(spot[:1500]):
        state = decide(state, evicted(lost, step)).state
        progress.observe(state, NOON + step)
        progress.told(Topic.NOTICE, f"notice: node {lost.node} will go " + "ü" * 300, NOON + step)
    picture = progress.picture(NOON + 9000)
    assert len(json.dumps(picture)) <= MAX_BYTES
    assert len(picture["events"]) > 20
    assert len(picture["timeline"]["at"]) > 100


@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.dictionaries(st.sampled_from("ab"), st.integers(0, 9))),
        min_size=1,
        max_size=400,
    )
)
def test_a_timeline_keeps_its_order_its_ends_and_its_size(steps: list[tuple[float, dict[str, int]]]) -> None:
    timeline = Timeline(("a", "b"))
    for at, counts in sorted(steps, key=lambda step: step[0]):
        timeline.add(Point(at, counts, counts, {}))
    columns = timeline.columns(2e6)
    assert columns["at"] == sorted(columns["at"])
    assert columns["at"][0] == round(min(at for at, _ in steps), 1)
    assert len(columns["at"]) <= MAX_POINTS + 1
    assert {len(values) for name in ("placed", "seats", "running") for values in columns[name].values()} == {
        len(columns["at"])
    }
    assert columns["placed"]["a"][-1] == sorted(steps, key=lambda step: step[0])[-1][1].get("a", 0)


def test_a_short_dip_goes_before_a_long_one() -> None:
    timeline = Timeline(("a",))
    for at in range(0, 100_000, 100):
        dip = 5 if at == 50_000 else 9
        timeline.add(Point(at, {"a": dip}, {}, {}))
        timeline.add(Point(at + 1, {"a": 10}, {}, {}))
    assert 5 in timeline.columns(1e6)["placed"]["a"]
