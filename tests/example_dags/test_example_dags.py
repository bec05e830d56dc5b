"""The example DAGs: Airflow parses them, their applications can be planned. Tests in tests/e2e run them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from tests.support.running_task import running
from tests.support.versions import DagBag

FOLDER = Path(__file__).resolve().parents[2] / "example_dags"


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(FOLDER, safe_mode=False, load_op_links=False)


def fleets(bag: DagBag) -> Iterator[SparkFleetOperator]:
    """Every fleet of every example."""
    for dag in bag.dags.values():
        yield from (task for task in dag.tasks if isinstance(task, SparkFleetOperator))


def files(pattern: str) -> list[Any]:
    return [pytest.param(path, id=str(path.relative_to(FOLDER))) for path in sorted(FOLDER.glob(pattern))]


def test_all_are_parsed(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert {Path(dag.fileloc) for dag in bag.dags.values()} == set(FOLDER.glob("*.py"))


def test_jobs_are_not_taken_for_dags(bag: DagBag) -> None:
    assert sorted(Path(stat.file).name for stat in bag.dagbag_stats) == sorted(
        path.name for path in FOLDER.glob("*.py")
    )


def test_all_can_be_found_by_their_tag(bag: DagBag) -> None:
    assert [dag.dag_id for dag in bag.dags.values() if "spotmix" not in dag.tags or dag.dag_id[:8] != "spotmix_"] == []


def test_none_runs_by_itself(bag: DagBag) -> None:
    """Whoever installs the provider gets them; they must cost nothing until asked for."""
    assert [dag.dag_id for dag in bag.dags.values() if dag.schedule is not None] == []


def test_every_fleet_can_be_planned(bag: DagBag) -> None:
    planned = {}
    for task in fleets(bag):
        plan = task._plan(running(task)[1], lambda *_: None)
        planned[f"{task.dag_id}.{task.task_id}"] = plan.spec.mix.seats(plan.spec.executors)
    assert planned["spotmix_minimal.checked_shuffle"] == {"spot": 2, "on-demand": 3}
    assert planned["spotmix_pools_and_base.checked_shuffle"] == {"spot-lab-a": 1, "spot-lab-b": 1, "on-demand": 3}
    assert planned["spotmix_migration.checked_shuffle"] == {"spot": 2, "on-demand": 3}
    assert all(planned.values())


def test_every_job_of_an_application_is_here(bag: DagBag) -> None:
    """In the lab, and in the demo, `example_dags/jobs` is at /opt/app."""
    for task in fleets(bag):
        for application in task._plan(running(task)[1], lambda *_: None).applications:
            job = application["spec"]["mainApplicationFile"].removeprefix("local:///opt/app/")
            assert (FOLDER / "jobs" / job).is_file(), job


@pytest.mark.parametrize("path", files("jobs/*.py"))
def test_jobs_need_nothing_of_airflow(path: Path) -> None:
    """They run in Spark's image."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.partition(".")[0])
    assert imported & {"airflow", "airflow_provider_spotmix"} == set()
