"""Every line of a task's life in real Airflow processes: the right outcome, and nothing left of any fleet.

The claims are about Airflow and Kubernetes, so Spark is played but for the lines that are about Spark. Lines are lived
many at a time, each in a namespace of its own. Those that need a triggerer to be killed are in `test_triggerers.py`.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.dags import lives
from tests.e2e.life import SECONDS, Json, Life, kind, until
from tests.e2e.lines import Line, Stage, chosen, name
from tests.support.held_api import held_api

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.timeout(600)]

AT_A_TIME = 8


def succeeds(stage: Stage) -> None:
    with stage.life("life_succeeding") as one:
        one.begins()
        (fleet,) = one.submits()
        assert one.succeeded(fleet)["message"] == ""
        assert "RESULT correct" in one.log()


def fails(stage: Stage) -> None:
    """The driver's reason, a bounded end of its log, and the Events."""
    with stage.life("life_failing") as one:
        one.begins()
        one.failed("driver container failed with ExitCode: 1", "line 499 of the driver", "the input is empty")
        assert "Warning SparkDriverFailed: " in one.log()
        assert "line 400 of the driver" not in one.log()


def in_the_worker_succeeds(stage: Stage) -> None:
    with stage.life("life_worker") as one:
        one.begins()
        fleet = one.is_under_way()
        fleet.completes()
        one.succeeded(fleet)


def in_the_worker_fails(stage: Stage) -> None:
    with stage.life("life_worker") as one:
        one.begins()
        one.is_under_way().fails("driver container failed with ExitCode: 137, Reason: OOMKilled")
        one.failed("driver container failed with ExitCode: 137, Reason: OOMKilled")


@dataclass(frozen=True)
class Where:
    """Lines that are lived in the triggerer and in the worker."""

    word: str

    def takes_too_long(self, stage: Stage) -> None:
        with stage.life(f"life_{self.word}_limited") as one:
            one.begins()
            one.submits()
            one.failed("imeout")

    def is_retried(self, stage: Stage) -> None:
        with stage.life(f"life_{self.word}_retried") as one:
            one.begins()
            first = one.is_under_way()
            first.fails("the first try's own reason")
            second = one.is_under_way(first)
            assert not first.exists()
            second.completes()
            one.succeeded(second)
            assert "the first try's own reason" in one.log()

    def is_cleared(self, stage: Stage) -> None:
        with stage.life(f"life_{self.word}") as one:
            one.begins()
            first = one.is_under_way()
            stage.airflow.api.clear(one.dag_id, one.run_id)
            second = one.is_under_way(first)
            first.gone()
            second.completes()
            one.succeeded(second)

    def is_marked_success(self, stage: Stage) -> None:
        self._is_marked(stage, "success")

    def is_marked_failed(self, stage: Stage) -> None:
        self._is_marked(stage, "failed")

    def _is_marked(self, stage: Stage, state: str) -> None:
        with stage.life(f"life_{self.word}") as one:
            one.begins()
            fleet = one.is_under_way()
            one.mark(state)
            fleet.gone()
            one.task_is(state)


def is_killed_with_its_run(stage: Stage) -> None:
    with stage.life("life_triggerer") as one:
        one.begins()
        fleet = one.is_under_way()
        one.task_is("deferred")
        stage.airflow.api.mark_run(one.dag_id, one.run_id, "failed")
        fleet.gone()
        assert stage.airflow.api.run_state(one.dag_id, one.run_id) == "failed"


def its_run_is_deleted_and_recreated(stage: Stage) -> None:
    """At once, under the same id: the second task instance is another one, and adopts nothing."""
    with stage.life("life_triggerer") as one:
        one.begins()
        first = one.is_under_way()
        stage.airflow.api.mark_run(one.dag_id, one.run_id, "failed")
        stage.airflow.api.delete_run(one.dag_id, one.run_id)
        one.begins(run_id=one.run_id)
        second = one.is_under_way(first)
        first.gone()
        second.completes()
        one.succeeded(second)


def worker_is_killed_before_the_create(stage: Stage) -> None:
    with stage.life("life_triggerer_retried") as one:
        killed_at_the_create(one, created=False)
        assert one.applications() == []
        second = one.is_under_way()
        second.completes()
        one.succeeded(second)


def worker_is_killed_after_the_create(stage: Stage) -> None:
    """The next try takes over what the first has left without knowing."""
    with stage.life("life_triggerer_retried") as one:
        killed_at_the_create(one, created=True)
        (fleet,) = one.submits()
        assert fleet.name not in one.log()
        one.log_has("which an earlier try left running", try_number=2)
        fleet.is_looked_after()
        fleet.completes()
        one.succeeded(fleet)


def worker_is_killed_after_the_create_and_never_tried_again(stage: Stage) -> None:
    """Nobody knows of what it left, until `spotmix gc` asks whose it is."""
    with stage.life("life_triggerer") as one:
        killed_at_the_create(one, created=True)
        one.task_is("failed")
        (orphan,) = one.submits()
        by_old_name = "--dry-run", "--instance", stage.airflow.environment()["AIRFLOW__SPOTMIX__INSTANCE"]
        assert one.gc("--dry-run", renamed="new") == []
        (found,) = one.gc(*by_old_name, renamed="new")
        assert (found["name"], found["action"]) == (orphan.name, "would-delete")
        stage.airflow.api.wait_for_run(one.dag_id, one.run_id, "failed", timeout=SECONDS)
        stage.airflow.api.delete_run(one.dag_id, one.run_id)
        assert one.gc(*by_old_name, renamed="new") == []  # nobody knows whose that was
        (found,) = one.gc("--dry-run")
        assert found["why"].endswith("Airflow has no such task instance any more")
        assert orphan.exists()
        (found,) = one.gc()
        assert (found["name"], found["action"]) == (orphan.name, "deleted")


