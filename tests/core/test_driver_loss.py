"""A driver that is lost with its node, and what its submission leaves behind."""

from __future__ import annotations

from typing import Any

from airflow_provider_spotmix.core.actions import Remove, Rescue
from airflow_provider_spotmix.core.controller import Decision
from airflow_provider_spotmix.core.events import DriverObserved, RescueFailed
from airflow_provider_spotmix.core.state import FleetState
from tests.core.vocabulary import (
    APP,
    NOON,
    after,
    fleet,
    node,
    node_gone,
    observed,
    places,
    pod,
    run,
    started,
    synced,
    tick,
)

TWO = fleet("1:1", executors=2)


def driver(uid: str = "d-1", at: float = 0, **facts: Any) -> DriverObserved:
    given: dict[str, Any] = {"node": "od-1", "started": True} | facts
    return DriverObserved(at=NOON + at, application=APP, pod="etl-driver", uid=uid, **given)


def rescued(decision: Decision) -> list[str]:
    return [action.uid for action in decision.actions if isinstance(action, Rescue)]


def removed(decision: Decision) -> list[str]:
    return [action.uid for action in decision.actions if isinstance(action, Remove)]


def running() -> FleetState:
    return run(started(TWO), node("od-1"), driver())


def test_a_driver_is_removed_from_a_node_that_is_gone_once() -> None:
    decision = after(running(), node_gone("od-1", at=5), tick(6), driver(at=7))
    assert rescued(decision) == ["d-1"]


def test_a_driver_on_a_node_that_is_silent_is_removed_past_the_deadline() -> None:
    state = run(running(), node("od-1", at=5, ready=False))
    assert rescued(after(state, tick(14))) == []
    assert rescued(after(state, tick(15))) == ["d-1"]


def test_it_is_tried_again_when_that_failed() -> None:
    failed = RescueFailed(at=NOON + 6, uid="d-1")
    assert rescued(after(running(), node_gone("od-1", at=5), failed, tick(7))) == ["d-1", "d-1"]


def test_the_next_driver_is_left_alone_and_rescued_in_its_turn() -> None:
    state = run(running(), node_gone("od-1", at=5), node("od-2", at=6))
    decision = after(state, driver("d-2", at=30, node="od-2"), tick(31))
    assert rescued(decision) == []
    assert rescued(after(decision.state, node_gone("od-2", at=40))) == ["d-2"]


def test_one_that_has_ended_or_has_no_node_is_not_touched() -> None:
    ended = run(started(TWO), driver(ended=True))
    assert rescued(after(ended, node_gone("od-1", at=5))) == []
    assert rescued(after(run(started(TWO), driver(node="")), node_gone("od-1", at=5))) == []


def test_gated_executors_of_the_old_submission_are_removed_and_hold_no_seat() -> None:
    """Their owner is gone, but its garbage may be collected late; they count against the quota."""
    state = run(TWO, synced(), observed(pod(1)))
    old = pod(7, uid="old-gated")
    new = pod(1, uid="new-1")
    decision = after(
        state,
        observed(new, at=10, submission="sub-2"),
        observed(old, at=11),
        observed(pod(2, uid="new-2"), at=12, submission="sub-2"),
    )
    assert removed(decision) == ["uid-1", "old-gated"]
    assert places(decision) == {1: (0, "on-demand"), 2: (1, "spot")}
