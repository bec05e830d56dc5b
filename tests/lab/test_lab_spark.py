"""What Spark's and its operator's documentation promise holds on the lab: each row names the page.

All applications of the table run at the same time; each test looks at its own.
(Dynamic allocation: tests/fleet/test_dynamic_allocation_spark.py. Losses of whole nodes: tests/e2e.)
"""

from __future__ import annotations

from itertools import groupby

import pytest

from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.applications import Case, Running, Story, application, executor_id, exit_of, play_all
from tests.lab.test_conformance_takeover_cluster import end_by_kill

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.timeout(600)]

SPARK = "https://spark.apache.org/docs/latest/"
OPERATOR = "https://www.kubeflow.org/docs/components/spark-operator/user-guide/"
MEMORY = "https://kubernetes.io/docs/tasks/configure-pod-container/assign-memory-resource/"

# The user of Spark's own images, as clusters demand it that allow no root.
AS_SPARK = {"spec": {"containers": [], "securityContext": {"runAsUser": 185, "runAsGroup": 185, "runAsNonRoot": True}}}


def check_pi(story: Story) -> None:
    assert "Pi is roughly 3.1" in story.driver_log
    users = {pod["spec"]["securityContext"]["runAsUser"] for role in ("driver", "executor") for pod in story.pods(role)}
    assert users == {185}
    assert [exit_of(pod) for pod in story.pods("driver")] == ["Completed 0"]
    assert [executor_id(pod) for pod in story.pods("executor")] == [1, 2]


def evict_when_computed(running: Running) -> bool:
    if "COMPUTED" not in running.driver_log():
        return False
    running.evict(running.executors()[0])
    return True


def check_migration(story: Story) -> None:
    """The executor left by itself, inside its grace period, and nothing that it had was computed again."""
    evicted, *others = story.pods("executor")
    assert evicted["metadata"]["deletionTimestamp"]
    assert exit_of(evicted) == "Completed 0"
    assert [executor_id(pod) for pod in others] == [2, 3]
    assert "RESULT ok, tasks run for 4 partitions: shuffle 4, cache 4" in story.driver_log


def check_restart(story: Story) -> None:
    """A second driver, whose executors are numbered from 1 again: our controller gives all of them fresh seats."""
    assert [exit_of(pod) for pod in story.pods("driver")] == ["Error 1", "Completed 0"]
    executors = story.pods("executor")
    submissions = groupby(executors, lambda pod: pod["metadata"]["labels"]["spark-app-selector"])
    seats = [
        {executor_id(pod): pod["metadata"]["labels"]["spotmix.io/seat"] for pod in pods} for _, pods in submissions
    ]
    assert seats == [{1: "0", 2: "1"}, {1: "0", 2: "1"}]
    assert "RESULT ok, 4950 at the second run" in story.driver_log
    report = story.fleet_report()
    assert (report.result, report.interruptions, report.failures) == ("succeeded", [], [])


def check_out_of_memory(story: Story) -> None:
    """Kubernetes says why; Spark asks for another executor; it is the application's own doing."""
    killed = [pod for pod in story.pods("executor") if exit_of(pod) == "OOMKilled 137"]
    assert len(killed) == 1
    assert [executor_id(pod) for pod in story.pods("executor")] == [1, 2, 3]
    assert "RESULT ok, 6 in spite of it" in story.driver_log
    report = story.fleet_report()
    name = killed[0]["metadata"]["name"]
    assert [(loss["executor"], loss["cause"]) for loss in report.failures] == [(name, "application")]
    assert (report.result, report.interruptions) == ("succeeded", [])
    assert [new["replaces"] for new in report.replacements] == [name]


def kill_the_nodes_process(running: Running) -> bool:
    """kill -9 in the midst of the work, and a new process."""
    if "BEGUN" not in running.driver_log() or len(running.executors()) < 2:
        return False
    end_by_kill(running.lab)
    running.lab.start_component("nodes")
    return True


