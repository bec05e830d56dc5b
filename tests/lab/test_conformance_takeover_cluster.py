"""What pods are to a node whose process is restarted: they go on, as with a kubelet, and nothing happens twice.

A kubelet's containers belong to a container runtime, which goes on while the kubelet is restarted or upgraded
(concepts/architecture/cri/). All pods of the table live through the same restart; each test waits for its own.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import kubernetes
import psutil
import pytest

from airflow_provider_spotmix.lab.api import Json
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.processes import ProcessId
from tests.lab.conformance import MARK, MARKED, Stage, container, on_term, pod, sidecar, summary, until
from tests.lab.test_restart_cluster import component

pytestmark = pytest.mark.cluster

AWAIT = "until test -e /mark/go; do sleep 0.05; done; "
ONCE = "test -e /mark/seen || { touch /mark/seen; exit 1; }; "
COUNT = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"
NAMED = "grep -q takeover-web.$NAMESPACE /etc/hosts; do sleep 0.02; done; "
PROBE = {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "periodSeconds": 1, "timeoutSeconds": 30}
NAMESPACE = {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
RUNNING = {"phase": "Running", "main": "Running"}
SUCCEEDED = {"phase": "Succeeded", "main": "Completed 0"}


def marked(script: str, **more: Any) -> Json:
    """A pod whose containers share a directory, which the test can reach too."""
    spec = {"volumes": [MARK], **more.pop("spec", {})}
    more["init"] = [{**one, "volumeMounts": MARKED} for one in more.get("init", [])]
    return pod(script, volumeMounts=MARKED, spec=spec, **more)


@dataclass(frozen=True)
class Life:
    """One row: a pod before, while the node's process is away, and after.

    Attributes:
        name: of the pod.
        spec: of the pod.
        before: what it is when the process ends.
        after: what it comes to when the process is back.
        prints: what `main` has written before.
        deleted: options of its deletion before the process ends; None: it is not deleted.
        deleted_away: the same, while the process is away.
        go: when what the pod waits for comes: "away" or "after"; "" never.
        log: what `main` has written in the end; None: not looked at.

    """

    name: str
    spec: Json
    before: dict[str, str]
    after: dict[str, str]
    prints: str = ""
    deleted: Json | None = None
    deleted_away: Json | None = None
    go: str = ""
    log: str | None = None


LIVES = [
    Life("runs", marked("echo begun; " + AWAIT + "echo done"), RUNNING, SUCCEEDED, go="after", log="begun\ndone\n"),
    Life(
        "ends-away",
        marked(AWAIT + "echo bye; exit 7"),
        RUNNING,
        {"phase": "Failed", "main": "Error 7"},
        go="away",
        log="bye\n",
    ),
    Life(
        "is-ready",
        pod(COUNT, readinessProbe=PROBE, startupProbe=PROBE, livenessProbe=PROBE | {"failureThreshold": 1}),
        RUNNING,
        RUNNING,
    ),
    Life("counts", pod(COUNT), RUNNING, RUNNING, prints="50\n"),
    Life(
        "is-named",
        pod(f"until {NAMED}echo here; while {NAMED}echo gone", env=[NAMESPACE]),
        RUNNING,
        RUNNING,
        prints="here",
        log="here\n",
    ),
    Life(
        "restarts-away",
        marked(AWAIT + ONCE + "sleep 600", spec={"restartPolicy": "OnFailure"}),
        RUNNING,
        {"phase": "Running", "main": "Running, restarts 1"},
        go="away",
    ),
    Life(
        "restarted-before",
        marked(ONCE + AWAIT, spec={"restartPolicy": "OnFailure"}),
        {"phase": "Running", "main": "Running, restarts 1"},
        {"phase": "Succeeded", "main": "Completed 0, restarts 1"},
        go="after",
    ),
    Life(
        "backs-off",
        marked("test -e /mark/go && sleep 600; exit 5", spec={"restartPolicy": "Always"}),
        {"phase": "Running", "main": "Waiting CrashLoopBackOff, restarts 1"},
        {"phase": "Running", "main": "Running, restarts 2"},
        go="away",
    ),
    Life("ended-before", pod("echo it was"), SUCCEEDED, SUCCEEDED, log="it was\n"),
    Life(
        "init-runs",
        marked("cat /mark/all", init=[container("one", "echo once >>/mark/all; " + AWAIT)]),
        {"phase": "Pending", "one": "Running", "main": "Waiting PodInitializing"},
        {"phase": "Succeeded", "one": "Completed 0", "main": "Completed 0"},
        go="after",
        log="once\n",
    ),
    Life(
        "init-ends-away",
        marked("cat /mark/all", init=[container(one, f"echo {one} >>/mark/all; " + AWAIT) for one in ("one", "two")]),
        {"phase": "Pending", "one": "Running", "two": "Waiting PodInitializing", "main": "Waiting PodInitializing"},
        {"phase": "Succeeded", "one": "Completed 0", "two": "Completed 0", "main": "Completed 0"},
        go="away",
        log="one\ntwo\n",
    ),
    Life(
        "sidecar",
        marked(AWAIT, init=[sidecar("side", "echo up >>/mark/ups; " + on_term("exit 0"))]),
        RUNNING | {"side": "Running"},
        SUCCEEDED | {"side": "Completed 0"},
        go="after",
    ),
    Life(
        "sidecar-outlives-main-away",
        marked(AWAIT, init=[sidecar("side", on_term("exit 0"))]),
        RUNNING | {"side": "Running"},
        SUCCEEDED | {"side": "Completed 0"},
        go="away",
    ),
    Life(
        "limited",
        marked(
            AWAIT + "exec dd if=/dev/zero of=/dev/null bs=128M count=1000000", resources={"limits": {"memory": "64Mi"}}
        ),
        RUNNING,
        {"phase": "Failed", "main": "OOMKilled 137"},
        go="after",
    ),
    Life(
        "terminating",
        marked(on_term("echo asked; " + AWAIT + "echo tidy; exit 0")),
        RUNNING,
        SUCCEEDED,
        prints="ready",
        deleted={},
        go="after",
    ),
    Life(
        "hook-runs",
        marked(on_term("exit 0"), lifecycle={"preStop": {"exec": {"command": ["sh", "-c", AWAIT]}}}),
        RUNNING,
        SUCCEEDED,
        prints="ready",
        deleted={},
        go="after",
    ),
    Life(
        "grace-goes-on",
        pod(on_term(":"), spec={"terminationGracePeriodSeconds": 5}),
        RUNNING,
        {"phase": "Failed", "main": "Error 137"},
        prints="ready",
        deleted={},
    ),
    Life("deleted-away", pod(on_term("exit 0")), RUNNING, SUCCEEDED, prints="ready", deleted_away={}),
    Life(
        "deleted-when-ended-away",
        marked(AWAIT + "exit 7"),
        RUNNING,
        {"phase": "Failed", "main": "Error 7"},
        deleted_away={},
        go="away",
    ),
]


@dataclass(frozen=True)
class Restart:
    """One restart, and the pods that live through it.

    Attributes:
        stage: the pods.
        processes: the first process of each container that ran before, by pod and container.
        ready_since: of each node, before.

    """

    stage: Stage
    processes: dict[str, ProcessId]
    ready_since: dict[str, str]


def end_orderly(lab: Lab) -> None:
    lab.stop_component("nodes")


def end_by_kill(lab: Lab) -> None:
    os.kill(component(lab, "nodes").pid, signal.SIGKILL)
    until("its end", lambda: component(lab, "nodes").state != "running")


@pytest.fixture(scope="module", params=[end_orderly, end_by_kill], ids=["orderly", "kill-9"])
def restart(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Restart]:
    """Restart the nodes' process in the midst of everything."""
    stage = Stage(lab, lab.create_namespace(f"test-{secrets.token_hex(4)}"))
    service = {"metadata": {"name": "takeover-web"}, "spec": {"selector": {"row": "is-named"}, "ports": [{"port": 1}]}}
    lab.api.create(f"/api/v1/namespaces/{stage.namespace}/services", service)
    for life in LIVES:
        stage.start(life.name, life.spec)
    for life in LIVES:
        stage.reaches(life.name, life.before)
        if life.prints:
            stage.prints(life.name, life.prints)
    until("the probes", lambda: is_ready(lab.api.get(stage.path("is-ready"))))
    found = Restart(stage, first_processes(stage), ready_since(lab))
    for life in LIVES:
        if life.deleted is not None:
            stage.delete(life.name, **life.deleted)
    request.param(lab)
    for life in LIVES:
        if life.deleted_away is not None:
            stage.delete(life.name, **life.deleted_away)
        if life.go == "away":
            go(stage, life.name)
    away = [f"{life.name}/{name}" for life in LIVES if life.go == "away" for name in ("main", "one")]
    ends = [found.processes[key] for key in away if key in found.processes]
    until("those to end that can", lambda: not any(process.is_running() for process in ends))
    lab.start_component("nodes")
    yield found
    stage.close()


