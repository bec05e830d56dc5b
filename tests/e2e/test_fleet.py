"""The product on real parts: a real DAG, real Airflow processes, the real operator, real Spark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_spotmix.hooks.addresses import fleet_tab
from airflow_provider_spotmix.lab import demo
from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.progress import Silent
from tests.e2e.life import nothing_left
from tests.support.statsd import Statsd

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.timeout(600)]

PODS = "/api/v1/namespaces/spark/pods"
EXECUTORS = {"labelSelector": "spark-role=executor,spotmix.io/fleet"}


@pytest.fixture(autouse=True)
def _whole_nodes(lab: Lab) -> Iterator[None]:
    """Give back the nodes that a test has interrupted, and see that no test leaves anything of its fleet."""
    yield
    for node in lab.status().nodes:
        if not node.ready or (node.taints and node.capacity_type == "on-demand"):
            lab.restore(node.name)
    nothing_left(lab, "spark")


def test_the_mix_survives_an_interruption_and_a_killed_triggerer(lab: Lab, airflow: AirflowHarness) -> None:
    """The demo's story, which checks the placement, the replacement, the report and the job's own result."""
    story = demo.run(lab, airflow, progress=Silent())
    assert story.job_result == "RESULT correct: 200000 rows in 20 groups"
    assert story.report["gate_latency_ms"]["count"] == 6
    lab.restore(story.report["interruptions"][0]["node"])


def test_a_fleet_looked_after_in_the_worker(airflow: AirflowHarness) -> None:
    run = airflow.api.trigger("e2e_worker", conf={"partitions": 6, "seconds": 0.2})
    assert airflow.api.wait_for_run("e2e_worker", run, timeout=240) == "success"
    report = airflow.api.xcom("e2e_worker", run, "fleet")
    assert (report["result"], report["initial"]) == ("succeeded", {"spot": 1, "on-demand": 2})
    assert report["interruptions"] == []
    assert "-driver] " in airflow.api.task_log("e2e_worker", run, "fleet")
    assert airflow.api.xcom("e2e_worker", run, "fleet", key="spotmix_fleet")["fleet"] == report["fleet"]


def test_a_node_that_dies_without_notice_is_noticed_shown_and_its_executor_replaced(
    lab: Lab, airflow: AirflowHarness, statsd: Statsd
) -> None:
    run = airflow.api.trigger("e2e_triggerer", conf={"partitions": 120, "seconds": 1})
    spot = _wait_for_spot_node(lab)
    time.sleep(demo.WORK_SECONDS)
    shown = _wait_for_view(airflow, run, lambda summary: summary["executors"] == 3)
    assert (shown["task"]["state"], shown["fleet"]["summary"]["state"]) == ("deferred", "running")
    links = airflow.api.call("GET", f"/api/v2/dags/e2e_triggerer/dagRuns/{run}/taskInstances/fleet/links")
    assert links["extra_links"]["Fleet"] == f"{airflow.ui}{fleet_tab('e2e_triggerer', run, 'fleet')}"
    assert httpx.get(f"{airflow.ui}{_view(run)}").status_code == httpx.codes.UNAUTHORIZED

    lab.interrupt(spot, "node-death")
    shown = _wait_for_view(airflow, run, lambda summary: summary["replacements"] == 1)
    assert shown["task"]["state"] == "deferred"
    assert [each["kind"] for each in shown["fleet"]["events"]][:2] == ["loss", "replacement"]

    assert airflow.api.wait_for_run("e2e_triggerer", run, timeout=300) == "success"
    shown = _wait_for_view(airflow, run, lambda summary: summary["state"] == "succeeded")
    assert shown["report"] == airflow.api.xcom("e2e_triggerer", run, "fleet")
    assert "-driver] " in airflow.api.task_log("e2e_triggerer", run, "fleet")  # followed; its end was not told again
    told = statsd.of("spotmix", dag_id="e2e_triggerer", task_id="fleet")
    assert {"1|g", "0|g"} <= told["executors{pool=spot}"]  # placed, lost
    assert {"2|g", "3|g", "0|g"} <= told["executors{pool=on-demand}"]  # placed, replaced, over
    assert told["losses{cause=spot-interruption}"] == told["interruptions"] == {"1|c"}
    assert told["replacements{pool=on-demand}"] == {"1|c"}
    assert len(told["gate_latency"]) >= 1
    found = airflow.api.call("GET", "/spotmix/api/v1/fleets?dag_id=e2e_triggerer")["fleets"]
    assert run in [each["run_id"] for each in found]
    report = airflow.api.xcom("e2e_triggerer", run, "fleet")
    assert [(loss["node"], loss["cause"]) for loss in report["interruptions"]] == [(spot, "spot-interruption")]
    assert [(new["pool"], new["fallback"]) for new in report["replacements"]] == [("on-demand", True)]
    assert report["overhead"]["lost_tasks"] >= 1  # each of its executors had one at work
    assert report["overhead"]["repeated_tasks"] >= 1  # it had written shuffle data, which nobody could migrate


def _view(run: str) -> str:
    return f"/spotmix/api/v1/dags/e2e_triggerer/runs/{run}/tasks/fleet/-1"


def _wait_for_view(airflow: AirflowHarness, run: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the fleet view shows that; without anything but the page's own route."""
    deadline = time.monotonic() + 60
    while True:
        shown = airflow.api.call("GET", _view(run))
        if shown["fleet"] and wanted(shown["fleet"]["summary"]):
            return shown
        assert time.monotonic() < deadline, shown["fleet"]
        time.sleep(0.5)


def _wait_for_spot_node(lab: Lab) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pods = lab.api.items(PODS, **EXECUTORS)
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        if len(running) == 3:
            return next(
                str(pod["spec"]["nodeName"])
                for pod in running
                if pod["metadata"]["labels"]["spotmix.io/placed-pool"] == "spot"
            )
        time.sleep(0.3)
    raise AssertionError("three executors never ran")
