"""Probes, readiness and postStart hooks: each row names the page of Kubernetes that it holds the nodes to."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.lab.api import Json
from tests.lab.conformance import DOCS, MARK, MARKED, Case, Stage, container, pod, sidecar, summary, until

pytestmark = pytest.mark.cluster

PROBES = "concepts/workloads/pods/probes/"
CONFIGURE = "tasks/configure-pod-container/configure-liveness-readiness-startup-probes/"
HOOKS = "concepts/containers/container-lifecycle-hooks/"
GATES = "concepts/workloads/pods/pod-lifecycle/#pod-readiness-gate"
SIDECARS = "concepts/workloads/pods/sidecar-containers/#sidecar-containers-and-pod-lifecycle"

WAIT = "exec sleep 600"
# Answers 200 to /good and 404 to anything else, on the pod's own address.
WEB = """mkdir -p /tmp/web && echo fine >/tmp/web/good
exec python3 -m http.server --bind $IP --directory /tmp/web 8080"""
OWN_ADDRESS: Json = {"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}


def probe(how: Json, **numbers: int) -> Json:
    return {"periodSeconds": 1, "failureThreshold": 1, **how, **numbers}


def run(script: str) -> Json:
    return {"exec": {"command": ["sh", "-c", script]}}


def get(path: str) -> Json:
    return {"httpGet": {"path": path, "port": "web"}}


def web(**more: Any) -> Json:
    return pod(WEB, ports=[{"name": "web", "containerPort": 8080}], **OWN_ADDRESS, **more)


def marked(script: str, *, policy: str = "Never", **more: Any) -> Json:
    return pod(script, volumeMounts=MARKED, spec={"volumes": [MARK], "restartPolicy": policy}, **more)


RUNNING = {"phase": "Running", "main": "Running"}
ONCE_MORE = {"phase": "Running", "main": "Running, restarts 1"}

# And whether the container is then, or becomes, started and ready.
HEALTH: list[tuple[Case, bool, bool]] = [
    (Case("no-probe", PROBES, pod(WAIT), RUNNING), True, True),
    (Case("ready-by-command", PROBES, pod(WAIT, readinessProbe=probe(run("true"))), RUNNING), True, True),
    (Case("unready-by-command", PROBES, pod(WAIT, readinessProbe=probe(run("false"))), RUNNING), True, False),
    (
        Case("ready-by-http", CONFIGURE, web(readinessProbe=probe(get("/good"), failureThreshold=30)), RUNNING),
        True,
        True,
    ),
    (Case("unready-by-http", CONFIGURE, web(readinessProbe=probe(get("/bad"))), RUNNING), True, False),
    (
        Case(
            "ready-by-tcp",
            CONFIGURE,
            web(readinessProbe=probe({"tcpSocket": {"port": 8080}}, failureThreshold=30)),
            RUNNING,
        ),
        True,
        True,
    ),
    (
        Case("unready-by-tcp", CONFIGURE, pod(WAIT, readinessProbe=probe({"tcpSocket": {"port": 9}})), RUNNING),
        True,
        False,
    ),
    (Case("unready-by-grpc", CONFIGURE, pod(WAIT, readinessProbe=probe({"grpc": {"port": 9}})), RUNNING), True, False),
    (
        Case("unready-when-late", PROBES, pod(WAIT, readinessProbe=probe(run("sleep 30"), timeoutSeconds=1)), RUNNING),
        True,
        False,
    ),
    (
        Case(
            "not-started",
            PROBES,
            pod(WAIT, startupProbe=probe(run("false"), failureThreshold=600), readinessProbe=probe(run("true"))),
            RUNNING,
        ),
        False,
        False,
    ),
    (
        Case("started", PROBES, pod(WAIT, startupProbe=probe(run("true")), livenessProbe=probe(run("true"))), RUNNING),
        True,
        True,
    ),
]
CASES = [
    *(case for case, _, _ in HEALTH),
    Case(
        "restarted-by-liveness",
        PROBES,
        marked(
            f"test -e /mark/seen || rm -f /mark/fine; {WAIT}",
            policy="Always",
            livenessProbe=probe(run("test -e /mark/seen || { touch /mark/seen; exit 1; }"), failureThreshold=1),
            terminationMessagePolicy="File",
        ),
        ONCE_MORE,
    ),
    Case(
        "ended-by-liveness",
        PROBES,
        pod("trap 'exit 3' TERM; while :; do sleep 0.1; done", livenessProbe=probe(run("false"))),
        {"phase": "Failed", "main": "Error 3"},
    ),
    Case(
        "killed-by-liveness-after-its-own-grace",
        CONFIGURE + "#probe-level-terminationgraceperiodseconds",
        pod(
            "trap : TERM; while :; do sleep 0.1; done",
            livenessProbe=probe(run("false"), terminationGracePeriodSeconds=1),
        ),
        {"phase": "Failed", "main": "Error 137"},
    ),
    Case(
        "ended-by-startup",
        PROBES,
        pod("trap 'exit 4' TERM; while :; do sleep 0.1; done", startupProbe=probe(run("false"))),
        {"phase": "Failed", "main": "Error 4"},
    ),
    Case(
        "sidecar-starts-before-main",
        SIDECARS,
        pod(
            "cat /mark/up",
            init=[
                sidecar("side", f"echo up >/mark/up; {WAIT}", volumeMounts=MARKED, startupProbe=probe(run("true"))),
            ],
            volumeMounts=MARKED,
            spec={"volumes": [MARK], "terminationGracePeriodSeconds": 1},
        ),
        {"phase": "Succeeded", "side": "Error 137", "main": "Completed 0"},
        "up\n",
    ),
    Case(
        "hook-after-start",
        HOOKS,
        marked(
            "until test -e /mark/hook; do sleep 0.1; done; cat /mark/hook",
            lifecycle={"postStart": run("echo done >/mark/hook")},
        ),
        {"phase": "Succeeded", "main": "Completed 0"},
        "done\n",
    ),
    Case(
        "failed-hook-ends-the-container",
        HOOKS,
        pod(
            "trap 'exit 5' TERM; while :; do sleep 0.1; done",
            lifecycle={"postStart": run("sleep 1; exit 1")},
        ),
        {"phase": "Failed", "main": "Error 5"},
    ),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_pod_comes_to_what_kubernetes_documents(stage: Stage, case: Case) -> None:
    stage.reaches(case.name, case.reaches)
    if case.log is not None:
        assert stage.log(case.name) == case.log, DOCS + case.doc


@pytest.mark.parametrize(("case", "started", "ready"), [pytest.param(*row, id=row[0].name) for row in HEALTH])
def test_a_containers_health_is_told(stage: Stage, case: Case, started: bool, ready: bool) -> None:
    stage.reaches(case.name, case.reaches)

    def found() -> bool:
        status = stage.lab.api.get(stage.path(case.name))["status"]
        (main,) = status["containerStatuses"]
        conditions = {each["type"]: each["status"] == "True" for each in status["conditions"]}
        return (main["started"], main["ready"], conditions["ContainersReady"], conditions["Ready"]) == (
            started,
            ready,
            ready,
            ready,
        )

    until(f"{case.name} to be so, as {DOCS + case.doc} says", found)
    if "unready" in case.name:
        until("an Event", lambda: "Unhealthy" in reasons(stage, case.name))


def reasons(stage: Stage, name: str) -> set[str]:
    events = f"/api/v1/namespaces/{stage.namespace}/events"
    return {each["reason"] for each in stage.lab.api.items(events, fieldSelector=f"involvedObject.name={name}")}


def test_readiness_comes_and_goes(stage: Stage) -> None:
    """concepts/workloads/pods/probes/."""
    stage.start("fickle", marked(WAIT, readinessProbe=probe(run("test -e /mark/ready"))))
    stage.reaches("fickle", RUNNING)
    for command, expected in (("touch", True), ("rm", False)):
        stage.exec("fickle", command, "/mark/ready").run_forever(timeout=30)
        until(f"readiness after {command}", lambda expected=expected: is_ready(stage, "fickle") is expected)  # type: ignore[misc]


def is_ready(stage: Stage, name: str) -> bool:
    conditions = stage.lab.api.get(stage.path(name))["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_a_readiness_gate_is_for_others_to_open(stage: Stage) -> None:
    """concepts/workloads/pods/pod-lifecycle/#pod-readiness-gate."""
    stage.start("gated", pod(WAIT, spec={"readinessGates": [{"conditionType": "example.com/open"}]}))
    body = stage.reaches("gated", RUNNING)
    (ready,) = [each for each in body["status"]["conditions"] if each["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady"), DOCS + GATES
    opened = {"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}}
    stage.lab.api.patch(stage.path("gated") + "/status", opened, "application/strategic-merge-patch+json")
    until("the pod to be ready", lambda: is_ready(stage, "gated"))


def test_a_hook_holds_the_container_back_from_running(stage: Stage) -> None:
    """concepts/containers/container-lifecycle-hooks/#hook-handler-execution."""
    hook = {"postStart": run("until test -e /mark/go; do sleep 0.1; done")}
    others = [container("other", "sleep 1; touch /mark/go; exec sleep 600", volumeMounts=MARKED)]
    stage.start("held", {**marked(WAIT, lifecycle=hook, others=others)})
    stage.reaches("held", {"phase": "Running", "main": "Running", "other": "Running"})
    history = [summary(event.body) for event in stage.histories["held"]]
    assert {"phase": "Pending", "main": "Waiting ContainerCreating", "other": "Running"} in history
