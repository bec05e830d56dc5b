"""`spotmix plan` on the examples and on what a person gets wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from airflow_provider_spotmix import cli

APPLICATION = Path(__file__).resolve().parents[2] / "example_dags" / "applications" / "minimal.yaml"


def plan(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["plan", *arguments], input=text)


def test_the_manifest_goes_to_standard_output_and_the_summary_to_the_other() -> None:
    done = plan(str(APPLICATION), "--ratio", "40:60")
    assert done.exit_code == 0, done.stderr
    submitted, written = yaml.safe_load(done.stdout), yaml.safe_load(APPLICATION.read_text("utf-8"))
    assert submitted["spec"]["executor"]["template"]["spec"]["schedulingGates"] == [{"name": "spotmix.io/placement"}]
    assert submitted["spec"]["arguments"] == written["spec"]["arguments"]
    assert f"{submitted['metadata']['name']} in namespace spark: 5 executors\n" in done.stderr
    assert "  seats: 2 spot, 3 on-demand; driver: on-demand\n" in done.stderr


def test_json_has_the_same() -> None:
    as_yaml, as_json = (plan(str(APPLICATION), "-o", form).stdout for form in ("yaml", "json"))
    assert json.loads(as_json) == yaml.safe_load(as_yaml)


def test_standard_input_namespace_name_base_and_preset() -> None:
    done = plan(
        "-", "--pools", "gke", "--on-demand-base", "1", "-n", "etl", "--name", "x", text=APPLICATION.read_text("utf-8")
    )
    assert done.exit_code == 0, done.stderr
    assert done.stderr.startswith("x-")
    assert " in namespace etl: 5 executors\n" in done.stderr
    # The rule of the mix: the first is the base, 2 : 3 of the other four is 2 and 2.
    assert "  seats: 2 spot, 3 on-demand; driver: on-demand\n" in done.stderr
    driver = yaml.safe_load(done.stdout)["spec"]["driver"]["template"]["spec"]
    assert "cloud.google.com/gke-spot" in str(driver["affinity"])


def test_groups() -> None:
    done = plan(str(APPLICATION), "--placement", "groups", "--groups", "2", "--ratio", "1:1")
    assert done.exit_code == 0, done.stderr
    assert len(list(yaml.safe_load_all(done.stdout))) == 2
    assert "  seats: 3 on-demand; driver: on-demand\n" in done.stderr
    assert "  seats: 2 spot; driver: on-demand\n" in done.stderr


def test_pools_from_a_file(tmp_path: Path) -> None:
    pools = [
        {"name": "cheap", "capacity_type": "spot", "node_selector": {"tier": "cheap"}},
        {"name": "safe", "capacity_type": "on-demand", "node_selector": {"tier": "safe"}},
    ]
    (tmp_path / "pools.yaml").write_text(yaml.safe_dump(pools), "utf-8")
    done = plan(str(APPLICATION), "--pools", str(tmp_path / "pools.yaml"), "--ratio", '{"cheap": 1, "safe": 4}')
    assert "  seats: 1 cheap, 4 safe; driver: safe\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        pytest.param(("--ratio", "140%"), None, "ratio '140%' is more than the whole", id="ratio"),
        pytest.param(("--pools", "gcp"), None, "pools is 'gcp'", id="preset"),
        pytest.param(("--pools", "/nowhere/pools.yaml"), None, "--pools /nowhere/pools.yaml cannot be read", id="file"),
        pytest.param(("--placement", "nowhere"), None, "unknown placement 'nowhere'", id="placement"),
        pytest.param((), "kind: Pod", "apiVersion is None", id="no-application"),
        pytest.param((), "a: [", "application_file is no YAML", id="no-yaml"),
        pytest.param((), "", "application_file is empty", id="empty"),
    ],
)
def test_an_error_is_one_line_and_nothing_else(arguments: tuple[str, ...], text: str | None, said: str) -> None:
    source = str(APPLICATION) if text is None else "-"
    done = plan(source, *arguments, text=text)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


def test_airflow_is_not_needed() -> None:
    """Its configuration would be read, and made where there is none."""
    code = "import sys; from airflow_provider_spotmix.cli import main; main(sys.argv[1:], standalone_mode=False);"
    code += "sys.exit('airflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", str(APPLICATION)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
