from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from airflow_provider_spotmix import cli
from airflow_provider_spotmix.lab.lab import Lab


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SPOTMIX_DEBUG", raising=False)
    return CliRunner()


def test_every_command_of_the_table_can_be_loaded_and_has_help(runner: CliRunner) -> None:
    for name in cli.COMMANDS:
        assert runner.invoke(cli.main, [name, "--help"]).exit_code == 0


def test_help_imports_no_command() -> None:
    code = "import sys; from airflow_provider_spotmix.cli import main; main(['--help'], standalone_mode=False);"
    code += "sys.exit(any(m.startswith('airflow_provider_spotmix.cli.') for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "lab" in done.stdout


def test_an_error_is_one_line_with_the_remedy(runner: CliRunner) -> None:
    done = runner.invoke(cli.main, ["lab", "status"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: lab 'default' is not running; start it: spotmix lab up\n"


def test_debug_shows_the_traceback(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTMIX_DEBUG", "1")
    assert "is not running" in str(runner.invoke(cli.main, ["lab", "status"]).exception)


def test_a_missing_package_is_told_with_the_extra_that_has_it() -> None:
    text = cli.explain(ModuleNotFoundError("no", name="psutil"))
    assert text == "the Python package psutil is not installed; pip install 'airflow-provider-spotmix[lab]'"


def test_down_of_what_is_not_there_is_no_error(runner: CliRunner) -> None:
    done = runner.invoke(cli.main, ["lab", "down"])
    assert (done.exit_code, done.stdout) == (0, "lab 'default' was not running\n")


@pytest.mark.cluster
def test_status_is_readable_by_programs(lab: Lab) -> None:
    done = CliRunner().invoke(cli.main, ["lab", "status", "--name", lab.name, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["kubeconfig"] == str(lab.kubeconfig)
