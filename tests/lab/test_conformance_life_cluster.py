"""How pods live and end: each row names the page of Kubernetes that it holds the nodes to.

All pods of a table run at the same time; each test waits for its own.
"""

from __future__ import annotations

import pytest

from tests.lab.conformance import DOCS, MARK, MARKED, Case, Stage, container, on_term, pod, sidecar, summary, until

pytestmark = pytest.mark.cluster

LIFECYCLE = "concepts/workloads/pods/pod-lifecycle/"
INIT = "concepts/workloads/pods/init-containers/"
SIDECAR = "concepts/workloads/pods/sidecar-containers/"
MESSAGE = "tasks/debug/debug-application/determine-reason-pod-failure/"
TERMINATION = LIFECYCLE + "#pod-termination-flow"
HOOKS = "concepts/containers/container-lifecycle-hooks/"

ONCE = "test -e /mark/seen && exit 0; touch /mark/seen; exit 1"
SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"

CASES = [
    # life
    Case("never-fails", LIFECYCLE + "#pod-phase", pod("exit 3"), {"phase": "Failed", "main": "Error 3"}),
    Case(
        "one-of-two-fails",
        LIFECYCLE + "#pod-phase",
        pod("exit 0", others=[container("other", "exit 4")]),
        {"phase": "Failed", "main": "Completed 0", "other": "Error 4"},
    ),
    Case(
        "runs-while-one-runs",
        LIFECYCLE + "#pod-phase",
        pod("exit 4", others=[container("other", SLEEP)]),
        {"phase": "Running", "main": "Error 4", "other": "Running"},
    ),
    Case(
        "killed-by-a-signal",
        LIFECYCLE + "#container-state-terminated",
        pod("sleep 600 & kill -9 $!; wait $!"),
        {"phase": "Failed", "main": "Error 137"},
    ),
    Case(
        "on-failure-until-success",
        LIFECYCLE + "#restart-policy",
        pod(ONCE, volumeMounts=MARKED, spec={"restartPolicy": "OnFailure", "volumes": [MARK]}),
        {"phase": "Succeeded", "main": "Completed 0, restarts 1"},
    ),
    Case(
        "always-restarts-success",
        LIFECYCLE + "#restart-policy",
        pod(
            "test -e /mark/seen && exec sleep 600; touch /mark/seen; exit 0",
            volumeMounts=MARKED,
            spec={"restartPolicy": "Always", "volumes": [MARK]},
        ),
        {"phase": "Running", "main": "Running, restarts 1"},
    ),
    Case(
        "restarts-back-off",
        LIFECYCLE + "#container-restarts",
        pod("exit 5", spec={"restartPolicy": "Always"}),
        {"phase": "Running", "main": "Waiting CrashLoopBackOff, restarts 1"},
    ),
    Case(
        "deadline",
        "reference/kubernetes-api/workload-resources/pod-v1/#lifecycle",
        pod(SLEEP, spec={"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 5}),
        {"phase": "Failed", "reason": "DeadlineExceeded", "main": "Completed 0"},
    ),
    # init containers
    Case(
        "init-in-order",
        INIT,
        pod(
            "cat /mark/all",
            init=[container(name, f"echo {name} >>/mark/all", volumeMounts=MARKED) for name in ("one", "two")],
            volumeMounts=MARKED,
            spec={"volumes": [MARK]},
        ),
        {"phase": "Succeeded", "one": "Completed 0", "two": "Completed 0", "main": "Completed 0"},
        "one\ntwo\n",
    ),
    Case(
        "init-failure-fails-the-pod",
        INIT + "#understanding-init-containers",
        pod("", init=[container("one", "exit 7"), container("two", "")]),
        {"phase": "Failed", "one": "Error 7", "two": "Waiting PodInitializing", "main": "Waiting PodInitializing"},
    ),
    Case(
        "init-is-repeated",
        INIT + "#understanding-init-containers",
        pod(
            "",
            init=[container("one", ONCE, volumeMounts=MARKED)],
            spec={"restartPolicy": "Always", "volumes": [MARK], "containers": [container("main", "sleep 600")]},
        ),
        {"phase": "Running", "one": "Completed 0, restarts 1", "main": "Running"},
    ),
    # sidecars
    Case(
        "sidecar-starts-before-and-ends-after",
        SIDECAR,
        pod(
            "until test -e /mark/side; do sleep 0.1; done; cat /mark/side",
            init=[
                sidecar(
                    "side", "trap 'exit 0' TERM; echo up >/mark/side; while :; do sleep 0.1; done", volumeMounts=MARKED
                ),
                container("late", "until test -e /mark/side; do sleep 0.1; done", volumeMounts=MARKED),
            ],
            volumeMounts=MARKED,
            spec={"volumes": [MARK]},
        ),
        {"phase": "Succeeded", "side": "Completed 0", "late": "Completed 0", "main": "Completed 0"},
        "up\n",
    ),
    Case(
        "sidecar-does-not-decide-the-phase",
        SIDECAR + "#jobs-with-sidecar-containers",
        pod("exit 0", init=[sidecar("side", "trap 'exit 9' TERM; while :; do sleep 0.1; done")]),
        {"phase": "Succeeded", "side": "Error 9", "main": "Completed 0"},
    ),
    Case(
        "sidecar-restarts-whatever-the-policy",
        SIDECAR + "#sidecar-containers-and-pod-lifecycle",
        pod(
            "sleep 600",
            init=[sidecar("side", f"test -e /mark/seen && exec sleep 600; {ONCE}", volumeMounts=MARKED)],
            spec={"volumes": [MARK]},
        ),
        {"phase": "Running", "side": "Running, restarts 1", "main": "Running"},
    ),
    # termination
    Case(
        "message-from-its-path",
        MESSAGE,
        pod("printf why >/tmp/end; exit 2", terminationMessagePath="/tmp/end"),
        {"phase": "Failed", "main": "Error 2: why"},
    ),
    Case(
        "message-from-the-log",
        MESSAGE,
        pod("echo because; exit 2", terminationMessagePolicy="FallbackToLogsOnError"),
        {"phase": "Failed", "main": "Error 2: because\n"},
    ),
    Case(
        "out-of-memory",
        "tasks/configure-pod-container/assign-memory-resource/#exceed-a-container-s-memory-limit",
        pod(
            "exec dd if=/dev/zero of=/dev/null bs=128M count=1000000",
            resources={"limits": {"memory": "64Mi"}},
        ),
        {"phase": "Failed", "main": "OOMKilled 137"},
    ),
]


def says(name: str) -> str:
    return on_term(f"echo -n {name}, >>/mark/order; cat /mark/order >/dev/termination-log; exit 0")


# What a pod was last, before its object went: the row deletes it once `main` is ready.
ENDINGS = [
    Case("term-in-time", TERMINATION, pod(on_term("exit 0")), {"phase": "Succeeded", "main": "Completed 0"}),
    Case("term-with-failure", TERMINATION, pod(on_term("exit 6")), {"phase": "Failed", "main": "Error 6"}),
    Case(
        "kill-after-grace",
        TERMINATION,
        pod(on_term(":"), spec={"terminationGracePeriodSeconds": 1}),
        {"phase": "Failed", "main": "Error 137"},
    ),
    Case(
        "no-restart-after-deletion",
        TERMINATION,
        pod(on_term("exit 6"), spec={"restartPolicy": "Always"}),
        {"phase": "Failed", "main": "Error 6"},
    ),
    Case(
        "hook-comes-before-term",
        HOOKS,
        pod(
            on_term("echo -n term >>/dev/termination-log; exit 0"),
            lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "echo -n hook, >>/dev/termination-log"]}}},
        ),
        {"phase": "Succeeded", "main": "Completed 0: hook,term"},
    ),
    Case(
        "hook-is-inside-the-grace-period",
        HOOKS,
        pod(
            on_term("exit 0"),
            lifecycle={"preStop": {"exec": {"command": ["sleep", "600"]}}},
            spec={"terminationGracePeriodSeconds": 2},
        ),
        {"phase": "Succeeded", "main": "Completed 0"},
    ),
    Case(
        "sidecars-end-last-in-reverse-order",
        SIDECAR + "#sidecar-containers-and-pod-lifecycle",
        pod(
            says("main"),
            init=[sidecar(name, says(name), volumeMounts=MARKED) for name in ("first", "second")],
            volumeMounts=MARKED,
            spec={"volumes": [MARK]},
        ),
        {
            "phase": "Succeeded",
            "first": "Completed 0: main,second,first,",
            "second": "Completed 0: main,second,",
            "main": "Completed 0: main,",
        },
    ),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_pod_comes_to_what_kubernetes_documents(stage: Stage, case: Case) -> None:
    body = stage.reaches(case.name, case.reaches)
    if case.log is not None:
        expected = case.log if isinstance(case.log, str) else case.log(body)
        assert stage.log(case.name) == expected, DOCS + case.doc


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ENDINGS])
def test_a_deleted_pods_end_is_told_before_its_object_goes(stage: Stage, case: Case) -> None:
    for one in [case.spec["containers"][0], *case.spec.get("initContainers", [])]:
        stage.prints(case.name, "ready", one["name"])
    stage.delete(case.name)
    *_, last, gone = stage.ends(case.name)
    assert (summary(last.body), gone.kind) == (case.reaches, "DELETED"), DOCS + case.doc


