"""The life of a task on a real API server: how it ends, what it says, and that it leaves no fleet behind.

Real Airflow processes and real Spark are in tests/e2e; here Spark is played, and every end takes about a second.
"""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
    TaskDeferred,
)
from airflow.sdk.execution_time.timeout import timeout

from airflow_provider_spotmix.fleet.report import SCHEMA
from airflow_provider_spotmix.fleet.sweep import find
from airflow_provider_spotmix.hooks.instance import instance_name
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests.identity import TaskRef
from airflow_provider_spotmix.triggers.spark_fleet import SparkFleetTrigger
from tests.support.fleet_task import FleetTask
from tests.support.played_spark import PlayedSpark

pytestmark = pytest.mark.cluster

NewTask = Callable[..., FleetTask]


@pytest.fixture
def new_task(lab: Lab, namespace: str, monkeypatch: pytest.MonkeyPatch) -> NewTask:
    monkeypatch.setenv("AIRFLOW_CONN_SPOTMIX_DEFAULT", f"spotmix://?kube_config_path={lab.kubeconfig}")
    return lambda **arguments: FleetTask(lab.kubeconfig, namespace, **arguments)


def deferred(task: FleetTask) -> SparkFleetTrigger:
    """Run the task until it defers; its trigger as the triggerer gets it."""
    with pytest.raises(TaskDeferred) as caught:
        task.operator.execute(task.context)
    assert caught.value.method_name == "execute_complete"
    _, arguments = caught.value.trigger.serialize()
    return SparkFleetTrigger(**arguments)


def event_of(trigger: SparkFleetTrigger, task: FleetTask) -> dict[str, Any]:
    """Run the trigger to its end."""

    async def run(_: Any) -> dict[str, Any]:
        from airflow_provider_spotmix.fleet.hub import Hub

        events = [event.payload async for event in trigger.run()]
        await Hub.shared().close()
        assert len(events) == 1
        found: dict[str, Any] = events[0]
        return found

    return task.on_cluster(run)


def test_it_submits_and_defers(new_task: NewTask) -> None:
    task = new_task()
    deferred(task)
    assert task.applications() == [task.plan().applications[0]["metadata"]["name"]]


def test_success_returns_the_report_and_deletes_the_application(new_task: NewTask) -> None:
    task = new_task()
    trigger = deferred(task)
    task.play("COMPLETED")
    report = task.new_operator().execute_complete(task.context, event_of(trigger, task))
    assert (report["schema"], report["result"]) == (SCHEMA, "succeeded")
    assert task.applications() == []


def test_failure_tells_the_operators_own_words(new_task: NewTask) -> None:
    task = new_task()
    trigger = deferred(task)
    task.play("FAILED", "driver container failed with ExitCode: 1")
    with pytest.raises(AirflowException, match=r"failed: .* FAILED: driver container failed with ExitCode: 1"):
        task.new_operator().execute_complete(task.context, event_of(trigger, task))
    assert task.applications() == []


def test_what_is_over_can_be_kept(new_task: NewTask) -> None:
    task = new_task(delete_on_termination=False)
    trigger = deferred(task)
    task.play("COMPLETED")
    task.new_operator().execute_complete(task.context, event_of(trigger, task))
    assert len(task.applications()) == 1


def test_what_nobody_looks_after_is_not_kept(new_task: NewTask) -> None:
    """The trigger gave up: the application may still run."""
    task = new_task(delete_on_termination=False)
    trigger = deferred(task)
    with pytest.raises(AirflowException, match="checkpoint"):
        task.new_operator().execute_complete(task.context, {"spec": trigger.spec, "error": "a newer checkpoint"})
    assert task.applications() == []


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        pytest.param(TriggerFailureReason.TRIGGER_TIMEOUT.value, TaskDeferralTimeout, id="execution-timeout"),
        pytest.param(TriggerFailureReason.TRIGGER_FAILURE.value, TaskDeferralError, id="trigger-broke"),
    ],
)
def test_a_trigger_that_ends_without_an_event_leaves_no_fleet(
    new_task: NewTask, reason: str, error: type[Exception]
) -> None:
    task = new_task()
    deferred(task)
    with pytest.raises(error, match=reason):
        task.new_operator().resume_execution(TRIGGER_FAIL_REPR, {"error": reason}, task.context)
    assert task.applications() == []


def test_a_driver_that_does_not_start_in_time_says_what_it_waits_for_and_leaves_no_fleet(new_task: NewTask) -> None:
    task = new_task(delete_on_termination=False)  # which keeps only what is over
    trigger = deferred(task)
    trigger.spec["policy"] = {"startup_timeout_seconds": 3.0}
    task.on_cluster(lambda kube: create_driver(kube, task, nodeSelector={"zone": "nowhere"}))
    event = event_of(trigger, task)
    (application,) = event["report"]["applications"]
    assert (application["state"], application["given_up"]) == ("STARTUP_TIMEOUT", True)
    with pytest.raises(AirflowException, match=r"does not run 3 s after .* driver pod .*-driver: Unschedulable: 0/"):
        task.new_operator().execute_complete(task.context, event)
    assert task.applications() == []


