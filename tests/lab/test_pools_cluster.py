"""A lab as a file describes it: other pools, and without some of its components."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from airflow_provider_spotmix import cli
from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.test_lab_cluster import phase, run_pod, until

pytestmark = pytest.mark.cluster

CONFIG = """
pools:
  - {name: cheap, capacity: spot, provider: gke, nodes: 1, cpu: 2, memory: 4Gi}
  - {name: steady, capacity: on-demand, provider: aks, nodes: 1}
without: [spark-operator, scheduler]
"""


def test_a_lab_is_as_its_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "lab.yaml"
    path.write_text(CONFIG)
    up = ["lab", "up", "--name", "described", "--config", str(path)]
    try:
        done = CliRunner().invoke(cli.main, up)
        assert (done.exit_code, done.stdout.splitlines()[0][:32]) == (0, "lab 'described' is ready: 2 node")
        lab = Lab.attach("described")
        assert [part.name for part in lab.status().components] == ["etcd", "apiserver", "controller-manager", "nodes"]
        assert {node.name: (node.pool, node.capacity_type, node.taints) for node in lab.status().nodes} == {
            "cheap-1": ("cheap", "spot", ["cloud.google.com/gke-spot:NoSchedule"]),
            "steady-1": ("steady", "on-demand", []),
        }
        assert lab.api.get("/api/v1/nodes/cheap-1")["status"]["allocatable"]["cpu"] == "2"
        # Nobody places it, so whoever plays the scheduler does; the operator's resources are there to be played too.
        played = run_pod(lab, lab.create_namespace("played"), "true", nodeName="cheap-1")
        until("the pod to succeed", lambda: phase(lab, played) == "Succeeded")
        assert lab.api.items("/apis/sparkoperator.k8s.io/v1beta2/sparkapplications") == []
        assert CliRunner().invoke(cli.main, up).exit_code == 0
        path.write_text("{}")
        other = CliRunner().invoke(cli.main, up)
        assert other.exit_code == 1
        remedy = "stop it first: spotmix lab down --name described"
        assert other.stderr == f"error: lab 'described' runs with another configuration; {remedy}\n"
    finally:
        Lab.stop("described")
