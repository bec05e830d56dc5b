"""Whatever is given to the operator ends in a valid plan or in an error of ours that says what to do.

`make fuzz N=100000` searches further than these tests do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from airflow_provider_spotmix.fleet.plan import FleetPlan
from tests.fuzz.inputs import LARGE, SMALL, Task, plain_tasks, tasks
from tests.fuzz.path import outcome
from tests.fuzz.validity import check_error, check_plan

few = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
_seen: Counter[str] = Counter()


def check(task: Task) -> None:
    """A plan is valid, an error is understandable; where one field is wrong, it or the one around it is named."""
    found = outcome(task)
    _seen[type(found).__name__] += 1
    if isinstance(found, FleetPlan):
        return check_plan(found, task.application)
    check_error(found)
    if task.is_plain and task.changed and task.changed[0]:
        names = [str(key) for key in task.changed[0][-2:] if isinstance(key, str)]
        assert any(name in str(found) for name in names), f"{task.changed[0]} is not named: {found}"
    return None


def outcomes() -> str:
    """How many inputs came to what, for a person who waits."""
    return ", ".join(f"{count:,} {name}" for name, count in _seen.most_common())


PROPERTIES: list[tuple[SearchStrategy[Any], Callable[[Any], None]]] = [(tasks(), check), (plain_tasks(), check)]


@few
@given(tasks())
def test_any_task_is_planned_or_refused(task: Task) -> None:
    check(task)


@few
@given(plain_tasks())
def test_a_field_that_is_wrong_is_named(task: Task) -> None:
    check(task)


def test_the_applications_that_all_is_made_of_are_planned() -> None:
    for application in (SMALL, LARGE):
        found = outcome(Task({"template_spec": application, "namespace": "spark"}))
        assert isinstance(found, FleetPlan), found
