"""A task whose triggerer is killed, paused or replaced: the right outcome, and nothing left of any fleet."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from airflow_provider_spotmix.fleet.lease import lease_name
from airflow_provider_spotmix.lab.airflow import AirflowHarness
from tests.e2e.life import SECONDS, kind, until
from tests.e2e.lines import Stage, chosen, name
from tests.support.agent import agent

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.timeout(600), pytest.mark.usefixtures("triggerer")]


class Outage:
    """A time without a triggerer that several lives share: it begins when all are ready, and ends when all are."""

    def __init__(self, airflow: AirflowHarness, lives: int) -> None:
        self._begin = threading.Barrier(lives, action=lambda: airflow.kill("triggerer"), timeout=2 * SECONDS)
        self._end = threading.Barrier(lives, action=lambda: airflow.start("triggerer"), timeout=2 * SECONDS)

    def abort(self) -> None:
        """Let nobody wait for a life that is over already."""
        self._begin.abort()
        self._end.abort()

    def __enter__(self) -> None:
        self._begin.wait()

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            self._end.wait()


class OutageStage(Stage):
    """Where lives are lived through one outage."""

    def __init__(self, stage: Stage, lives: int) -> None:
        super().__init__(stage.lab, stage.airflow)
        self.outage = Outage(stage.airflow, lives)


Line = Callable[[OutageStage], None]


def outage_is_survived(stage: OutageStage) -> None:
    """The next triggerer takes over what it finds, and deletes nothing."""
    with stage.life("life_triggerer") as one:
        one.begins()
        fleet = one.is_under_way()
        one.task_is("deferred")
        executors = fleet.executors()
        with stage.outage:
            pass
        one.log_has("taking over from controller")
        assert fleet.exists()
        assert fleet.executors() == executors
        fleet.completes()
        report = one.succeeded(fleet)
        assert (report["interruptions"], report["replacements"]) == ([], [])


def an_agent_needs_no_triggerer(stage: OutageStage) -> None:
    """It replaces what is lost meanwhile; the task gets its report afterwards."""
    with stage.life("life_agent") as one, agent(stage.lab, one.namespace):
        one.begins()
        (fleet,) = one.submits()
        sensor = one.beside("life_sensor", "sensor")
        sensor.begins(fleet=fleet.labels["spotmix.io/fleet"])
        sensor.task_is("deferred")
        fleet.is_looked_after()
        sensor.task_is("success")
        assert sensor.airflow.api.xcom(sensor.dag_id, sensor.run_id, "sensor")["running"] == {
            "on-demand": 2,
            "spot": 1,
        }
        one.task_is("deferred")
        with stage.outage:
            fleet.loses_its_spot_executor()
            fleet.is_looked_after()
            fleet.completes()
        report = one.succeeded(fleet)
        assert [each["pool"] for each in report["replacements"]] == ["on-demand"]
        one.log_has("all 3 executors are placed")


def an_agent_submits_a_lost_group_again(stage: OutageStage) -> None:
    """Without a triggerer; the first attempt's driver is gone before the second one's runs."""
    with stage.life("life_agent_groups") as one, agent(stage.lab, one.namespace):
        one.begins()
        spot, on_demand = sorted(one.submits(count=2), key=lambda each: each.spark.executors)
        on_demand.runs()
        spot.is_looked_after()
        one.task_is("deferred")
        with stage.outage:
            (executor,) = one.do(spot.spark.pods())
            one.do(spot.spark.evict(executor.metadata.name))
            until(lambda: spot.checkpoint().get("losses"), "the agent has noted the loss")
            spot.fails("too many executor failures")
            (again,) = one.submits(spot, on_demand)
            again.runs()
            on_demand.completes()
            again.completes()
        one.task_is("success")
        report = one.report()
        (resubmission,) = report["resubmissions"]
        assert (resubmission["from_pool"], resubmission["pool"]) == ("spot", "on-demand")
        assert [(each["pool"], each["attempt"], each["state"]) for each in report["applications"]] == [
            ("spot", 1, "FAILED"),
            ("on-demand", 1, "COMPLETED"),
            ("on-demand", 2, "COMPLETED"),
        ]


def is_marked_failed_during_an_outage(stage: OutageStage) -> None:
    """Nobody is told. The next trigger to start in the namespace sweeps it."""
    with stage.life("life_triggerer") as one:
        one.begins()
        first = one.is_under_way()
        one.task_is("deferred")
        with stage.outage:
            one.mark("failed")
            one.task_is("failed")
            assert first.exists()
        one.begins()
        second = one.is_under_way(first)
        first.gone()
        assert one.gc() == []  # only the Lease of the killed triggerer is left behind
        second.completes()
        one.succeeded(second)


def its_run_is_deleted_and_recreated_during_an_outage(stage: OutageStage) -> None:
    with stage.life("life_triggerer") as one:
        one.begins()
        first = one.is_under_way()
        one.task_is("deferred")
        with stage.outage:
            stage.airflow.api.mark_run(one.dag_id, one.run_id, "failed")
            stage.airflow.api.delete_run(one.dag_id, one.run_id)
            one.begins(run_id=one.run_id)
            (second,) = one.submits(first)
            first.gone()
        second.is_looked_after()
        second.completes()
        one.succeeded(second)
        one.gc()  # the Lease of the killed triggerer


def application_ends_and_its_ttl_removes_it_during_an_outage(stage: OutageStage) -> None:
    """The cluster's Events still tell how it had ended."""
    with stage.life("life_short_lived") as one:
        one.begins()
        (fleet,) = one.submits()
        one.log_has("executors are placed")
        with stage.outage:
            fleet.gone()
        one.task_is("success")
        (application,) = one.report()["applications"]
        assert (application["name"], application["state"]) == (fleet.name, "DELETED")
        assert "it had succeeded before its object was deleted" in application["message"]
        assert {pool: row["incomplete"] for pool, row in one.report()["ledger"].items()} == {
            "spot": True,
            "on-demand": True,
        }
        one.gc()  # the Lease of the killed triggerer


