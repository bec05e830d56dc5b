"""The startup timeout: what is given up, when, and what is said about why."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Finish, Tell, Topic
from airflow_provider_spotmix.core.checkpoint import restore, take
from airflow_provider_spotmix.core.controller import Decision, decide
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import FleetState
from tests.core.vocabulary import APP, NOON, after, fleet, observed, pod, run, synced, tick

TIMED = fleet(startup_timeout_seconds=60)


def created(state: str = "", at: float = 0, *, app: str = APP, **facts: object) -> ev.ApplicationObserved:
    """An application that was created at noon and whose driver does not run."""
    seen = ev.ApplicationObserved(
        at=NOON + at, application=app, uid=app, phase=ev.ApplicationPhase.PENDING, state=state, created_at=NOON
    )
    return replace(seen, **facts)


def driver(waits_for: str = "", *, started: bool = False) -> ev.DriverObserved:
    return ev.DriverObserved(at=NOON, application=APP, pod="etl-driver", started=started, waits_for=waits_for)


def timed_out(*events: ev.AnyEvent, spec: FleetSpec = TIMED) -> Decision:
    """What is decided once the time is over."""
    return decide(run(spec, synced(), *events), tick(60))


@pytest.mark.parametrize(
    ("events", "why"),
    [
        pytest.param(
            (created(),),
            "the operator has not taken it up; is the spark-operator running and watching namespace etl?",
            id="no-operator",
        ),
        pytest.param((created("SUBMITTED"),), "it is SUBMITTED and has no driver pod", id="no-driver-pod"),
        pytest.param(
            (created("SUBMISSION_FAILED", message="quota exceeded"),),
            "it is SUBMISSION_FAILED and has no driver pod (quota exceeded)",
            id="the-operator-cannot-submit-it",
        ),
        pytest.param(
            (created("SUBMITTED"), driver("Unschedulable: 0/3 nodes are available")),
            "driver pod etl-driver: Unschedulable: 0/3 nodes are available",
            id="unschedulable",
        ),
        pytest.param(
            (created("SUBMITTED"), driver("Unschedulable: no"), driver("ImagePullBackOff: no such image")),
            "driver pod etl-driver: ImagePullBackOff: no such image",
            id="the-last-reason-counts",
        ),
        pytest.param(
            (created("SUBMITTED"), driver()),
            "driver pod etl-driver: it is pending and does not say why",
            id="silent",
        ),
    ],
)
def test_a_driver_that_does_not_run_in_time_fails_the_fleet_and_it_is_said_why(
    events: tuple[ev.AnyEvent, ...], why: str
) -> None:
    message = f"its driver does not run 60 s after the application's creation: {why}"
    assert timed_out(*events).actions == (
        Tell(
            cause="tick",
            message=f"etl is given up: {message}",
            warning=True,
            topic=Topic.GIVEN_UP,
            application="etl",
        ),
        Finish(cause="tick", succeeded=False, message=f"etl STARTUP_TIMEOUT: {message}"),
    )


@pytest.mark.parametrize(
    "events",
    [
        pytest.param((driver(started=True),), id="the-driver-pod-runs"),
        pytest.param((created("RUNNING", phase=ev.ApplicationPhase.RUNNING, started=True),), id="the-operator-says-so"),
        pytest.param(
            (created("RUNNING", started=True), created("PENDING_RERUN"), created("SUBMITTED"), driver("Unschedulable")),
            id="it-has-run-before",
        ),
        pytest.param((observed(pod(1)),), id="it-has-asked-for-executors"),
    ],
)
def test_what_has_run_once_is_not_given_up(events: tuple[ev.AnyEvent, ...]) -> None:
    assert not timed_out(created("SUBMITTED"), *events).state.finished


def test_it_has_its_full_time() -> None:
    assert after(TIMED, synced(), created("SUBMITTED"), tick(59.9)).actions[1:] == ()


def test_without_a_timeout_it_may_take_for_ever() -> None:
    assert timed_out(created(), spec=fleet()).actions == ()


def test_nothing_is_given_up_before_everything_has_been_read() -> None:
    assert not run(TIMED, created(), tick(100)).finished


def test_a_controller_that_takes_over_counts_from_the_creation() -> None:
    assert run(TIMED, created("SUBMITTED", at=1000), synced(1000), tick(1001)).finished


def test_a_controller_that_takes_over_knows_that_it_has_run() -> None:
    before = run(TIMED, synced(), created("RUNNING", started=True), observed(pod(1)))
    state = restore(FleetState.new(TIMED), take(before, holder="me"))
    assert not run(state, created("SUBMITTED", at=1000), synced(1000), tick(1001)).finished


def test_what_was_given_up_stays_so() -> None:
    """Another application of the fleet is still waited for."""
    two = replace(fleet(applications=2, executors=1, startup_timeout_seconds=60), quorum=1)
    first, second = (created("SUBMITTED", app=f"etl-{n}") for n in range(2))
    state = run(two, synced(), first, replace(second, started=True), tick(60))
    state = run(state, replace(first, at=NOON + 61, phase=ev.ApplicationPhase.RUNNING, state="RUNNING", started=True))
    assert (state.applications["etl-0"].phase, state.finished) == (ev.ApplicationPhase.FAILED, False)
    assert run(state, replace(second, phase=ev.ApplicationPhase.SUCCEEDED)).finished
