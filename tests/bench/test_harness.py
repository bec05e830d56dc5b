"""The benchmarks' harness: what is within a limit, what is written, how processes are measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import dag_import
from bench.harness import Measure, finish, interleaved, medians


@pytest.mark.parametrize(
    ("measure", "within", "ratio"),
    [
        pytest.param(Measure(name="time", unit="ms", ours=7, peer=140, limit=7), True, 0.05, id="at-the-limit"),
        pytest.param(Measure(name="time", unit="ms", ours=8, peer=160, limit=7), False, 0.05, id="beyond"),
        pytest.param(Measure(name="memory", unit="MB", ours=2, limit=8), True, 0.25, id="of-the-limit-without-a-peer"),
        pytest.param(Measure(name="memory", unit="MB", ours=2, peer=0, limit=8), True, None, id="peer-of-nothing"),
        pytest.param(Measure(name="memory", unit="MB", ours=float("nan"), limit=8), False, None, id="no-number"),
    ],
)
def test_limits(measure: Measure, within: bool, ratio: float | None) -> None:
    assert measure.is_within is within
    if measure.ours == measure.ours:
        assert measure.ratio == ratio
    assert ("LIMIT BROKEN" in str(measure)) is not within


@pytest.mark.parametrize(("ours", "status"), [(4.0, 0), (6.0, 1)])
def test_the_file_tells_all_and_the_status_is_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ours: float, status: int
) -> None:
    measures = [
        Measure(name="time", unit="ms", ours=1, peer=50, limit=2.5),
        Measure(name="memory", unit="MB", ours=ours, limit=5),
    ]
    assert finish("import", measures, runs=3, output=tmp_path / "bench") == status
    found = json.loads((tmp_path / "bench" / "import.json").read_text("utf-8"))
    assert {key: found[key] for key in ("bench", "name", "ours", "peer", "limit", "ratio", "unit", "runs")} == {
        "bench": "import",
        "name": "time",
        "ours": 1,
        "peer": 50,
        "limit": 2.5,
        "ratio": 0.02,
        "unit": "ms",
        "runs": 3,
    }
    assert [each["within_limit"] for each in found["measures"]] == [True, status == 0]
    assert found["within_limit"] is (status == 0)
    assert found["machine"]["cores"] >= 1
    assert "import: memory: " in capsys.readouterr().out


def test_each_command_runs_as_often_and_the_warm_up_does_not_count(tmp_path: Path) -> None:
    count = "import json, pathlib, sys; p = pathlib.Path(sys.argv[1]); n = len(p.read_text()) if p.exists() else 0;"
    count += "p.write_text('x' * (n + 1)); print('chatter'); print(json.dumps({'n': n}))"
    commands = {name: [sys.executable, "-c", count, str(tmp_path / name)] for name in ("one", "other")}
    samples = interleaved(commands, runs=3, env=os.environ)
    assert samples == {name: [{"n": 1}, {"n": 2}, {"n": 3}] for name in commands}
    assert medians(samples["one"]) == {"n": 2}


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        interleaved({"broken": [sys.executable, "-c", "raise SystemExit(3)"]}, runs=1, env=os.environ)


def test_a_persons_airflow_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", "/somewhere")
    assert [name for name in dag_import.environment("here") if name.startswith("AIRFLOW")] == [
        "AIRFLOW_HOME",
        "AIRFLOW__CORE__LOAD_EXAMPLES",
    ]