def killed_at_the_create(one: Life, *, created: bool) -> None:
    """Kill the task's process while it waits for the answer to the creation of its application."""
    connection = f"held_{one.namespace}"
    with held_api(one.lab.kubeconfig, created=created) as (api, kubeconfig):
        extra = json.dumps({"kube_config": kubeconfig})
        body: Json = {"connection_id": connection, "conn_type": "kubernetes", "extra": extra}
        one.airflow.api.call("POST", "/api/v2/connections", body)
        one.begins(first_connection=connection)
        until(api.arrived.is_set, "the task creates its application", one.log)
        pid = one.airflow.api.task_instance(one.dag_id, one.run_id, one.task_id)["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists(), "the task's process has ended")
        assert len(one.applications()) == created


def is_mapped(stage: Stage) -> None:
    """Each task instance has a fleet of its own, and an end of its own."""
    with stage.life("life_mapped") as one:
        one.begins()
        fleets = {fleet.map_index: fleet for fleet in one.submits(count=3)}
        for fleet in fleets.values():
            fleet.is_looked_after()
        one.mark("failed", map_index=2)
        fleets[2].gone()
        fleets[0].completes()
        one.task_is("success", map_index=0)
        assert fleets[1].exists()
        fleets[1].fails("only this one")
        one.task_is("failed", map_index=1)
        assert one.report(map_index=0)["applications"][0]["name"] == fleets[0].name
        assert "only this one" in one.log(map_index=1)
        one.task_is("failed", map_index=2)


def has_long_and_odd_names(stage: Stage) -> None:
    """Marked failed, as what asks for the state of such a task must find it; then tried again."""
    with stage.life(lives.ODD_DAG, lives.ODD_TASK) as one:
        # Without '/', '#' and '?', with which Airflow's own API does not find a run.
        one.begins(run_id="manual__2026-01-01 Übung täglich & so + " + "r" * 193)
        first = one.is_under_way()
        one.mark("failed")
        first.gone()
        stage.airflow.api.clear(one.dag_id, one.run_id)
        second = one.is_under_way(first)
        second.completes()
        one.succeeded(second)


def does_not_start(stage: Stage) -> None:
    with stage.life("life_impatient") as one:
        one.begins()
        one.failed("its driver does not run 10 s after the application's creation: it is SUSPENDED and has no driver")


def falls_back(stage: Stage) -> None:
    """Spot is sold out: after the deadline its seat is placed on on-demand."""
    with stage.life("life_fallback") as one:
        one.begins()
        fleet = one.is_under_way()
        one.log_has("no node has taken it in")
        until(lambda: len(fleet.executors()) == 2, "the executor that no node takes is removed", one.log)
        fleet.is_looked_after()
        fleet.completes()
        report = one.succeeded(fleet)
        assert report["fallbacks_by_cause"] == {"spot-unobtainable": 1}
        assert [each["pool"] for each in report["replacements"]] == ["on-demand"]


def a_sensor_is_told_of_a_deletion_between_its_looks(stage: Stage) -> None:
    """Each look of a sensor in mode `reschedule` is a process of its own."""
    with stage.life("life_sensor_rescheduled", "sensor") as one:
        path = kind(one.namespace, "sparkapplications")
        one.lab.api.create(path, {**lives.PLAYED, "metadata": {"name": "life", "namespace": one.namespace}})
        one.begins()
        one.task_is("up_for_reschedule")
        one.lab.api.delete(f"{path}/life")
        one.failed("'life' in namespace", "was there and is gone, and nobody saw how it ended")


LINES: list[Line] = [
    # What takes longest comes first.
    *(where.takes_too_long for where in (Where("triggerer"), Where("worker"))),
    succeeds,
    fails,
    in_the_worker_succeeds,
    in_the_worker_fails,
    *(
        line
        for where in (Where("triggerer"), Where("worker"))
        for line in (
            where.is_retried,
            where.is_cleared,
            where.is_marked_success,
            where.is_marked_failed,
        )
    ),
    is_killed_with_its_run,
    its_run_is_deleted_and_recreated,
    worker_is_killed_before_the_create,
    worker_is_killed_after_the_create,
    worker_is_killed_after_the_create_and_never_tried_again,
    is_mapped,
    has_long_and_odd_names,
    does_not_start,
    falls_back,
    a_sensor_is_told_of_a_deletion_between_its_looks,
]


@pytest.fixture(scope="module")
def lived(request: pytest.FixtureRequest, stage: Stage) -> Iterator[dict[str, Future[None]]]:
    """The lines that were chosen, lived many at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {name(line): pool.submit(line, stage) for line in chosen(request, test_a_task)}


@pytest.mark.parametrize("line", LINES, ids=name)
def test_a_task(lived: dict[str, Future[None]], line: Line) -> None:
    lived[name(line)].result()
