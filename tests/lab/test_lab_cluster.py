"""The lab as a whole: what `up` promises, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_spotmix.lab.api import Json
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.leftovers import all_names
from airflow_provider_spotmix.lab.network import Network
from airflow_provider_spotmix.lab.processes import ProcessId

pytestmark = pytest.mark.cluster

COMPONENTS = ["etcd", "apiserver", "controller-manager", "scheduler", "nodes", "spark-operator"]
DISRUPTED = "karpenter.sh/disrupted:NoSchedule"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of this test's own; the cache of built programs stays."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a state"))
    return tmp_path / "a state"


@pytest.fixture
def restored(lab: Lab) -> Iterator[Callable[[str], str]]:
    """Name a node that the test takes away; it is brought back afterwards."""
    taken: list[str] = []

    def take(node: str) -> str:
        taken.append(node)
        return node

    yield take
    for node in taken:
        lab.restore(node)


def until(what: str, check: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what} in vain"
        time.sleep(0.1)
    return found


def run_pod(lab: Lab, namespace: str, script: str, **spec: Any) -> str:
    """Start a pod that runs a shell script; returns its path."""
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "main", "image": "lab/host", "command": ["sh", "-c", script]}],
        "tolerations": [{"key": "karpenter.sh/capacity-type", "value": "spot", "effect": "NoSchedule"}],
    } | spec
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec}
    lab.api.create(f"/api/v1/namespaces/{namespace}/pods", body)
    return f"/api/v1/namespaces/{namespace}/pods/probe"


def phase(lab: Lab, path: str) -> str:
    found = lab.api.find(path)
    return str(found["status"].get("phase")) if found else "gone"


def test_status_tells_every_process_and_node(lab: Lab) -> None:
    status = lab.status()
    assert status.healthy
    assert [part.name for part in status.components] == COMPONENTS
    assert {node.name: (node.capacity_type, node.ready, node.taints) for node in status.nodes} == {
        "spot-1": ("spot", True, ["karpenter.sh/capacity-type:NoSchedule"]),
        "spot-2": ("spot", True, ["karpenter.sh/capacity-type:NoSchedule"]),
        "on-demand-1": ("on-demand", True, []),
        "on-demand-2": ("on-demand", True, []),
    }


def test_nothing_of_a_lab_listens_outside_its_network(lab: Lab) -> None:
    ours = {process.pid for process in _processes(lab)}
    listening = [address for address, pid in _listeners() if pid in ours]
    assert listening
    assert all(address.startswith(f"127.{lab.network.number}.") for address in listening)


def test_secrets_are_readable_by_their_owner_only(lab: Lab) -> None:
    assert lab.files.root.stat().st_mode & 0o077 == 0
    assert lab.kubeconfig.stat().st_mode & 0o077 == 0


def test_without_the_token_nothing_is_allowed(lab: Lab) -> None:
    api = lab.api
    api.headers = {"Authorization": "Bearer wrong"}
    with pytest.raises(LabError, match="401 Unauthorized"):
        api.get("/api/v1/nodes")


def test_a_pod_runs_and_its_log_is_readable(lab: Lab, namespace: str) -> None:
    path = run_pod(lab, namespace, "echo one; echo two")
    until("the pod to succeed", lambda: phase(lab, path) == "Succeeded")
    assert lab.api.text(f"{path}/log") == "one\ntwo\n"


def test_karpenter_announces_taints_evicts_and_takes_the_node_away(
    lab: Lab, namespace: str, restored: Callable[[str], str]
) -> None:
    path = run_pod(lab, namespace, "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.1; done", nodeName="spot-1")
    until("the pod to run", lambda: phase(lab, path) == "Running")
    command = [sys.executable, "-c", "from airflow_provider_spotmix.cli import main; main()"]
    command += ["lab", "interrupt", "--name", lab.name, "--lead", "30", restored("spot-1")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as interruption:
        pod = until("the eviction", lambda: _deleting(lab, path))
        node = lab.api.get("/api/v1/nodes/spot-1")
        output, errors = interruption.communicate(timeout=40)
    assert interruption.returncode == 0, errors
    assert "spot-1 is gone" in output
    conditions = {c["type"]: c.get("reason") for c in pod["status"]["conditions"]}
    assert conditions["DisruptionTarget"] == "EvictionByEvictionAPI"
    assert DISRUPTED in [f"{t['key']}:{t['effect']}" for t in node["spec"]["taints"]]
    assert node["metadata"]["deletionTimestamp"]
    events = lab.api.items(
        "/api/v1/namespaces/default/events", fieldSelector=f"involvedObject.uid={node['metadata']['uid']}"
    )
    reasons = [event["reason"] for event in events if event["source"].get("component") == "karpenter"]
    assert sorted(reasons) == ["SpotInterrupted", "TerminatingOnInterruption"]
    assert lab.api.find("/api/v1/nodes/spot-1") is None
    assert phase(lab, path) == "gone"


def test_karpenters_lead_time_ends_even_for_a_pod_that_does_not_leave(
    lab: Lab, namespace: str, restored: Callable[[str], str]
) -> None:
    stubborn = "trap '' TERM; while :; do sleep 0.1; done"
    path = run_pod(lab, namespace, stubborn, nodeName="spot-1", terminationGracePeriodSeconds=60)
    until("the pod to run", lambda: phase(lab, path) == "Running")
    started = time.monotonic()
    lab.interrupt(restored("spot-1"), "karpenter", lead_seconds=2)
    assert 2 <= time.monotonic() - started < 10
    assert lab.api.find("/api/v1/nodes/spot-1") is None
    assert not [pod for pod in lab.nodes.pods() if pod["namespace"] == namespace]


def test_node_death_is_noticed_only_by_its_silence(lab: Lab, namespace: str, restored: Callable[[str], str]) -> None:
    path = run_pod(lab, namespace, "sleep 600", nodeName="spot-2")
    until("the pod to run", lambda: phase(lab, path) == "Running")
    lab.interrupt(restored("spot-2"), "node-death")
    node = lab.api.get("/api/v1/nodes/spot-2")
    assert "deletionTimestamp" not in node["metadata"]
    assert phase(lab, path) == "Running"  # what the API server still believes
    until("the node to be NotReady", lambda: _ready(lab, "spot-2") == "Unknown")


SERVER = """
import os, socket
server = socket.create_server((os.environ["PROCNODE_POD_IP"], 7000))
print("up", flush=True)
client, _ = server.accept()
while data := client.recv(100):
    client.sendall(data)
