"""What nodes tell of themselves and their pods, logs, exec: each test names the page of Kubernetes that it follows.

All pods of a table run at the same time; each test waits for its own.
"""

from __future__ import annotations

import pytest

from airflow_provider_spotmix.lab.api import Json
from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.conformance import MARK, MARKED, Case, Stage, pod, until

pytestmark = pytest.mark.cluster

CASES = [
    # what the stories below act on
    Case(
        "stays",
        "concepts/workloads/pods/pod-lifecycle/#pod-conditions",
        pod("echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done"),
        {"phase": "Running", "main": "Running"},
    ),
    Case(
        "logs",
        "concepts/cluster-administration/logging/",
        pod(
            "test -e /mark/seen || { touch /mark/seen; echo before; exit 1; };"
            "echo one; echo two; echo three; exec sleep 600",
            volumeMounts=MARKED,
            spec={"restartPolicy": "Always", "volumes": [MARK]},
        ),
        {"phase": "Running", "main": "Running, restarts 1"},
    ),
]


def test_a_running_pods_conditions_and_addresses(stage: Stage) -> None:
    """concepts/workloads/pods/pod-lifecycle/#pod-conditions, concepts/cluster-administration/networking/."""
    status = stage.reaches("stays", {"phase": "Running", "main": "Running"})["status"]
    conditions = {entry["type"]: entry["status"] for entry in status["conditions"]}
    assert conditions == dict.fromkeys(
        ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"), "True"
    )
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    nodes = [name["ip"] for node in stage.lab.api.items("/api/v1/nodes") for name in _addresses(node)]
    assert status["hostIP"] in nodes
    addresses = [row["ip"] for row in stage.lab.nodes.pods()]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param({}, "one\ntwo\nthree\n", id="all"),
        pytest.param({"tail_lines": 2}, "two\nthree\n", id="tail"),
        pytest.param({"tail_lines": 0}, "", id="tail-nothing"),
        pytest.param({"limit_bytes": 5}, "one\nt", id="limit"),
        pytest.param({"since_seconds": 3600}, "one\ntwo\nthree\n", id="since"),
        pytest.param({"previous": True}, "before\n", id="previous"),
    ],
)
def test_options_of_logs(stage: Stage, options: Json, text: str) -> None:
    """reference/kubectl/generated/kubectl_logs/."""
    stage.prints("logs", "three")
    assert stage.log("logs", **options) == text


def test_logs_have_times_and_begin_at_one(stage: Stage) -> None:
    stage.prints("logs", "three")
    lines = stage.log("logs", timestamps=True).splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["one", "two", "three"]
    first = lines[0].split()[0]
    log = stage.path("logs") + "/log"
    assert stage.lab.api.text(log, sinceTime=first) == "one\ntwo\nthree\n"
    assert stage.lab.api.text(log, sinceTime="2999-01-01T00:00:00Z") == ""


def test_a_followed_log_goes_on_to_the_end(stage: Stage) -> None:
    stage.start("followed", pod("echo one; until test -e /tmp/go; do sleep 0.1; done; echo two"))
    stage.prints("followed", "one")
    log = stage.core.read_namespaced_pod_log("followed", stage.namespace, follow=True, _preload_content=False)
    assert log.readline() == b"one\n"
    stage.exec("followed", "touch", "/tmp/go").run_forever(timeout=30)
    assert log.read() == b"two\n"


def test_exec_tells_streams_apart_and_the_exit_code(stage: Stage) -> None:
    """reference/kubectl/generated/kubectl_exec/."""
    stage.prints("stays", "up")
    answer = stage.exec("stays", "sh", "-c", "echo out; echo err >&2; exit 5")
    answer.run_forever(timeout=30)
    assert (answer.read_stdout(), answer.read_stderr(), answer.returncode) == ("out\n", "err\n", 5)


def test_exec_takes_input_and_its_end(stage: Stage) -> None:
    """concepts/architecture/control-plane-node-communication/: the protocol's fifth version can close one stream."""
    stage.prints("stays", "up")
    answer = stage.exec("stays", "cat", stdin=True)
    answer.write_stdin("to and fro\n")
    answer.close_channel(0)
    answer.run_forever(timeout=30)
    assert (answer.subprotocol, answer.read_stdout(), answer.returncode) == ("v5.channel.k8s.io", "to and fro\n", 0)


def test_nodes_tell_what_they_have_and_renew_their_leases(lab: Lab) -> None:
    """concepts/architecture/nodes/#node-heartbeats, tasks/administer-cluster/reserve-compute-resources/."""
    node = lab.api.get("/api/v1/nodes/on-demand-1")
    offered = {"cpu": "8", "memory": "8Gi", "pods": "110", "ephemeral-storage": "50Gi"}
    assert (node["status"]["allocatable"], node["status"]["capacity"]) == (offered, offered)
    conditions = {entry["type"]: entry["status"] for entry in node["status"]["conditions"]}
    pressures = dict.fromkeys(("MemoryPressure", "DiskPressure", "PIDPressure"), "False")
    assert conditions == {"Ready": "True"} | pressures
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/on-demand-1"
    before = lab.api.get(path)
    assert before["spec"]["holderIdentity"] == "on-demand-1"
    assert before["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
    until("its renewal", lambda: lab.api.get(path)["spec"]["renewTime"] > before["spec"]["renewTime"])


def _addresses(node: Json) -> list[Json]:
    return [{"ip": entry["address"]} for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
