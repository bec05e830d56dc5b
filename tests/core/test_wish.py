"""What a sensor concludes from what it sees."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.wish import ApplicationSeen, Judgement, Seen, State, Verdict, Wish, judge

PENDING, RUNNING, SUCCEEDED, FAILED = ApplicationPhase
SATISFIED, WAITING, HOPELESS = Verdict
MIX = Mix(shares=(Share(pool="spot", weight=2, on_demand=False), Share(pool="on-demand", weight=3, on_demand=True)))


def app(phase: ApplicationPhase, name: str = "etl", message: str = "") -> ApplicationSeen:
    return ApplicationSeen(name=name, phase=phase, state=phase.name, message=message, executors=5)


def seen(*phases: ApplicationPhase, **running: int) -> Seen:
    applications = tuple(app(phase, f"etl-{number}") for number, phase in enumerate(phases))
    return Seen(applications=applications, running={pool.replace("_", "-"): n for pool, n in running.items()})


@pytest.mark.parametrize(
    ("wish", "found", "verdict"),
    [
        pytest.param({"state": State.RUNNING}, seen(PENDING), WAITING, id="not-begun"),
        pytest.param({"state": State.RUNNING}, seen(RUNNING, PENDING), WAITING, id="one-of-two-has-begun"),
        pytest.param({"state": State.RUNNING}, seen(RUNNING, SUCCEEDED), SATISFIED, id="both-have-begun"),
        pytest.param({"state": State.RUNNING}, seen(RUNNING, FAILED), HOPELESS, id="one-has-failed"),
        pytest.param({"state": State.SUCCEEDED}, seen(SUCCEEDED, RUNNING), WAITING, id="one-of-two-succeeded"),
        pytest.param({"state": State.SUCCEEDED}, seen(SUCCEEDED), SATISFIED, id="succeeded"),
        pytest.param({"state": State.SUCCEEDED}, seen(FAILED), HOPELESS, id="failed"),
        pytest.param({"state": State.OVER}, seen(FAILED), SATISFIED, id="over-by-failure"),
        pytest.param({"state": State.OVER}, seen(FAILED, RUNNING), WAITING, id="the-other-still-runs"),
        pytest.param({"executors": 3}, seen(RUNNING, spot=2), WAITING, id="too-few"),
        pytest.param({"executors": 3}, seen(RUNNING, spot=2, on_demand=1), SATISFIED, id="enough"),
        pytest.param({"executors": 3}, seen(SUCCEEDED), HOPELESS, id="over-with-too-few"),
        pytest.param({"share": 0.8}, seen(RUNNING, spot=3), WAITING, id="below-the-share"),
        pytest.param({"share": 0.8}, seen(RUNNING, spot=2, on_demand=2), SATISFIED, id="the-share"),
        pytest.param({"share": 0.5}, seen(RUNNING, RUNNING, spot=4), WAITING, id="a-share-of-both-applications"),
        pytest.param({"share": 0.0}, seen(PENDING), SATISFIED, id="no-executor-at-all"),
        pytest.param({"mix": MIX}, seen(RUNNING, spot=2, on_demand=2), WAITING, id="a-mix-of-all-executors"),
        pytest.param({"mix": MIX}, seen(RUNNING, spot=2, on_demand=3), SATISFIED, id="the-mix"),
        pytest.param({"mix": MIX}, seen(RUNNING, spot=3, on_demand=2), SATISFIED, id="within-one"),
        pytest.param({"mix": MIX, "tolerance": 0}, seen(RUNNING, spot=3, on_demand=2), WAITING, id="exactly"),
        pytest.param({"mix": MIX}, seen(RUNNING, spot=4, on_demand=1), WAITING, id="off-by-two"),
        pytest.param({"mix": MIX}, seen(RUNNING, unknown=5), WAITING, id="nobody-placed-them"),
        pytest.param(
            {"mix": MIX, "executors": 2}, seen(RUNNING, spot=1, on_demand=1), SATISFIED, id="the-mix-of-the-first-two"
        ),
        pytest.param(
            {"state": State.SUCCEEDED, "executors": 1}, seen(RUNNING, spot=1), WAITING, id="all-that-is-wished"
        ),
    ],
)
def test_verdict(wish: dict[str, Any], found: Seen, verdict: Verdict) -> None:
    assert judge(Wish(**wish), found).verdict is verdict


def test_a_failure_is_told_in_its_own_words() -> None:
    found = Seen(applications=(app(SUCCEEDED, "one"), app(FAILED, "two", "driver exited with 3"), app(FAILED, "three")))
    assert judge(Wish(state=State.SUCCEEDED), found) == Judgement(
        HOPELESS, "two is FAILED: driver exited with 3; three is FAILED: no reason given"
    )


def test_what_is_waited_for_is_told_with_what_there_is() -> None:
    assert judge(Wish(share=1.0), seen(RUNNING, spot=2)) == Judgement(
        WAITING, "fewer than 5 executors run: etl-0 is RUNNING; running executors: {'spot': 2}"
    )