"""


def test_a_frozen_node_is_silent_and_closes_no_connection(lab: Lab, namespace: str) -> None:
    python = {"name": "python", "hostPath": {"path": sys.base_prefix}}  # which may be where no pod looks
    command = [os.path.realpath(sys.executable), "-c", SERVER]
    mounts = [{"name": "python", "mountPath": sys.base_prefix}]
    main = {"name": "main", "image": "lab/host", "command": command, "volumeMounts": mounts}
    path = run_pod(lab, namespace, "", nodeName="spot-2", containers=[main], volumes=[python])
    until("the server to run", lambda: phase(lab, path) == "Running")
    until("the server to listen", lambda: lab.api.text(f"{path}/log") == "up\n")
    server = (lab.api.get(path)["status"]["podIP"], 7000)
    with socket.create_connection(server, timeout=10) as connection:
        connection.sendall(b"ping")
        assert connection.recv(100) == b"ping"
        lab.interrupt("spot-2", "node-freeze")
        try:
            connection.sendall(b"ping")  # the kernel takes it
            lab.api.delete(path, {"gracePeriodSeconds": 1})
            until("the node to be NotReady", lambda: _ready(lab, "spot-2") == "Unknown")
            # Neither an answer nor an end, and no word about the deletion, whose grace period is long over.
            assert select.select([connection], [], [], 0) == ([], [], [])
            assert phase(lab, path) == "Running"
        finally:
            lab.restore("spot-2")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""  # the old machine is gone
    assert phase(lab, path) == "gone"


def test_a_node_is_restored_as_new_and_empty(lab: Lab, namespace: str) -> None:
    path = run_pod(lab, namespace, "sleep 600", nodeName="spot-2")
    until("the pod to run", lambda: phase(lab, path) == "Running")
    before = lab.api.get("/api/v1/nodes/spot-2")["metadata"]["uid"]
    lab.interrupt("spot-2", "node-death")
    lab.restore("spot-2")
    assert lab.api.get("/api/v1/nodes/spot-2")["metadata"]["uid"] != before
    assert phase(lab, path) == "gone"
    with pytest.raises(LabError, match="there is nothing to restore"):
        lab.restore("spot-2")


@pytest.mark.parametrize(
    ("node", "signal_name", "story"),
    [
        pytest.param("spot-9", "karpenter", "unknown node 'spot-9'; nodes: on-demand-1, ", id="node"),
        pytest.param("spot-1", "flood", "unknown signal 'flood'; signals: karpenter, ", id="signal"),
    ],
)
def test_an_unknown_name_is_told_with_the_known_ones(lab: Lab, node: str, signal_name: str, story: str) -> None:
    with pytest.raises(LabError, match=story):
        lab.interrupt(node, signal_name)


def test_up_is_idempotent_and_down_leaves_neither_process_nor_file(elsewhere: Path) -> None:
    first = Lab.up("side-by-side")
    try:
        again = Lab.up("side-by-side")
        assert again.state == first.state
        assert all_names() == ["side-by-side"]
        path = run_pod(first, first.create_namespace("somewhere"), "sleep 600")
        until("the pod to run", lambda: phase(first, path) == "Running")
        processes = _processes(first)
        assert len(processes) > len(COMPONENTS)
    finally:
        assert Lab.stop("side-by-side")
    assert not any(process.is_running() for process in processes)
    assert not elsewhere.exists() or not list(elsewhere.iterdir())
    assert _listening(first.network) == []
    with pytest.raises(LabError, match="'side-by-side' is not running; start it: spotmix lab up --name side-by-side"):
        Lab.attach("side-by-side")
    assert not Lab.stop("side-by-side")


def test_kill_9_of_its_owner_ends_an_ephemeral_lab(elsewhere: Path) -> None:
    code = """
