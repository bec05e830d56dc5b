"""The checkpoint: what a controller that takes over must know, and nothing that it sees for itself."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.errors import CheckpointError, SpoiltCheckpointError
from airflow_provider_spotmix.core.state import FleetState
from tests.core.vocabulary import (
    APP,
    ON_DEMAND,
    SPOT,
    deleting,
    done,
    evicted,
    fleet,
    gone,
    observed,
    on,
    places,
    pod,
    run,
    running,
    started,
    synced,
)
from tests.core.vocabulary import after as played

FIVE = fleet("40:60", executors=5)


def eventful() -> FleetState:
    """A spot executor is lost and replaced, another is lost, a third one went for no known reason."""
    state = started(FIVE)
    state = run(state, evicted(on(state, SPOT), at=60), gone(on(state, SPOT), at=61), observed(pod(6)), done(6, at=70))
    return run(
        state, evicted(running(4, seat=3, pool=SPOT), at=80), deleting(running(1, seat=0, pool=ON_DEMAND), at=81)
    )


def taken_over(state: FleetState) -> FleetState:
    saved = cp.encode(cp.take(state, holder="me", gate_latencies_ms=(1.5,)))
    return cp.restore(FleetState.new(state.spec), cp.decode(saved))


def test_a_checkpoint_survives_being_written_down() -> None:
    taken = cp.take(eventful(), holder="me", gate_latencies_ms=(1.5, 2.5))
    assert cp.decode(cp.encode(taken)) == taken


def test_what_the_report_needs_is_restored() -> None:
    state, restored = eventful(), taken_over(eventful())
    assert (restored.losses, restored.replacements, restored.ledger, restored.initial) == (
        state.losses,
        state.replacements,
        state.ledger,
        state.initial,
    )
    assert restored.losses_by_cause == state.losses_by_cause
    assert restored.replacements_by_pool == state.replacements_by_pool


def test_vacant_seats_are_restored_and_counted() -> None:
    app = taken_over(eventful()).applications[APP]
    assert {seat: (v.loss.executor, v.recorded) for seat, v in app.vacancies.items()} == {
        0: ("etl-exec-1", False),
        3: ("etl-exec-4", True),
    }
    assert app.seats() == {SPOT: 1, ON_DEMAND: 1}


def test_a_placement_in_flight_is_not_done() -> None:
    state = run(eventful(), observed(pod(7)), observed(pod(8)))
    assert list(taken_over(state).applications[APP].vacancies) == [0, 3]


def test_whose_seat_is_no_longer_its_own_stays_so() -> None:
    lost = running(4, seat=3, pool=SPOT, deleting=True)
    restored = run(taken_over(eventful()), observed(lost))
    assert [loss.executor for loss in restored.losses] == ["etl-exec-2", "etl-exec-4"]
    here = [running(n, seat=n - 1, pool=ON_DEMAND) for n in (3, 5)]
    fallback = running(6, seat=1, pool=ON_DEMAND, seat_pool=SPOT)
    decision = played(restored, *(observed(p) for p in (*here, fallback, pod(7), pod(8))), synced())
    assert places(decision) == {7: (0, ON_DEMAND), 8: (3, ON_DEMAND)}


def test_an_application_that_the_fleet_has_not_is_ignored() -> None:
    saved = cp.take(run(fleet(applications=2), observed(pod(1), app="etl-1")), holder="me")
    assert cp.restore(FleetState.new(FIVE), saved).applications == FleetState.new(FIVE).applications


def test_a_newer_checkpoint_is_refused_with_the_remedy() -> None:
    newer = json.dumps({"schema": cp.SCHEMA + 1, "fleet_id": {"in": "a shape of the future"}})
    with pytest.raises(CheckpointError, match="schema is 2, this version reads up to 1: upgrade airflow"):
        cp.decode(newer)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("no json", id="no-json"),
        pytest.param("[]", id="no-object"),
        pytest.param('{"fleet_id": "f1"}', id="no-schema"),
        pytest.param('{"schema": 1}', id="no-fleet"),
        pytest.param("zlib+base64:%", id="compressed-but-no-base64"),
        pytest.param("zlib+base64:AAAA", id="compressed-but-no-zlib"),
        pytest.param('{"schema": 1, "fleet_id": 1}', id="wrong-type"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(SpoiltCheckpointError, match="cannot be read"):
        cp.decode(text)


def test_what_a_later_version_adds_within_the_schema_is_ignored() -> None:
    plain = json.loads(cp.encode(cp.take(eventful(), holder="me")))
    assert cp.decode(json.dumps(plain | {"added": {"later": True}})) == cp.take(eventful(), holder="me")


def test_a_storm_s_checkpoint_fits_into_a_config_map() -> None:
    """Half of 8,000 executors lost at once, with names as clouds and Spark make them."""
    state = run(fleet("1:1", executors=8000), synced())
    for number in range(1, 4001):
        seen = running(
            number, seat=number, pool=SPOT, node=f"ip-10-{number % 250}-100-200.eu-central-1.compute.internal"
        )
        named = replace(seen, name=f"daily-sales-by-region-3f9c2ab1-94c5a19d02be4f37-exec-{number}")
        state = decide(state, observed(named)).state
        state = decide(state, evicted(named)).state
    taken = cp.take(state, holder="me")
    text = cp.encode(taken)
    assert len(json.dumps({"data": {"checkpoint": text}})) < 2**20 / 4
    assert cp.decode(text) == taken


def test_a_usual_checkpoint_can_be_read_by_a_person() -> None:
    assert json.loads(cp.encode(cp.take(eventful(), holder="me")))["initial"] == {SPOT: 2, ON_DEMAND: 3}


def test_the_holder_changes_and_nothing_else() -> None:
    taken = cp.take(eventful(), holder="me")
    assert cp.held_by(taken, "you") == cp.take(eventful(), holder="you")


def test_the_numbers_of_a_long_run_stay_short() -> None:
    """Under dynamic allocation a day may use up a hundred thousand numbers."""
    state = run(fleet(dynamic=True), synced())
    for number in range(1, 2001):
        state = run(state, observed(pod(number)), gone(pod(number)))
    assert cp.take(state, holder="me").applications[APP].released_ids == ((1, 2000),)
