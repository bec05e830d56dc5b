"""The stage of the end-to-end tests: the session's lab, and one Airflow with the examples' DAGs and the tests'."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab import stage
from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.config import example_dags
from airflow_provider_spotmix.lab.lab import Lab
from tests.support.airflow import running

TEST_DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowHarness]:
    """An Airflow of this session's own, connected to the lab; its logs are kept when a test fails."""
    dags = tmp_path_factory.mktemp("dags")
    examples = example_dags()
    assert examples is not None
    shutil.copytree(examples, dags / "examples")
    shutil.copytree(TEST_DAGS, dags / "tests")
    config = stage.airflow_config(lab, dags=dags, logs=Path("build/tests/airflow-logs"))
    with running(request, tmp_path_factory, config) as harness:
        yield harness