def first_processes(stage: Stage) -> dict[str, ProcessId]:
    rows = [(row["name"], one) for row in _rows(stage) for one in row["containers"] if one["pid"]]
    return {f"{name}/{one['name']}": ProcessId.of(one["pid"]) for name, one in rows}


def _rows(stage: Stage) -> list[Json]:
    return [row for row in stage.lab.nodes.pods() if row["namespace"] == stage.namespace]


def ready_since(lab: Lab) -> dict[str, str]:
    found = {}
    for node in lab.api.items("/api/v1/nodes"):
        ready = next(one for one in node["status"]["conditions"] if one["type"] == "Ready")
        found[node["metadata"]["name"]] = f"{ready['status']} since {ready['lastTransitionTime']}"
    return found


def is_ready(body: Json) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in body["status"].get("conditions", []))


def go(stage: Stage, name: str) -> None:
    """Let happen what a pod waits for, behind its node's back."""
    uid = stage.lab.api.get(stage.path(name))["metadata"]["uid"]
    (stage.lab.files.root / "nodes" / "pods" / uid / "volumes" / "mark" / "go").touch()


@pytest.mark.parametrize("life", [pytest.param(life, id=life.name) for life in LIVES])
def test_a_pod_goes_on_and_nothing_happens_twice(restart: Restart, life: Life) -> None:
    stage = restart.stage
    if life.go == "after":
        go(stage, life.name)
    if life.deleted is None and life.deleted_away is None:
        stage.reaches(life.name, life.after)
    else:
        *_, last, gone = stage.ends(life.name)
        assert (summary(last.body), gone.kind) == (life.after, "DELETED")
    if life.log is not None:
        assert stage.log(life.name) == life.log


