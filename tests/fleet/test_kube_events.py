"""Events on the application: few, true to what happened, and never in the way. Virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from airflow_provider_spotmix.fleet.kube_events import KubeEvents
from airflow_provider_spotmix.fleet.voice import Voice
from airflow_provider_spotmix.kube.resources import EVENTS
from tests.fleet.test_feeds import SPEC
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime


class Scene:
    """A writer at work, and the server it writes to."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.told: list[str] = []
        voice = Voice(lambda message, _: self.told.append(message))
        self.events = KubeEvents(self.server.client(), SPEC, voice=voice, now=lambda: 1_800_000_000.5)

    def happened(self, reason: str, message: str = "it did", *, uid: str = "u", warning: bool = False) -> None:
        self.events.happened("etl", uid, reason, message, warning=warning)

    async def written(self) -> list[str]:
        found = (await self.server.client().list(EVENTS, "spark")).items
        return [f"{event.type} {event.reason} {event.count}: {event.message}" for event in found]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    work = asyncio.create_task(scene.events.keep_writing())
    yield scene
    work.cancel()


async def test_an_event_is_about_the_application_and_says_who_reports_it(scene: Scene) -> None:
    scene.happened("ExecutorLost", "lost etl-exec-1", warning=True)
    await asyncio.sleep(1)
    (event,) = (await scene.server.client().list(EVENTS, "spark")).items
    about = event.involved_object
    assert (about.kind, about.namespace, about.name, about.uid) == ("SparkApplication", "spark", "etl", "u")
    assert (event.type, event.reason, event.message) == ("Warning", "ExecutorLost", "lost etl-exec-1")
    assert (event.reporting_component, event.source.component) == ("spotmix", "spotmix")
    assert event.seen_at == event.first_timestamp == 1_800_000_000.0
    assert event.metadata.name.startswith("etl.")


async def test_what_happens_again_before_it_is_told_is_told_as_one(scene: Scene) -> None:
    scene.happened("ExecutorLost", "lost 1")
    await asyncio.sleep(1)
    for number in range(2, 500):
        scene.happened("ExecutorLost", f"lost {number}")
        scene.happened("ExecutorReplaced", f"replaced {number}")
    await asyncio.sleep(10)
    assert await scene.written() == [
        "Normal ExecutorLost 1: lost 1",
        "Normal ExecutorLost 498: 498 times, last: lost 499",
        "Normal ExecutorReplaced 498: 498 times, last: replaced 499",
    ]


async def test_a_storm_makes_thirty_a_minute_at_most(scene: Scene) -> None:
    for number in range(600):
        scene.happened("ExecutorLost", f"lost {number}")
        await asyncio.sleep(0.1)
    assert len(await scene.written()) == 31  # at 0, 2, 4 ... 60 seconds


async def test_at_the_end_all_is_told_at_once(scene: Scene) -> None:
    for reason in ("ExecutorLost", "ExecutorReplaced", "FleetSucceeded"):
        scene.happened(reason)
    await scene.events.write_last()
    assert len(await scene.written()) == 3


async def test_a_missing_permission_is_told_once(scene: Scene) -> None:
    scene.server.fail("create", code=403, reason="Forbidden")
    for _ in range(3):
        scene.happened("ExecutorLost")
        await asyncio.sleep(10)
    assert len(scene.told) == 1
    assert scene.server.calls["create"] == 1


async def test_an_api_server_that_is_away_costs_the_news_and_nothing_else(scene: Scene) -> None:
    scene.server.fail("create")
    scene.happened("ExecutorLost")
    await asyncio.sleep(10)
    scene.server.heal()
    scene.happened("FleetSucceeded")
    await scene.events.write_last()
    assert (await scene.written(), scene.told) == (["Normal FleetSucceeded 1: it did"], [])


async def test_a_long_message_is_cut_and_what_nobody_has_seen_is_not_written_about(scene: Scene) -> None:
    scene.happened("ExecutorLost", "x" * 5000)
    scene.happened("FleetFailed", uid="")
    await asyncio.sleep(10)
    (written,) = await scene.written()
    assert len(written.partition(": ")[2]) == 1024
