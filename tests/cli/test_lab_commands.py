"""The commands of `spotmix lab` as a person and a program use them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from airflow_provider_spotmix import cli
from airflow_provider_spotmix.cli import tables
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.logs import follow, lines


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, ["lab", *arguments])


def test_a_table_is_as_kubectls_and_never_cut_off() -> None:
    assert tables.render(("name", "state"), ("a" * 100, "Ready"), ("b", "")).splitlines() == [
        "NAME" + " " * 99 + "STATE",
        "a" * 100 + "   Ready",
        "b" + " " * 102 + "-",
    ]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0Mi"), (300 * 2**20, "300Mi"), (2**30, "1Gi"), (1.5 * 2**30, "1.5Gi")]
)
def test_an_amount_of_memory_is_readable(count: float, text: str) -> None:
    assert tables.mebibytes(count) == text


def test_colours_need_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tables.red("NotReady") == "NotReady"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert tables.red("NotReady") != "NotReady"
    assert tables.render(("a", "b"), (tables.red("x"), "y")).endswith(tables.red("x") + "   y")
    monkeypatch.setenv("NO_COLOR", "1")
    assert tables.red("NotReady") == "NotReady"


def test_the_end_of_a_log_and_what_comes_is_followed_until_the_lab_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "etcd.log"
    path.write_text("one\ntwo\nthree\n")
    assert list(lines(path, 2)) == ["two\n", "three\n"]
    comes = iter(["four\n", "five\n"])

    def goes_on() -> bool:
        more = next(comes, None)
        if more:
            with path.open("a") as log:
                log.write(more)
        return more is not None

    assert list(follow(path, 1, goes_on)) == ["three\n", "four\n", "five\n"]


@pytest.mark.parametrize(
    ("arguments", "code", "story"),
    [
        pytest.param(["nodes"], 1, "lab 'default' is not running; start it: spotmix lab up", id="nodes"),
        pytest.param(["logs", "etcd"], 1, "lab 'default' is not running; start it: spotmix lab up", id="logs"),
        pytest.param(["restart", "etcd", "--name", "b"], 1, "start it: spotmix lab up --name b", id="restart"),
        pytest.param(["restart"], 2, "Missing argument 'COMPONENT...'", id="no-component"),
        pytest.param(["up", "--kwok-nodes", "0"], 2, "0 is not in the range 1<=x<=5000", id="no-nodes"),
        pytest.param(["up", "--config", "no.yaml"], 1, "--config no.yaml: No such file or directory", id="no-file"),
        pytest.param(["up", "--name", "A"], 1, "lab name 'A' is not 1 to 40 of a-z, 0-9 and -", id="bad-name"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(
    arguments: list[str], code: int, story: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert story in done.stderr


def test_where_there_is_no_lab_the_list_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert run("list").stdout == "NAME   STATE   API SERVER   DIRECTORY\n"
    assert json.loads(run("list", "--json").stdout) == []


def test_looking_at_a_lab_loads_nothing_that_only_starting_one_needs() -> None:
    heavy = ("cryptography", "yaml", "pydantic", "rich", "kubernetes", "airflow")
    code = f"import sys, airflow_provider_spotmix.cli.lab; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.cluster
def test_nodes_are_told_for_people_and_for_programs(lab: Lab, namespace: str) -> None:
    requests = {"requests": {"cpu": "1500m", "memory": "512Mi"}}
    main = {"name": "main", "image": "lab/host", "command": ["sleep", "600"], "resources": requests}
    body = {"metadata": {"name": "asks"}, "spec": {"nodeName": "on-demand-1", "containers": [main]}}
    lab.api.create(f"/api/v1/namespaces/{namespace}/pods", body)
    table = run("nodes", "--name", lab.name).stdout.splitlines()
    assert re.split(r"\s{3,}", table[0]) == ["NODE", "POOL", "CAPACITY", "STATE", "PODS", "CPU", "MEMORY", "TAINTS"]
    rows = {row[0]: row for row in (re.split(r"\s{3,}", line) for line in table[1:])}
    taint = "karpenter.sh/capacity-type:NoSchedule"
    assert rows["on-demand-1"] == ["on-demand-1", "on-demand", "on-demand", "Ready", "1", "1.5/8", "512Mi/8Gi", "-"]
    assert rows["spot-1"] == ["spot-1", "spot", "spot", "Ready", "0", "0/8", "0Mi/8Gi", taint]
    (node,) = [n for n in json.loads(run("nodes", "--name", lab.name, "--json").stdout) if n["name"] == "on-demand-1"]
    assert (node["pods"], node["cpu_requested"], node["memory_requested"]) == (1, 1.5, 512 * 2**20)


@pytest.mark.cluster
def test_a_node_that_is_gone_is_still_told(lab: Lab) -> None:
    lab.interrupt("spot-2", "karpenter", lead_seconds=0)
    try:
        assert re.search(r"^spot-2 +spot +spot +Gone ", run("nodes", "--name", lab.name).stdout, re.MULTILINE)
    finally:
        lab.restore("spot-2")


@pytest.mark.cluster
def test_the_lab_is_listed_and_its_components_can_be_heard(lab: Lab) -> None:
    (found,) = [each for each in json.loads(run("list", "--json").stdout) if each["name"] == lab.name]
    assert found == {
        "name": lab.name,
        "state": "running",
        "ephemeral": True,
        "api_server": lab.network.api_url,
        "directory": str(lab.files.root),
    }
    whole = run("logs", "--name", lab.name, "operator").stdout.splitlines()
    assert len(whole) > 3
    assert run("logs", "--name", lab.name, "spark-operator", "--tail", "3").stdout.splitlines()[-1:] == whole[-1:]
    wrong = run("logs", "--name", lab.name, "kubelet")
    assert wrong.exit_code == 1
    assert "unknown component 'kubelet'; components: apiserver, controller-manager, etcd, " in wrong.stderr


@pytest.mark.cluster
def test_up_of_what_runs_tells_programs_all_about_it(lab: Lab) -> None:
    told = json.loads(run("up", "--name", lab.name, "--json").stdout)
    assert (told["healthy"], told["kubeconfig"]) == (True, str(lab.kubeconfig))