import json, sys, time
from airflow_provider_spotmix.lab.lab import Lab
with Lab.ephemeral(name="owned") as lab:
    print(json.dumps([lab.network.number, lab.state.supervisor_pid]), flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        number, supervisor = json.loads(owner.stdout.readline())
        processes = [ProcessId.of(p.pid) for p in (psutil.Process(supervisor), *psutil.Process(supervisor).children())]
        owner.kill()
    assert all(process.wait(15) for process in processes)
    assert _listening(Network(number)) == []
    assert not (elsewhere / "spotmix" / "labs" / "owned").exists()


def test_a_lab_whose_supervisor_was_killed_is_replaced_by_the_next_up(elsewhere: Path) -> None:
    dead = Lab.up("fragile")
    path = run_pod(dead, dead.create_namespace("somewhere"), "sleep 600")
    until("the pod to run", lambda: phase(dead, path) == "Running")
    dead.restart("nodes")  # the pod is now the supervisor's to end
    processes = _processes(dead)
    os.kill(dead.state.supervisor_pid, signal.SIGKILL)
    assert all(process.wait(15) for process in processes)
    try:
        fresh = Lab.up("fragile")
        assert fresh.state.supervisor_pid != dead.state.supervisor_pid
        assert fresh.status().healthy
    finally:
        Lab.stop("fragile")


def _processes(lab: Lab) -> list[ProcessId]:
    """Every process of a lab, those in its pods too."""
    supervisor = psutil.Process(lab.state.supervisor_pid)
    found = []
    for process in (supervisor, *supervisor.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # one of a pod that just ends
            found.append(ProcessId.of(process.pid))
    return found


def _listening(network: Network) -> list[str]:
    return [address for address, _ in _listeners() if address.startswith(f"127.{network.number}.")]


def _listeners() -> list[tuple[str, int | None]]:
    connections = psutil.net_connections("inet")
    return [(c.laddr[0], c.pid) for c in connections if c.status == psutil.CONN_LISTEN and c.laddr]


def _deleting(lab: Lab, path: str) -> Json | None:
    found = lab.api.find(path)
    return found if found and found["metadata"].get("deletionTimestamp") else None


def _ready(lab: Lab, node: str) -> str:
    conditions = lab.api.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
    return next(str(c["status"]) for c in conditions if c["type"] == "Ready")
