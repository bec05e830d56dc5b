"""Addresses of the fleet view, with and without a base path, and the buttons that lead there."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.hooks.addresses import base_path
from airflow_provider_spotmix.operators.links import FleetLink, SparkUiLink
from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from airflow_provider_spotmix.provider_info import PROVIDER_INFO
from tests.fleet.test_progress import spec
from tests.plugins.conftest import summary


def _key(map_index: int = -1) -> Any:
    return SimpleNamespace(dag_id="etl", run_id="manual__2026-05-04T03:00:00+00:00", task_id="a.b", map_index=map_index)


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("", "/"),
        ("http://airflow.example", "/"),
        ("http://airflow.example/team/a", "/team/a/"),
        ("http://airflow.example/team/a/", "/team/a/"),
    ],
)
def test_links_work_below_a_base_path(monkeypatch: pytest.MonkeyPatch, base_url: str, path: str) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    host = "http://airflow.example" if base_url else ""
    run = "etl/runs/manual__2026-05-04T03%3A00%3A00%2B00%3A00/tasks"
    assert base_path() == path
    tab = FleetLink().get_link(None, ti_key=_key())
    assert tab == f"{host}{path}dags/{run}/a.b/plugin/spotmix_fleet"
    assert FleetLink().get_link(None, ti_key=_key(3)) == f"{host}{path}dags/{run}/a.b/mapped/3/plugin/spotmix_fleet"
    spark = SparkUiLink().get_link(None, ti_key=_key(3))
    assert spark == f"{host}{path}spotmix/go/etl/manual__2026-05-04T03%3A00%3A00%2B00%3A00/a.b/3"


def test_airflow_is_told_of_every_link() -> None:
    links = [type(link) for link in SparkFleetOperator.operator_extra_links]
    assert [f"{link.__module__}.{link.__name__}" for link in links] == PROVIDER_INFO["extra-links"]


def test_the_plugin_loads_nothing_that_only_the_api_server_needs() -> None:
    code = (
        "import sys, airflow_provider_spotmix.plugins.spotmix;"
        "print(*[name for name in sys.modules if name.startswith('airflow_provider_spotmix.plugins.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names = {name.rpartition(".")[2] for name in found.splitlines()[-1].split()}
    assert names == {"lazy", "spotmix"}


def test_the_summary_of_these_tests_is_what_a_fleet_writes() -> None:
    assert list(summary()) == list(Progress(spec()).picture()["summary"])
