"""How an application ended whose object is gone: which traces say so, and which do not."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.fleet.outcome import Outcome, outcome, read_events
from airflow_provider_spotmix.kube.errors import ServerError
from airflow_provider_spotmix.kube.objects import CoreEvent, convert
from airflow_provider_spotmix.kube.resources import EVENTS, PODS
from tests.kube.memory import MemoryServer

SUCCEEDED, FAILED = ApplicationPhase.SUCCEEDED, ApplicationPhase.FAILED


def event(reason: str, second: int, *, uid: str = "u", name: str = "etl", message: str = "") -> dict[str, Any]:
    about = {"kind": "SparkApplication", "name": name, "uid": uid}
    return {
        "metadata": {"name": f"{name}.{reason}.{second}"},
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-11-23T07:00:{second:02}Z",
    }


@pytest.mark.parametrize(
    ("reasons", "phase", "evidence"),
    [
        pytest.param(["SparkApplicationSubmitted"], None, "no Event tells of its end", id="not-over"),
        pytest.param(
            ["SparkApplicationSubmitted", "SparkDriverRunning", "SparkDriverCompleted"],
            SUCCEEDED,
            "Event SparkDriverCompleted",
            id="driver-completed",
        ),
        pytest.param(["SparkDriverRunning", "SparkDriverFailed"], FAILED, "Event SparkDriverFailed", id="failed"),
        pytest.param(["SparkApplicationFailed"], FAILED, "Event SparkApplicationFailed", id="never-submitted"),
        pytest.param(
            ["SparkDriverFailed", "SparkApplicationPendingRerun", "SparkDriverRunning"],
            None,
            "it was started again after Event SparkDriverFailed",
            id="started-again",
        ),
        pytest.param(
            ["SparkDriverFailed", "SparkApplicationPendingRerun", "SparkDriverCompleted", "SparkExecutorCompleted"],
            SUCCEEDED,
            "Event SparkDriverCompleted",
            id="the-second-attempt-succeeded",
        ),
    ],
)
def test_events_tell_the_end(reasons: list[str], phase: ApplicationPhase | None, evidence: str) -> None:
    events = [convert(event(reason, second), CoreEvent) for second, reason in enumerate(reasons)]
    found = read_events(events, Kubeflow.endings)
    assert (found.phase, found.evidence) == (phase, evidence)


async def of(server: MemoryServer, *events: dict[str, Any], uid: str = "u") -> Outcome:
    kube = server.client()
    for each in events:
        await kube.create(EVENTS, each, "spark")
    return await outcome(
        kube, Kubeflow.resource, "etl", "spark", uid=uid, driver_pod="etl-driver", endings=Kubeflow.endings
    )


async def test_events_of_others_are_not_its_own() -> None:
    found = await of(MemoryServer(), event("SparkDriverCompleted", 1, uid="x"), event("SparkDriverFailed", 1, name="a"))
    assert found == Outcome(evidence="no Event tells of its end")


async def test_who_never_saw_its_object_goes_by_its_name_which_no_other_try_has() -> None:
    found = await of(MemoryServer(), event("SparkDriverFailed", 7, uid="x", message="Driver failed"), uid="")
    assert found.phase is FAILED
    assert found.evidence == "Event SparkDriverFailed: Driver failed"
    assert found.at % 60 == 7


def ended(exit_code: int, second: int = 0) -> dict[str, Any]:
    """Status of a driver whose container has ended."""
    terminated = {"exitCode": exit_code, "finishedAt": f"2026-11-23T07:00:{second:02}Z"}
    statuses = [{"name": "sidecar"}, {"name": "spark-kubernetes-driver", "state": {"terminated": terminated}}]
    return {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": statuses}


DELETED = {"deletionTimestamp": "2026-11-23T07:00:40Z", "deletionGracePeriodSeconds": 30}  # at second 10


@pytest.mark.parametrize(
    ("status", "metadata", "phase"),
    [
        pytest.param(ended(0), {}, SUCCEEDED, id="succeeded"),
        pytest.param(ended(1), {}, FAILED, id="failed"),
        pytest.param(ended(0) | {"phase": "Failed"}, {}, SUCCEEDED, id="a-sidecar-failed"),
        pytest.param({"phase": "Running"}, {}, None, id="runs-on"),
        pytest.param(ended(0, second=9), DELETED, SUCCEEDED, id="ended-then-deleted"),
        pytest.param(ended(1, second=11), DELETED, None, id="ended-by-its-deletion"),
        pytest.param({"phase": "Failed"}, DELETED, None, id="nobody-knows-when"),
        pytest.param(ended(0), {"labels": {"spotmix.io/application": "x"}}, None, id="of-another-application"),
    ],
)
async def test_a_driver_pod_that_is_still_there(
    status: dict[str, Any], metadata: dict[str, Any], phase: ApplicationPhase | None
) -> None:
    server = MemoryServer()
    marks = {"name": "etl-driver", "labels": {"spotmix.io/application": "etl"}}
    await server.client().create(PODS, {"metadata": marks | metadata, "status": status}, "spark")
    assert (await of(server)).phase is phase


async def test_a_missing_permission_is_told_and_an_api_server_that_is_away_is_waited_for() -> None:
    server = MemoryServer()
    server.fail("list", code=403, reason="Forbidden")
    assert (await of(server)).evidence.startswith("events may not be read: ")
    server.fail("list", code=503)
    with pytest.raises(ServerError):
        await of(server)
