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
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import ConfigError
from tests.fuzz.inputs import (
    LARGE,
    SECRET,
    SMALL,
    Task,
    connections,
    group_tasks,
    kubeconfigs,
    peer_tasks,
    plain_tasks,
    pool_tasks,
    tasks,
)
from tests.fuzz.path import outcome
from tests.fuzz.validity import check_error, check_plan

few = settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
_seen: Counter[str] = Counter()


def check(task: Task) -> None:
    """A plan is valid, an error is understandable; where one field is wrong, it or the one around it is named."""
    found = outcome(task)
    _seen[type(found).__name__] += 1
    if isinstance(found, FleetPlan):
        return check_plan(found, task.application)
    check_error(found)
    assert SECRET not in str(found)
    if task.is_plain and task.changed and task.changed[0]:
        names = [str(key) for key in task.changed[0][-2:] if isinstance(key, str)]
        assert any(name in str(found) for name in names), f"{task.changed[0]} is not named: {found}"
    return None


def outcomes() -> str:
    """How many inputs came to what, for a person who waits."""
    return ", ".join(f"{count:,} {name}" for name, count in _seen.most_common())


def check_connection(extra: dict[str, Any]) -> None:
    """With any connection, a task that is right is planned or refused, and no secret is told."""
    check(Task({"template_spec": SMALL}, extra))


def check_kubeconfig(text: str) -> None:
    """A kubeconfig names a cluster, or says what is wrong with it; no secret is told."""
    try:
        cluster = ClusterConfig(kube_config=text)
        said = repr(cluster) + repr(cluster.select()) + cluster.identity()
    except ConfigError as error:
        check_error(error)
        said = str(error)
    assert SECRET not in said


PROPERTIES: list[tuple[SearchStrategy[Any], Callable[[Any], None]]] = [
    (tasks(), check),
    (plain_tasks(), check),
    (group_tasks(), check),
    (pool_tasks(), check),
    (peer_tasks(), check),
    (connections(), check_connection),
    (kubeconfigs(), check_kubeconfig),
]


@few
@given(tasks())
def test_any_task_is_planned_or_refused(task: Task) -> None:
    check(task)


@few
@given(plain_tasks())
def test_a_field_that_is_wrong_is_named(task: Task) -> None:
    check(task)


@few
@given(pool_tasks())
def test_any_pools_are_used_or_refused(task: Task) -> None:
    check(task)


@few
@given(group_tasks())
def test_any_groups_are_planned_or_refused(task: Task) -> None:
    check(task)


@few
@given(peer_tasks())
def test_anything_in_the_peers_form_is_planned_or_refused(task: Task) -> None:
    check(task)


@few
@given(connections())
def test_any_connection_is_understood_or_refused(extra: dict[str, Any]) -> None:
    check_connection(extra)


@few
@given(kubeconfigs())
def test_any_kubeconfig_is_understood_or_refused(text: str) -> None:
    check_kubeconfig(text)


def test_the_applications_that_all_is_made_of_are_planned() -> None:
    for application in (SMALL, LARGE):
        found = outcome(Task({"template_spec": application, "namespace": "spark"}))
        assert isinstance(found, FleetPlan), found
