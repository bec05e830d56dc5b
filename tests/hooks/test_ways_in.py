"""Every way to make a connection that docs/connection.md shows, through Airflow's own code: the same comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spotmix.core.cost import Price
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.hooks.choice import Chosen, choose
from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
from airflow_provider_spotmix.lab.airflow import AirflowConfig, AirflowHarness
from airflow_provider_spotmix.lab.lab import Lab
from tests.docs.pages import blocks
from tests.support.airflow import running

TEAM = "team_spark"
COMMANDS = [words for b in blocks("console") if b.page == "docs/connection.md" for words in b.commands()]
VARIABLES = [words[1].partition("=")[2] for words in COMMANDS if words[0] == "export"]
ADDITIONS = [words for words in COMMANDS if words[:3] == ["airflow", "connections", "add"] and words[3] == TEAM]
(IN_FILE,) = [b.text for b in blocks("json") if b.page == "docs/connection.md" and TEAM in b.text]

# What a worker does: read the connection, and tell what came of it.
READ = f"""
import json
from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
print("EXTRA", json.dumps(SpotmixHook({TEAM!r}).settings().model_dump(exclude_none=True)))
"""


def check(found: Chosen) -> None:
    """It is the one that the page shows."""
    assert [share.weight for share in found.mix.shares] == [2, 3]
    assert found.policy == Policy(node_lost_after_seconds=30)
    assert found.prices
    assert found.prices.by_pool == {
        "spot": Price(core_hour=Decimal("0.012")),
        "on-demand": Price(core_hour=Decimal("0.040")),
    }


def read(environment: dict[str, str]) -> Chosen:
    """Read it in a process of its own, as its environment says."""
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("EXTRA ")]
    extra = json.loads(line.removeprefix("EXTRA "))
    assert extra["namespace"] == "spark"
    return choose({}, extra, {})


def test_the_page_shows_them_all() -> None:
    assert (len(VARIABLES), len(ADDITIONS)) == (2, 2)


@pytest.mark.parametrize("value", VARIABLES, ids=["json", "uri"])
def test_as_an_environment_variable(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{TEAM.upper()}", value)
    check(SpotmixHook(TEAM).choose())


def test_in_a_secrets_backend(tmp_path: Path) -> None:
    path = tmp_path / "connections.json"
    path.write_text(IN_FILE)
    secrets = {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(path)}),
    }
    check(read({**os.environ, "AIRFLOW_HOME": str(tmp_path), **secrets}))


@pytest.fixture(scope="module")
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowHarness]:
    config = AirflowConfig(dags=tmp_path_factory.mktemp("dags"))
    with running(request, tmp_path_factory, config) as harness:
        yield harness


def clear(airflow: AirflowHarness) -> None:
    airflow.api.call("DELETE", f"/api/v2/connections/{TEAM}")


@pytest.mark.airflow
@pytest.mark.parametrize("words", ADDITIONS, ids=["json", "extra"])
def test_with_the_command_line(airflow: AirflowHarness, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=airflow.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        check(choose({}, json.loads(airflow.api.call("GET", f"/api/v2/connections/{TEAM}")["extra"]), {}))
    finally:
        clear(airflow)


def form(**fields: Any) -> dict[str, Any]:
    """What the form sends: every nested value as text, and no field that was left empty."""
    return {"connection_id": TEAM, "conn_type": "spotmix", "extra": json.dumps(fields)}


@pytest.mark.airflow
def test_on_the_form(airflow: AirflowHarness) -> None:
    extra = json.loads(IN_FILE)[TEAM]["extra"]
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in extra.items()}
    airflow.api.call("POST", "/api/v2/connections", form(**texts))
    try:
        check(choose({}, json.loads(airflow.api.call("GET", f"/api/v2/connections/{TEAM}")["extra"]), {}))
    finally:
        clear(airflow)


@pytest.mark.airflow
@pytest.mark.cluster
def test_the_test_button_in_airflows_own_process(airflow: AirflowHarness, lab: Lab, namespace: str) -> None:
    fields = {"kube_config_path": str(lab.kubeconfig), "namespace": namespace}
    found = airflow.api.call("POST", "/api/v2/connections/test", form(**fields))
    assert found["status"], found
    assert "ok: Kubernetes v" in found["message"]
    found = airflow.api.call("POST", "/api/v2/connections/test", form(**fields, policy='{"patience": 1}'))
    assert not found["status"]
    assert "unknown field policy.patience" in found["message"]