def application_is_deleted_during_an_outage(stage: OutageStage) -> None:
    """Nothing tells how it had ended: that is no success."""
    with stage.life("life_triggerer") as one:
        one.begins()
        fleet = one.is_under_way()
        one.task_is("deferred")
        with stage.outage:
            stage.lab.api.delete(f"{kind(one.namespace, 'sparkapplications')}/{fleet.name}")
            fleet.gone()
        one.failed("how it had ended is not known")
        one.gc()  # the Lease of the killed triggerer


LINES: list[Line] = [
    outage_is_survived,
    an_agent_needs_no_triggerer,
    an_agent_submits_a_lost_group_again,
    is_marked_failed_during_an_outage,
    its_run_is_deleted_and_recreated_during_an_outage,
    application_ends_and_its_ttl_removes_it_during_an_outage,
    application_is_deleted_during_an_outage,
]


@pytest.fixture(scope="module")
def lived(request: pytest.FixtureRequest, stage: Stage, triggerer: None) -> Iterator[dict[str, Future[None]]]:
    """The lines that were chosen, with one outage for all."""
    lines = chosen(request, test_a_task_and_an_outage)
    through_outage = OutageStage(stage, len(lines))

    def live(line: Line) -> None:
        try:
            line(through_outage)
        except BaseException:
            through_outage.outage.abort()
            raise

    with ThreadPoolExecutor(len(lines)) as pool:
        yield {name(line): pool.submit(live, line) for line in lines}


@pytest.mark.parametrize("line", LINES, ids=name)
def test_a_task_and_an_outage(lived: dict[str, Future[None]], line: Line) -> None:
    lived[name(line)].result()


def test_reassignment_between_triggerers_deletes_nothing(stage: Stage) -> None:
    """To another one while the first is thought dead, which then wakes up; and back, as the other is shut down."""
    with stage.life("life_triggerer") as one:
        one.begins()
        fleet = one.is_under_way()
        one.task_is("deferred")
        executors, first = fleet.executors(), fleet.holder()
        stage.airflow.kill("triggerer", signal.SIGSTOP)
        stage.airflow.start("triggerer", instance=2)
        try:
            until(lambda: fleet.holder() != first, "the second triggerer takes over", one.log)
        finally:
            stage.airflow.kill("triggerer", signal.SIGCONT)
        until(lambda: len(stage.airflow.api.triggerers()) == 2, "both triggerers are well")
        second = fleet.holder()
        stage.airflow.kill("triggerer", signal.SIGTERM, instance=2)
        leases = [each["metadata"]["name"] for each in stage.lab.api.items(kind(one.namespace, "leases"))]
        assert lease_name(second) not in leases  # it has released it, and not left it to expire
        until(lambda: len(stage.airflow.api.triggerers()) == 1, "one triggerer is left")
        assert fleet.exists()
        assert fleet.executors() == executors
        fleet.loses_its_spot_executor()
        fleet.is_looked_after()
        fleet.completes()
        report = one.succeeded(fleet)
        assert [each["pool"] for each in report["replacements"]] == ["on-demand"]
