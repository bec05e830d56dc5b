"""Single components stop, die and come back; the cluster goes on with the state that it had."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from airflow_provider_spotmix import cli
from airflow_provider_spotmix.lab import health
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.status import ComponentStatus
from tests.lab.test_lab_cluster import phase, run_pod, until

pytestmark = pytest.mark.cluster


@pytest.fixture
def whole(lab: Lab) -> Iterator[Lab]:
    """The session's lab, of which everything runs again afterwards."""
    yield lab
    Lab.up(lab.name)


def component(lab: Lab, name: str) -> ComponentStatus:
    return next(part for part in lab.status().components if part.name == name)


@pytest.mark.parametrize("name", LabConfig().components())
def test_a_component_comes_back_and_everything_goes_on(whole: Lab, namespace: str, name: str) -> None:
    lab, settings = whole, f"/api/v1/namespaces/{namespace}/configmaps"
    before = lab.api.create(settings, {"metadata": {"name": "kept"}, "data": {"a": "b"}})
    kubeconfig, pid = lab.kubeconfig.read_text(), component(lab, name).pid
    lab.restart(name)
    assert component(lab, name).pid != pid
    assert lab.status().healthy
    assert lab.kubeconfig.read_text() == kubeconfig
    assert lab.api.get(f"{settings}/kept") == before
    # Admission, scheduler, node and log: all of them have found each other again.
    path = run_pod(lab, namespace, "echo done")
    until("a new pod to succeed", lambda: phase(lab, path) == "Succeeded", seconds=60)
    assert lab.api.text(f"{path}/log") == "done\n"
    # The namespace's deletion, after this test, needs the controllers; the operator is asked for its health.
    assert all(health.is_ready(other, lab.files, lab.network) for other in LabConfig().components())


def test_while_the_api_server_is_away_pods_run_and_end_and_it_learns_of_it_later(whole: Lab, namespace: str) -> None:
    lab = whole
    path = run_pod(lab, namespace, "sleep 600", nodeName="spot-1")
    until("the pod to run", lambda: phase(lab, path) == "Running")
    (pod,) = [pod for pod in lab.nodes.pods() if pod["namespace"] == namespace]
    lab.stop_component("apiserver")
    lab.stop_component("apiserver")
    assert (component(lab, "apiserver").state, lab.status().healthy) == ("stopped", False)
    os.kill(pod["containers"][0]["pid"], signal.SIGKILL)
    with pytest.raises(LabError, match="does not answer"):
        lab.api.get("/version")
    lab.start_component("kube-apiserver")
    until("its end to be known", lambda: phase(lab, path) == "Failed", seconds=60)
    until("all nodes to be Ready", lambda: all(node.ready for node in lab.status().nodes))
    with pytest.raises(LabError, match="apiserver is running; stop it first, or: spotmix lab restart apiserver"):
        lab.start_component("apiserver")


def test_what_dies_by_itself_is_said_with_its_last_words_and_brought_back_by_up(whole: Lab) -> None:
    lab = whole
    os.kill(component(lab, "scheduler").pid, signal.SIGTERM)
    until("its end", lambda: component(lab, "scheduler").state != "running")
    dead = component(lab, "scheduler")
    assert (dead.state, dead.pid, dead.memory_bytes) == ("ended", 0, 0)
    assert dead.last_words
    done = CliRunner().invoke(cli.main, ["lab", "status", "--name", lab.name])
    assert done.exit_code == 1
    remedy = f"start it: spotmix lab restart scheduler --name {lab.name}"
    assert f"scheduler has ended by itself; {remedy}\nThe end of {dead.log}:\n" in done.stdout
    assert dead.last_words.splitlines()[-1] in done.stdout
    assert Lab.up(lab.name).status().healthy


def test_an_unknown_component_is_told_with_the_known_ones(lab: Lab) -> None:
    with pytest.raises(LabError, match="unknown component 'kubelet'; components: etcd, apiserver, "):
        lab.restart("kubelet")