def test_a_running_container_is_the_same_process_with_all_of_its_log(restart: Restart) -> None:
    stage = restart.stage
    assert first_processes(stage)["counts/main"] == restart.processes["counts/main"]
    lines = [int(line) for line in stage.log("counts").split()]
    assert lines == list(range(len(lines)))
    more = kubernetes.watch.Watch().stream(
        stage.core.read_namespaced_pod_log, "counts", stage.namespace, follow=True, tail_lines=1
    )
    assert [int(line) for line in itertools.islice(more, 20)][-1] > len(lines)
    connection = stage.exec("counts", "hostname")
    connection.run_forever(timeout=30)
    assert connection.read_stdout() == "counts\n"


def test_a_container_that_was_probed_stays_ready(restart: Restart) -> None:
    stage = restart.stage
    stage.reaches("counts", RUNNING)
    ready = [is_ready(event.body) for event in stage.histories["is-ready"]]
    assert sorted(ready) == ready, stage.story("is-ready")


def test_the_nodes_are_ready_all_the_time(restart: Restart) -> None:
    assert ready_since(restart.stage.lab) == restart.ready_since


def test_a_pod_that_is_forgotten_while_its_node_is_away_leaves_nothing(lab: Lab, namespace: str) -> None:
    stage = Stage(lab, namespace)
    stage.start("forced", pod(on_term(":")))
    stage.prints("forced", "ready")
    ((key, process),) = first_processes(stage).items()
    assert key == "forced/main"
    directory = lab.files.root / "nodes" / "pods" / lab.api.get(stage.path("forced"))["metadata"]["uid"]
    assert directory.is_dir()
    lab.stop_component("nodes")
    stage.delete("forced", gracePeriodSeconds=0)
    stage.ends("forced")
    assert process.is_running()
    lab.start_component("nodes")
    until("its processes and files to go", lambda: not process.is_running() and not directory.exists())
    stage.close()


def test_dead_frozen_and_cut_off_nodes_stay_so(lab: Lab, namespace: str) -> None:
    stage = Stage(lab, namespace)
    tolerations = [{"key": "karpenter.sh/capacity-type", "operator": "Exists"}]
    for name, node in (("on-dead", "spot-1"), ("on-frozen", "spot-2")):
        stage.start(name, pod(on_term(":"), spec={"nodeName": node, "tolerations": tolerations}))
        stage.prints(name, "ready")
    processes = first_processes(stage)
    lab.interrupt("spot-1", "node-death")
    lab.interrupt("spot-2", "node-freeze")
    # A kernel may keep it for root to cut off pods.
    lab.interrupt("on-demand-2", "pod-partition" if os.geteuid() == 0 else "api-partition")
    cuts = lab.nodes.cuts()
    try:
        lab.restart("nodes")
        assert lab.nodes.cuts() == cuts
        alive = lab.nodes.alive()
        assert {node: alive[node] for node in ("spot-1", "spot-2")} == {"spot-1": False, "spot-2": False}
        frozen = processes["on-frozen/main"].process()
        assert frozen is not None
        assert frozen.status() == psutil.STATUS_STOPPED
        assert not processes["on-dead/main"].is_running()
    finally:
        lab.restore("spot-1")
        lab.restore("spot-2")
        lab.restore("on-demand-2")
    assert not any(process.is_running() for process in processes.values())
    new = "node.kubernetes.io/not-ready"  # a new machine's, for a moment
    until("the nodes to be as before", lambda: not any(new in str(node.taints) for node in lab.status().nodes))
    stage.close()
