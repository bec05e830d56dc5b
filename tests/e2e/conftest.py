"""The stage of the end-to-end tests: the session's lab, and one Airflow with the examples' DAGs and the tests'."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.config import example_dags
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.stage import airflow_config
from tests.e2e.lines import Stage
from tests.support.airflow import running
from tests.support.statsd import Statsd

# Tasks that look after their fleets in the worker hold its slot; names may be as odd as an administrator permits.
# Its users are those of tests/support/auth.py: one of them may read no DAG.
ENV = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN": ".*",
    "AIRFLOW__CORE__AUTH_MANAGER": "tests.support.auth.AuthManagerByDag",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer,nobody:viewer",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}
BASE_PATH = "/team/airflow"
TEST_DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="session")
def statsd() -> Iterator[Statsd]:
    """What Airflow's processes send to StatsD."""
    with Statsd() as listening:
        yield listening


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest, lab: Lab, statsd: Statsd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowHarness]:
    """An Airflow of this session's own, connected to the lab; its logs are kept when a test fails."""
    dags = tmp_path_factory.mktemp("dags")
    examples = example_dags()
    assert examples is not None
    shutil.copytree(examples, dags / "examples")
    shutil.copytree(TEST_DAGS, dags / "tests")
    logs = Path(f"build/tests/airflow-logs-{os.getpid()}")  # another run in this checkout has its own
    config = replace(airflow_config(lab, dags=dags, logs=logs), env={**ENV, **statsd.env}, base_path=BASE_PATH)
    with running(request, tmp_path_factory, config) as harness:
        yield harness


@pytest.fixture(scope="session")
def stage(lab: Lab, airflow: AirflowHarness) -> Stage:
    """Where lives are lived."""
    return Stage(lab, airflow)


@pytest.fixture(scope="module")
def triggerer(airflow: AirflowHarness) -> Iterator[None]:
    """For tests that kill it: the next ones have a triggerer again, also when these fail."""
    yield
    if "triggerer" not in airflow.processes():
        airflow.start("triggerer")