def check_nothing_happened(story: Story) -> None:
    pods = [*story.pods("driver"), *story.pods("executor")]
    assert [executor_id(pod) for pod in pods] == [0, 1, 2]
    driver, *executors = [exit_of(pod) for pod in pods]
    assert driver == "Completed 0"
    assert set(executors) <= {"Completed 0", "Error 143"}  # a driver that is done asks them to end, and deletes them
    assert [entry["restartCount"] for pod in pods for entry in pod["status"]["containerStatuses"]] == [0, 0, 0]
    assert "RESULT ok, tasks run: 48 of 48" in story.driver_log
    assert "Lost executor" not in story.driver_log


def check_storm(story: Story) -> None:
    """Nobody has deleted them, so Spark charges each to the job: more than its default budget of 4, less than ours."""
    doomed = story.pods("executor")[:LOST]
    assert [pod["status"]["phase"] for pod in doomed] == ["Failed"] * LOST
    assert f"RESULT ok, {LOST} executors were lost" in story.driver_log
    report = story.fleet_report()
    assert (report.result, len(report.failures)) == ("succeeded", LOST)


def check_storm_without_us(story: Story) -> None:
    assert "Max number of executor failures (4) reached" in story.driver_log
    assert [exit_of(pod) for pod in story.pods("driver")] == ["Error 11"]


# More executors than two, with Spark's defaults, may lose.
LOST = 6

CASES = [
    Case(
        "pi",
        SPARK + "running-on-kubernetes.html#cluster-mode",
        application(
            "/opt/spark/examples/src/main/python/pi.py",
            ("4",),
            driver={"cores": 1, "memory": "512m", "serviceAccount": "spark", "template": AS_SPARK},
            executor={"cores": 1, "instances": 2, "memory": "512m", "template": AS_SPARK},
        ),
        check_pi,
    ),
    Case(
        "an-evicted-executor-moves-its-blocks-away",
        SPARK + "configuration.html#spark-properties",  # spark.decommission.*, spark.storage.decommission.*
        application(
            "/opt/tests/migrating.py",
            sparkConf={
                "spark.decommission.enabled": "true",
                "spark.storage.decommission.enabled": "true",
                "spark.storage.decommission.replicationReattemptInterval": "2s",
            },
        ),
        check_migration,
        act=evict_when_computed,
    ),
    Case(
        "the-operator-restarts-a-failed-driver",
        OPERATOR + "working-with-sparkapplication/#configuring-automatic-application-restart-and-failure-handling",
        application(
            "/opt/tests/failing_once.py",
            ("/memory/failed",),
            restartPolicy={"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": 1},
        ),
        check_restart,
        fleet=True,
        remembers=True,
    ),
    Case(
        "an-executor-over-its-memory-limit-is-killed",
        MEMORY + "#exceed-a-container-s-memory-limit",
        application("/opt/tests/hungry.py"),
        check_out_of_memory,
        fleet=True,
    ),
    Case(
        "a-storm-ends-a-healthy-job",
        SPARK + "configuration.html#spark-properties",  # spark.executor.maxNumFailures
        application("/opt/tests/storm.py", (str(LOST),)),
        check_storm_without_us,
        ends="FAILED",
    ),
    Case(
        "a-storm-does-not-end-a-fleet",
        SPARK + "configuration.html#spark-properties",
        application("/opt/tests/storm.py", (str(LOST),)),
        check_storm,
        fleet=True,
    ),
]

# By itself: what it does concerns every node.
RESTART = Case(
    "a-restart-of-the-nodes-process-goes-unnoticed",
    "https://kubernetes.io/docs/concepts/architecture/cri/",  # containers are the runtime's, not the kubelet's
    application("/opt/tests/going_on.py"),
    check_nothing_happened,
    act=kill_the_nodes_process,
)


@pytest.fixture(scope="module")
def stories(lab: Lab) -> dict[str, Story | BaseException]:
    """Every row, played."""
    return play_all(lab, CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_spark_keeps_its_promises(stories: dict[str, Story | BaseException], case: Case) -> None:
    check(case, stories)


def test_a_restart_of_the_nodes_process_goes_unnoticed(lab: Lab) -> None:
    check(RESTART, play_all(lab, [RESTART]))


def check(case: Case, stories: dict[str, Story | BaseException]) -> None:
    story = stories[case.name]
    if isinstance(story, BaseException):
        raise story
    assert story.state == case.ends, story.driver_log[-3000:]
    case.check(story)