def test_a_deletion_without_grace_leaves_no_process(stage: Stage) -> None:
    stage.start("forced", pod(on_term(":")))
    stage.prints("forced", "ready")
    stage.delete("forced", gracePeriodSeconds=0)  # TERMINATION, "Forced Pod termination"
    stage.ends("forced")
    until("its processes to end", lambda: "forced" not in {row["name"] for row in stage.lab.nodes.pods()})


def test_a_shorter_grace_period_takes_the_place_of_the_longer(stage: Stage) -> None:
    stage.start("hurried", pod(on_term(":"), spec={"terminationGracePeriodSeconds": 3600}))
    stage.prints("hurried", "ready")
    stage.delete("hurried")
    stage.delete("hurried", gracePeriodSeconds=1)
    *_, last, _gone = stage.ends("hurried")
    assert summary(last.body) == {"phase": "Failed", "main": "Error 137"}


def test_a_condition_of_others_outlives_the_pods_end(stage: Stage) -> None:
    """concepts/workloads/pods/disruptions/#pod-disruption-conditions."""
    stage.start("evicted", pod(on_term("exit 0")))
    stage.prints("evicted", "ready")
    metadata = {"name": "evicted", "namespace": stage.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    stage.lab.api.create(stage.path("evicted") + "/eviction", eviction)
    *_, last, _gone = stage.ends("evicted")
    conditions = {entry["type"]: (entry["status"], entry.get("reason")) for entry in last.body["status"]["conditions"]}
    assert conditions["DisruptionTarget"] == ("True", "EvictionByEvictionAPI")
    assert conditions["Ready"] == ("False", "PodCompleted")
