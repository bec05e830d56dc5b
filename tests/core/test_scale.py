"""What a decision costs does not grow with the fleet. Counts calls instead of taking the time, so it is never flaky."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.events import ApplicationPhase, PodFacts
from airflow_provider_spotmix.core.state import FleetState
from tests.core.vocabulary import (
    SPOT,
    application,
    deleting,
    done,
    evicted,
    fleet,
    gone,
    node,
    node_gone,
    observed,
    placed,
    pod,
    synced,
    tick,
)


def whole_life(executors: int) -> None:
    """Gate, place, run, delete: every executor of a fleet."""
    state, pods = running_fleet(executors)
    for seen in pods:
        state = decide(state, deleting(seen)).state
        state = decide(state, gone(seen)).state
    assert decide(state, application(ApplicationPhase.SUCCEEDED)).state.finished


def storm(executors: int) -> None:
    """All of spot is evicted at once and replaced."""
    state, pods = running_fleet(executors)
    lost = [seen for seen in pods if seen.placed_pool == SPOT]
    for seen in lost:
        state = decide(state, evicted(seen)).state
    for number in range(executors + 1, executors + 1 + len(lost)):
        state = decide(state, observed(pod(number))).state
        state = decide(state, done(number)).state
    assert sum(state.replacements_by_pool.values()) == len(lost)


def recovery(executors: int) -> None:
    """A controller takes over with a checkpoint, and half of the executors went meanwhile."""
    state, pods = running_fleet(executors)
    saved = cp.decode(cp.encode(cp.take(state, holder="me")))
    state = cp.restore(FleetState.new(state.spec), saved)
    for seen in pods[::2]:
        state = decide(state, observed(seen)).state
    assert len(decide(state, synced()).state.applications["etl"].vacancies) == len(pods) // 2


def refused_at_first(executors: int) -> None:
    """Everything waits while nothing has been read, then is placed in one decision."""
    state = FleetState.new(fleet(executors=executors))
    for number in range(1, executors + 1):
        state = decide(state, observed(pod(number))).state
    assert len([a for a in decide(state, synced()).actions if isinstance(a, Place)]) == executors


def running_fleet(executors: int) -> tuple[FleetState, list[PodFacts]]:
    state = decide(FleetState.new(fleet(executors=executors)), synced()).state
    pods = []
    for number in range(1, executors + 1):
        decision = decide(state, observed(pod(number)))
        (action,) = (a for a in decision.actions if isinstance(a, Place))
        state = decide(decision.state, done(number)).state
        seen = placed(number, seat=action.seat, pool=action.pool)
        pods.append(replace(seen, phase="Running", node=f"node-{number % 50}", scheduled_at=1.0))
        state = decide(decide(state, observed(seen)).state, observed(pods[-1])).state
    return state, pods


def calls(work: Callable[[int], object], executors: int) -> int:
    profile = cProfile.Profile()
    profile.runcall(work, executors)
    total: int = pstats.Stats(profile).total_calls  # type: ignore[attr-defined]
    return total


@pytest.mark.parametrize("work", [whole_life, storm, recovery, refused_at_first])
def test_four_times_the_executors_are_four_times_the_work(work: Callable[[int], None]) -> None:
    assert calls(work, 1600) < 5 * calls(work, 400)


def test_a_quiet_tick_looks_at_no_executor() -> None:
    state, _ = running_fleet(400)
    for name in ("node-1", "node-2"):
        state = decide(state, node(name)).state
    assert calls(lambda _: decide(state, tick(1)), 0) < 100


def test_nodes_come_and_go_without_a_look_at_each_executor_of_others() -> None:
    state, _ = running_fleet(400)
    assert calls(lambda _: decide(state, node_gone("unknown")), 0) < 10_000
