"""`spotmix gc`: what it refuses; tests/e2e/test_life.py shows with a real Airflow what it deletes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from airflow_provider_spotmix import cli
from airflow_provider_spotmix.cli.airflow_states import AirflowUnavailableError, ask_database
from airflow_provider_spotmix.cli.gc import Duration
from airflow_provider_spotmix.manifests.identity import TaskRef

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172_800), ("0", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("arguments", "instance", "code", "said"),
    [
        pytest.param(["--older-than", "soon"], "prod", 2, "'soon' is no duration; give a whole number", id="duration"),
        pytest.param([], "", 1, "this Airflow calls itself 'airflow', as another one may, too; set", id="no-name"),
        pytest.param(["--context", "x"], "prod", 1, "'x'", id="unknown-context"),
        pytest.param([], "prod", 1, "no answer from http://127.0.0.1:1", id="no-cluster"),
    ],
)
def test_what_it_refuses_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], instance: str, code: int, said: str
) -> None:
    monkeypatch.setenv("AIRFLOW__SPOTMIX__INSTANCE", instance)
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(KUBECONFIG)
    done = CliRunner().invoke(cli.main, ["gc", "--kubeconfig", str(kubeconfig), "-n", "spark", *arguments])
    assert (done.exit_code, said in done.stderr, done.stdout) == (code, True, ""), done.stderr


async def test_a_database_without_an_airflow_is_no_answer() -> None:
    """The tests' own: Airflow's configuration is there, and nobody has migrated its database."""
    with pytest.raises(AirflowUnavailableError, match=r"cannot ask .* where `airflow db check` succeeds"):
        await ask_database([TaskRef(dag_id="etl", task_id="daily", run_id="monday")])
