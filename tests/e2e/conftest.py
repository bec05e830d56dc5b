"""The stage of the end-to-end tests: the session's lab, and one Airflow with the examples' DAGs and the tests'."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab import progress, stage
from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.config import example_dags
from airflow_provider_spotmix.lab.lab import Lab

TEST_DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="session")
def airflow(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowHarness]:
    """An Airflow of this session's own, connected to the lab; its logs are kept when it does not start."""
    dags = tmp_path_factory.mktemp("dags")
    examples = example_dags()
    assert examples is not None
    shutil.copytree(examples, dags / "examples")
    shutil.copytree(TEST_DAGS, dags / "tests")
    config = stage.airflow_config(lab, dags=dags, logs=Path("build/tests/airflow-logs"))
    with AirflowHarness(tmp_path_factory.mktemp("airflow") / "home", config, progress=progress.for_person()) as harness:
        yield harness