async def create_driver(kube: Kube, task: FleetTask, **spec: Any) -> None:
    """Play spark-submit: the driver's pod."""
    plan = task.plan()
    await PlayedSpark(kube, plan.applications[0], executors=5).is_left_alone()
    application = plan.applications[0]
    pod = copy.deepcopy(application["spec"]["driver"]["template"])
    pod["metadata"]["name"] = f"{application['metadata']['name']}-driver"
    pod["metadata"]["labels"]["spark-role"] = "driver"
    pod["spec"]["containers"][0] |= {"image": "lab/host", "command": ["sleep", "1000"]}
    pod["spec"].update(restartPolicy="Never", automountServiceAccountToken=False, **spec)
    await kube.create(PODS, pod, task.namespace)


def test_the_next_try_takes_the_place_of_one_that_was_left_behind(new_task: NewTask) -> None:
    first, second = new_task(), new_task()
    deferred(first)
    assert first.applications() == task_names(first)
    deferred(second)
    assert second.applications() == task_names(second)


def test_long_and_odd_names_are_found_again(new_task: NewTask) -> None:
    """Labels shorten and change them; the annotation has them as they are."""
    names = {
        "dag_id": f"täglich.{'x' * 230}",
        "task_id": f"gruppe.schritt_{'y' * 200}",
        "ti": {"run_id": f"manual__2026-11-23T07:00:00.000001+00:00 ¿/?#%{'z' * 180}", "map_index": 4711},
    }
    first, second, other = new_task(**names), new_task(**names), new_task(dag_id=f"{names['dag_id']}2")
    deferred(first), deferred(other), deferred(second)
    assert sorted(second.applications()) == sorted(task_names(second) + task_names(other))
    (found,) = second.on_cluster(
        lambda kube: find_of(kube, second.namespace, task=str(second.ti.task_id), map_index=4711)
    )
    assert (found.dag_id, found.run_id) == (names["dag_id"], second.ti.run_id)


async def find_of(kube: Kube, namespace: str, *, task: str, map_index: int) -> list[TaskRef]:
    """What a sweep finds of that task."""
    found = [each.task for each in await find(kube, namespace, instance=instance_name())]
    return [each for each in found if (each.task_id, each.map_index) == (task, map_index)]


def test_a_try_that_is_late_to_fail_does_not_touch_the_next_ones_fleet(new_task: NewTask) -> None:
    first, second = new_task(), new_task()
    deferred(first), deferred(second)
    with pytest.raises(TaskDeferralError):
        first.new_operator().resume_execution(TRIGGER_FAIL_REPR, None, first.context)
    assert second.applications() == task_names(second)


def task_names(task: FleetTask) -> list[str]:
    return [application["metadata"]["name"] for application in task.plan().applications]


def test_without_a_triggerer_it_runs_in_the_worker(new_task: NewTask) -> None:
    task = new_task(deferrable=False)
    with task.meanwhile(lambda: task.play("COMPLETED")):
        report = task.operator.execute(task.context)
    assert report["result"] == "succeeded"
    assert task.applications() == []


def test_the_worker_is_told_to_stop(new_task: NewTask, on_sigusr1: Callable[[Any], None]) -> None:
    """Airflow's handler of SIGTERM calls `on_kill` and returns."""
    task = new_task(deferrable=False)
    left: list[list[str]] = []

    def handler(*_: Any) -> None:
        task.operator.on_kill()
        left.append(task.applications())

    on_sigusr1(handler)
    with (
        task.meanwhile(lambda: os.kill(os.getpid(), signal.SIGUSR1)),
        pytest.raises(AirflowException, match="killed, and its fleet with it"),
    ):
        task.operator.execute(task.context)
    assert left == [[]], "Airflow may kill the process as soon as on_kill has returned"


def test_the_execution_timeout_strikes_in_the_worker(new_task: NewTask) -> None:
    task = new_task(deferrable=False)
    with pytest.raises(AirflowTaskTimeout), timeout(3):  # type: ignore[no-untyped-call]  # Airflow's
        task.operator.execute(task.context)
    assert task.applications() == []


def test_the_application_is_gone_already(new_task: NewTask) -> None:
    task = new_task()
    trigger = deferred(task)
    task.operator.on_kill()
    assert task.applications() == []
    task.operator.on_kill()
    with pytest.raises(AirflowException, match="gave up"):
        task.new_operator().execute_complete(task.context, {"spec": trigger.spec, "error": "gave up"})


def test_an_api_server_that_is_gone_does_not_hide_the_outcome(
    new_task: NewTask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = new_task()
    trigger = deferred(task)
    task.play("FAILED", "out of luck")
    event = event_of(trigger, task)
    monkeypatch.setenv("AIRFLOW_CONN_SPOTMIX_DEFAULT", "spotmix://?kube_config_path=/nowhere")
    with pytest.raises(AirflowException, match="out of luck"):
        task.new_operator().execute_complete(task.context, event)
    assert (
        f"kubectl --namespace {task.namespace} delete sparkapplication {task_names(task)[0]}" in capsys.readouterr().out
    )


@pytest.fixture
def on_sigusr1() -> Iterator[Callable[[Any], None]]:
    before = signal.getsignal(signal.SIGUSR1)

    def install(handler: Any) -> None:
        signal.signal(signal.SIGUSR1, handler)

    yield install
    signal.signal(signal.SIGUSR1, before)
