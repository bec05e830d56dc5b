"""What interruptions cost in work, as the REST API of a driver's UI tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet import overhead as spark
from airflow_provider_spotmix.fleet.overhead import Overhead, SparkUi, Stage, Task, lost, repeated, ui_address
from airflow_provider_spotmix.fleet.overhead_watch import OverheadWatch
from airflow_provider_spotmix.fleet.progress import Progress
from tests.core.vocabulary import fleet, started

# As Spark 4.0.4 answered when one of three executors was lost, with 13 of its results, during the first stage.
STAGES = [
    {"status": "ACTIVE", "stageId": 1, "attemptId": 0, "numTasks": 20, "numCompleteTasks": 9, "numFailedTasks": 0,
     "executorRunTime": 10252, "details": "org.apache.spark"},
    {"status": "COMPLETE", "stageId": 0, "attemptId": 0, "numTasks": 90, "numCompleteTasks": 103, "numFailedTasks": 14,
     "executorRunTime": 121194},
]  # fmt: skip
FAILED = [
    {"taskId": 40, "status": "FAILED", "duration": 982,
     "errorMessage": "ExecutorLostFailure (executor 1 exited unrelated to the running tasks) Reason: ..."},
]  # fmt: skip

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answer], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Answer at an address as a driver's UI does."""
    runners: list[web.AppRunner] = []

    async def at(answer: Answer) -> str:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runners.append(web.AppRunner(app, shutdown_timeout=0.1))
        await runners[-1].setup()
        site = web.TCPSite(runners[-1], "127.0.0.1", 0)
        await site.start()
        host, port = runners[-1].addresses[0][:2]
        return f"{host}:{port}"

    yield at
    for runner in runners:
        await runner.cleanup()


async def test_what_spark_answers_is_summed_up(serve: Serve) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(str(request.rel_url))
        return web.json_response(STAGES if request.path.endswith("stages") else FAILED)

    found = await SparkUi(await serve(answer), "spark-1").overhead()
    assert found == Overhead(lost_tasks=1, lost_task_seconds=0.982, repeated_tasks=13, repeated_task_seconds=15.296)
    base = "/api/v1/applications/spark-1/stages"
    assert asked == [base, f"{base}/0/0/taskList?status=failed&length=1000"]


def test_a_later_attempt_of_a_stage_is_all_repetition() -> None:
    stages = [Stage(3, 0, 10, 10, 1, 20_000), Stage(3, 1, 4, 4, 0, 6_000), Stage(4, 0, 10, 2, 0, 1_000)]
    assert repeated(stages) == Overhead(repeated_tasks=4, repeated_task_seconds=6)


def test_what_the_application_broke_itself_is_not_counted() -> None:
    tasks = [Task(500, "java.lang.OutOfMemoryError"), Task(700, "FetchFailed(BlockManagerId(1), shuffleId=0)"), Task(9)]
    assert lost(tasks) == Overhead(lost_tasks=1, lost_task_seconds=0.7)


async def _html(request: web.Request) -> web.Response:
    return web.Response(text="<html>")


async def _elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPFound("http://169.254.169.254/")


async def _forbidden(request: web.Request) -> web.Response:
    raise web.HTTPForbidden


async def _silent(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(64):
        await response.write(b" " * 1_000_000)
    return response


@pytest.mark.parametrize("answer", [_html, _elsewhere, _forbidden, _silent, _endless])
async def test_other_answers_are_errors_and_end_soon(
    serve: Serve, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark, "CALL_SECONDS", 0.5)
    with pytest.raises((OSError, ValueError)):
        await SparkUi(await serve(answer), "spark-1").overhead()


@pytest.mark.parametrize(
    ("ip", "ports", "address"),
    [
        ("10.0.0.7", {"spark-ui": 4040, "blockmanager": 7079}, "10.0.0.7:4040"),
        ("fd00::7", {"spark-ui": 4040}, "[fd00::7]:4040"),
        ("", {"spark-ui": 4040}, ""),
        ("10.0.0.7", {}, ""),
        ("metadata.internal/", {"spark-ui": 80}, ""),
        ("10.0.0.7", {"spark-ui": 70000}, ""),
    ],
)
def test_where_a_driver_listens(ip: str, ports: dict[str, int], address: str) -> None:
    assert ui_address(ip, ports) == address


class Drivers:
    """Drivers that answer, or do not."""

    def __init__(self) -> None:
        self.answer: Overhead | None = Overhead(lost_tasks=1)
        self.asked: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.progress = Progress(fleet())
        self.watch = OverheadWatch(self.progress, lambda said, warning: self.told.append(said), self.ask)

    async def ask(self, address: str, application: str) -> Overhead:
        self.asked.append((address, application))
        if self.answer is None:
            raise OSError("no route")
        return self.answer


def _state(submission: str = "spark-1", *, losses: int = 1, **changes: Any) -> FleetState:
    state = started(fleet())
    (name,) = state.applications
    driver = ev.DriverObserved(
        at=0, id="d", application=name, pod="d", submission=submission, ui="10.0.0.7:4040", started=True
    )
    app = replace(state.applications[name], driver=replace(driver, **changes))
    lost_by_cause = {"spot-interruption": losses} if losses else {}
    return replace(state, applications={name: app}, losses_by_cause=lost_by_cause)


async def test_nobody_is_asked_before_something_is_lost() -> None:
    drivers = Drivers()
    await drivers.watch.look(_state(losses=0))
    assert (drivers.asked, drivers.watch.total) == ([], None)


@pytest.mark.parametrize("changes", [{"started": False}, {"ended": True}, {"ui": ""}, {"submission": ""}])
async def test_a_driver_that_cannot_answer_is_not_asked(changes: dict[str, Any]) -> None:
    drivers = Drivers()
    await drivers.watch.look(_state(**changes))
    assert drivers.asked == []


async def test_the_last_answer_of_each_driver_counts() -> None:
    drivers = Drivers()
    await drivers.watch.look(_state())
    drivers.answer = Overhead(lost_tasks=3, lost_task_seconds=1.5)
    await drivers.watch.look(_state())
    drivers.answer = None  # it ends
    await drivers.watch.look(_state())
    assert drivers.watch.total == Overhead(lost_tasks=3, lost_task_seconds=1.5)
    assert drivers.told == []
    drivers.answer = Overhead(repeated_tasks=2)
    await drivers.watch.look(_state("spark-2"))
    assert drivers.watch.total == Overhead(lost_tasks=3, lost_task_seconds=1.5, repeated_tasks=2)
    shown = json.loads(json.dumps(drivers.progress.picture()))["overhead"]
    assert shown == {"lost_tasks": 3, "lost_task_seconds": 1.5, "repeated_tasks": 2, "repeated_task_seconds": 0.0}


async def test_that_a_driver_cannot_be_asked_is_told_once() -> None:
    drivers = Drivers()
    drivers.answer = None
    for _ in range(3):
        await drivers.watch.look(_state())
    assert drivers.watch.total is None
    (said,) = drivers.told
    assert said.endswith("the driver's UI cannot be asked from here (10.0.0.7:4040: no route)")


def test_what_a_person_is_told() -> None:
    found = Overhead(lost_tasks=1, lost_task_seconds=0.982, repeated_tasks=13, repeated_task_seconds=15.296)
    assert str(found) == "interruptions cost 1 tasks cut short (1.0 s) and 13 done again (about 15.3 s)"
