"""A try takes over the fleet of an earlier one, on a real API server. Spark is played."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.operators.test_life_cluster import NewTask, deferred, event_of, new_task
from tests.support.fleet_task import FleetTask

pytestmark = pytest.mark.cluster

__all__ = ["new_task"]  # the fixture


@pytest.fixture
def next_try(new_task: NewTask) -> Callable[..., FleetTask]:
    """The try that Airflow begins when nobody has heard of the earlier one for too long."""

    def begin(earlier: FleetTask, **arguments: object) -> FleetTask:
        later = new_task(ti={"try_number": earlier.ti.try_number + 1, "run_id": earlier.ti.run_id}, **arguments)
        later.context["dag_run"] = earlier.context["dag_run"]
        return later

    return begin


def test_a_running_fleet_is_taken_over_and_ends_with_the_try_that_took_it(
    new_task: NewTask, next_try: Callable[..., FleetTask]
) -> None:
    first = new_task()
    left = deferred(first)
    second = next_try(first)
    trigger = deferred(second)
    assert second.applications() == [first.plan().applications[0]["metadata"]["name"]]
    assert trigger.spec["fleet_id"] == left.spec["fleet_id"]
    first.operator.on_kill()  # the first worker is not dead after all
    assert len(second.applications()) == 1
    first.play("COMPLETED")
    report = second.new_operator().execute_complete(second.context, event_of(trigger, second))
    assert (report["fleet"], report["result"]) == (left.spec["fleet_id"], "succeeded")
    assert second.applications() == []


def test_a_fleet_that_was_taken_over_is_not_left_behind_by_a_trigger_that_breaks(
    new_task: NewTask, next_try: Callable[..., FleetTask]
) -> None:
    first = new_task()
    deferred(first)
    second = next_try(first)
    deferred(second)
    second.new_operator()._delete_unattended(second.context)
    assert second.applications() == []


@pytest.mark.parametrize(
    "arguments",
    [pytest.param({"reattach_on_restart": False}, id="not-wanted"), pytest.param({"on_demand_base": 1}, id="changed")],
)
def test_otherwise_the_next_try_has_a_fleet_of_its_own(
    new_task: NewTask, next_try: Callable[..., FleetTask], arguments: dict[str, object]
) -> None:
    first = new_task()
    deferred(first)
    second = next_try(first, **arguments)
    deferred(second)
    assert second.applications() == [second.plan().applications[0]["metadata"]["name"]]
    assert second.applications() != [first.plan().applications[0]["metadata"]["name"]]
