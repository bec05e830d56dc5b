"""Startup: an application whose driver does not begin to run is given up, and it is said what it waited for."""

from __future__ import annotations

from airflow_provider_spotmix.core.actions import Topic
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.state import ApplicationState
from airflow_provider_spotmix.core.turn import Turn

STATE = "STARTUP_TIMEOUT"


def give_up_what_does_not_start(turn: Turn) -> None:
    """Fail the applications whose driver has not begun to run in time.

    Their objects are still there, and whoever deletes fleets deletes them.
    """
    patience = turn.state.spec.policy.startup_timeout_seconds
    for app in list(turn.state.applications.values()) if patience and turn.state.synced else ():
        # Executors that were seen, be it before a restart of ours, had a driver that asked for them.
        has_run = app.started or app.submission
        if app.over or has_run or not app.created_at or turn.at - app.created_at < patience:
            continue
        message = f"its driver does not run {patience:g} s after the application's creation: {_why(turn, app)}"
        turn.application(app.name, phase=ApplicationPhase.FAILED, state=STATE, message=message, given_up=True)
        turn.tell(f"{app.name} is given up: {message}", warning=True, topic=Topic.GIVEN_UP, application=app.name)


def _why(turn: Turn, app: ApplicationState) -> str:
    """What it waits for, as far as anybody has said."""
    if not app.state:
        return (
            "the operator has not taken it up; is the spark-operator running and watching namespace"
            f" {turn.state.spec.namespace}?"
        )
    if app.driver is None:
        return f"it is {app.state} and has no driver pod" + (f" ({app.message})" if app.message else "")
    return f"driver pod {app.driver.pod}: {app.driver.waits_for or 'it is pending and does not say why'}"
