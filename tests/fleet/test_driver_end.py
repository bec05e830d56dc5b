"""What is said of a driver that failed or never ran."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_spotmix.fleet.driver_end import MAX_EVENTS, tell_events, why_drivers_failed, why_failed
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import EVENTS, PODS
from tests.fleet.test_plan import application, plan
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime


def ended(**terminated: Any) -> dict[str, Any]:
    return {"phase": "Failed", "containerStatuses": [{"name": "driver", "state": {"terminated": terminated}}]}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        pytest.param(
            ended(exitCode=137, reason="OOMKilled"), "container driver ended with exit code 137 (OOMKilled)", id="oom"
        ),
        pytest.param(
            ended(exitCode=1, signal=9, reason="Error", message="no such table\n"),
            "container driver ended with exit code 1, signal 9 (Error): no such table",
            id="message",
        ),
        pytest.param(
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            "Evicted: The node was low on resource: memory.",
            id="evicted",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"name": "driver", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no image"}}}
                ],
            },
            "ImagePullBackOff: no image",
            id="no-image",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ],
            },
            "Unschedulable: 0/3 nodes",
            id="unschedulable",
        ),
        pytest.param({"phase": "Succeeded"}, "", id="succeeded"),
        pytest.param({"phase": "Running", "reason": "x"}, "", id="runs"),
        pytest.param({"phase": "Failed"}, "", id="says-nothing"),
    ],
)
def test_why(status: dict[str, Any], why: str) -> None:
    assert why_failed(msgspec.convert({"status": status}, Pod)) == why


async def test_each_driver_is_asked_and_its_events_are_told() -> None:
    server, told = MemoryServer(), []
    kube, planned = server.client(), plan(application())
    await submit(kube, planned, tell=lambda *_: None)
    name = planned.spec.applications[0].name
    driver = f"{name}-driver"
    assert await why_drivers_failed(kube, planned.spec) == ""  # there is none
    await kube.create(PODS, {"metadata": {"name": driver}, "spec": {"containers": [{"name": "driver"}]}}, "spark")
    await kube.patch(PODS, driver, {"status": ended(exitCode=2)}, "spark", subresource="status")
    assert await why_drivers_failed(kube, planned.spec) == f"driver {driver}: container driver ended with exit code 2"
    for number in range(MAX_EVENTS + 5):
        event = {
            "metadata": {"name": f"e{number}"},
            "involvedObject": {"name": driver},
            "reason": "Failed",
            "message": f"number {number}",
            "type": "Warning",
            "count": 1 + number % 2,
            "lastTimestamp": f"2026-01-01T00:00:{number:02}Z",
        }
        await kube.create(EVENTS, event, "spark")
    await tell_events(kube, planned.spec, tell=lambda *said: told.append(said))
    assert len(told) == MAX_EVENTS
    assert told[0] == (f"[{driver}] Warning Failed (2 times): number 5", True)
    assert told[-1] == (f"[{driver}] Warning Failed: number 24", True)
