"""A node behind a broken network: it and its pods run on, and nothing that is said arrives until it is mended."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from airflow_provider_spotmix.lab.api import Json
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.conformance import on_term, pod, until

pytestmark = pytest.mark.cluster

SERVER = """
import os, socket, threading
def echo(connection):
    while said := connection.recv(100):
        connection.sendall(said)
server = socket.create_server((os.environ["PROCNODE_POD_IP"], 7000))
print("up", flush=True)
while True:
    threading.Thread(target=echo, args=[server.accept()[0]], daemon=True).start()
"""

CLIENT = """
import socket, sys, threading, time
def talk():
    with socket.create_connection(address) as connection:
        while True:
            connection.sendall(b"hello")
            connection.recv(100)
            print("heard", flush=True)
            time.sleep(0.05)
address = (sys.argv[1], 7000)
threading.Thread(target=talk, daemon=True).start()
while True:
    try:
        socket.create_connection(address, timeout=1).close()
        print("reached", flush=True)
    except TimeoutError:
        print("lost", flush=True)
    time.sleep(0.2)
"""


@pytest.fixture
def mended(lab: Lab) -> Iterator[Lab]:
    """The lab, of which no node stays cut off."""
    yield lab
    for node in lab.nodes.cuts():
        lab.restore(node)


def start(lab: Lab, namespace: str, name: str, node: str, spec: Json) -> str:
    """Start a pod on a node and wait until it runs; returns its path."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    spec = spec | {"nodeName": node, "tolerations": [{"operator": "Exists"}]}
    lab.api.create(path, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    until("the pod to run", lambda: lab.api.get(f"{path}/{name}")["status"]["phase"] == "Running")
    return f"{path}/{name}"


def python(program: str, *arguments: str) -> Json:
    """A pod that runs a program of Python."""
    command = [os.path.realpath(sys.executable), "-c", program, *arguments]
    mount = [{"name": "python", "mountPath": sys.base_prefix}]
    main = {"name": "main", "image": "lab/host", "command": command, "volumeMounts": mount}
    volume = {"name": "python", "hostPath": {"path": sys.base_prefix}}
    return {"containers": [main], "volumes": [volume], "terminationGracePeriodSeconds": 1}


def ready(lab: Lab, node: str) -> str:
    conditions = lab.api.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
    return next(str(entry["status"]) for entry in conditions if entry["type"] == "Ready")


def test_a_node_without_the_api_server_is_silent_and_its_pods_run_on(mended: Lab, namespace: str) -> None:
    """https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats ."""
    path = start(mended, namespace, "island", "spot-1", pod(on_term("exit 3")))
    before = mended.api.get("/api/v1/nodes/spot-1")["metadata"]["uid"]
    mended.interrupt("spot-1", "api-partition")
    with pytest.raises(LabError, match="node spot-1 is cut-from-api already"):
        mended.interrupt("spot-1", "node-partition")
    mended.api.delete(path)
    until("the node to be NotReady", lambda: ready(mended, "spot-1") == "Unknown")
    assert mended.api.get(path)["status"]["phase"] == "Running"
    assert [row["phase"] for row in mended.nodes.pods() if row["namespace"] == namespace] == ["Running"]
    mended.restore("spot-1")
    assert mended.api.get("/api/v1/nodes/spot-1")["metadata"]["uid"] == before
    until("the pod to go", lambda: mended.api.find(path) is None)


def refusal(lab: Lab, node: str) -> str:
    """Cut a node's pods off; returns why not, if that is not possible."""
    try:
        lab.interrupt(node, "pod-partition")
    except LabError as error:
        return str(error)
    return ""


def test_pods_that_are_cut_off_hear_nobody_until_the_network_is_mended(mended: Lab, namespace: str) -> None:
    """https://kubernetes.io/docs/concepts/services-networking/#the-kubernetes-network-model , broken."""
    server = start(mended, namespace, "server", "spot-1", python(SERVER))
    address = mended.api.get(server)["status"]["podIP"]
    until("the server to listen", lambda: mended.api.text(f"{server}/log") == "up\n")
    client = start(mended, namespace, "client", "on-demand-1", python(CLIENT, address))

    def said(word: str) -> int:
        return mended.api.text(f"{client}/log").count(word)

    until("them to talk", lambda: said("heard") > 3 and said("reached") > 1)
    if refused := refusal(mended, "spot-1"):  # a kernel may keep that for root: then it is told, and nothing is cut
        assert os.geteuid() != 0
        assert "does not let the lab cut connections of pods" in refused
        assert mended.nodes.cuts() == {}
        return
    lost = until("the server to be out of reach", lambda: said("lost"))
    heard, reached = said("heard"), said("reached")
    until("it to stay out of reach", lambda: said("lost") > lost)
    assert (said("heard"), said("reached")) == (heard, reached)
    assert (ready(mended, "spot-1"), ready(mended, "on-demand-1")) == ("True", "True")
    mended.restore("spot-1")
    until("them to talk again", lambda: said("heard") > heard and said("reached") > reached)
