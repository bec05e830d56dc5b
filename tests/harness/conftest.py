"""One Airflow for all tests of the harness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from airflow_provider_spotmix.lab.airflow import AirflowConfig, AirflowHarness
from tests.support.airflow import running

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the connection `files`, in which the DAG's deferrable task waits for a file."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, files: Path
) -> Iterator[AirflowHarness]:
    """An Airflow of this session's own, of which nothing must be left at the end."""
    config = AirflowConfig(
        dags=DAGS,
        connections={"files": {"conn_type": "fs", "extra": {"path": str(files)}}},
        env={"HARNESS_TEST": "told to every process"},
    )
    with running(request, tmp_path_factory, config) as harness:
        yield harness
        processes = family(harness)
    assert not harness.home.exists()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def family(harness: AirflowHarness) -> list[psutil.Process]:
    """Every process of an Airflow."""
    parents = [psutil.Process(pid) for pid in harness.processes().values()]
    return [*parents, *(child for parent in parents for child in parent.children(recursive=True))]
