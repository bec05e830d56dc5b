"""Progress is shown as often as there is room for it: the newest picture, fairly, and the last one always."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.showing import FLEET_SECONDS, LAST_WRITE_SECONDS, Pace, shown
from airflow_provider_spotmix.fleet.voice import Voice
from tests.core.vocabulary import NOON, fleet, started

pytestmark = pytest.mark.looptime


class Shelf:
    """Takes pictures, and notes when each came."""

    def __init__(self) -> None:
        self.written: list[tuple[float, str, dict[str, Any]]] = []
        self.error: Exception | None = None
        self.seconds = 0.0
        self.told: list[str] = []
        self.voice = Voice(lambda message, warning: self.told.append(message))

    async def put(self, picture: dict[str, Any]) -> None:
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        self.written.append((asyncio.get_running_loop().time(), picture["fleet"], picture))


def news(progress: Progress, number: int) -> None:
    """Something that a person can see: more executors than before."""
    progress.observe(of(number % 50), NOON + 10 * number)


@cache
def of(executors: int) -> FleetState:
    return started(fleet(executors=executors))


async def test_the_newest_picture_is_written_and_not_every_one() -> None:
    shelf = Shelf()
    async with shown(fleet(), shelf.put, pace=Pace(100), voice=shelf.voice) as progress:
        for number in range(1, 41):
            news(progress, number)
            await asyncio.sleep(0.1)
        await asyncio.sleep(FLEET_SECONDS)
    counts = [sum(picture["placed"].values()) for _, _, picture in shelf.written]
    assert len(counts) <= 5
    assert 40 in counts
    assert counts == sorted(counts)


async def test_what_costs_goes_on_without_news() -> None:
    shelf = Shelf()
    async with shown(fleet(), shelf.put, pace=Pace(100), voice=shelf.voice) as progress:
        news(progress, 5)
        await asyncio.sleep(200)
    assert 5 < len(shelf.written) < 12


async def test_all_have_their_turn_within_one_pace() -> None:
    shelf, pace = Shelf(), Pace(5)

    async def one(name: str) -> None:
        spec = replace(fleet(), fleet_id=name)
        async with shown(spec, shelf.put, pace=pace, voice=shelf.voice) as progress:
            for number in range(1, 101):
                news(progress, number)
                await asyncio.sleep(0.4)

    await asyncio.gather(*(one(f"f{number}") for number in range(50)))
    paced = [at for at, _, _ in shelf.written][:-50]
    assert all(later - earlier >= 0.199 for earlier, later in pairwise(paced))
    times = [[at for at, name, _ in shelf.written if name == f"f{number}"] for number in range(50)]
    assert {len(each) for each in times} <= {4, 5, 6}


@pytest.mark.parametrize("error", [None, RuntimeError("no such application")], ids=["returned", "raised"])
async def test_the_last_picture_is_written_out_of_turn(error: Exception | None) -> None:
    shelf, pace = Shelf(), Pace(0.001)
    await pace.turn()
    with suppress(RuntimeError):
        async with shown(fleet(), shelf.put, pace=pace, voice=shelf.voice) as progress:
            news(progress, 5)
            if error:
                raise error
            progress.end("succeeded", "done", NOON + 99)
    ((_, _, picture),) = shelf.written
    expected = ("failed", "no such application") if error else ("succeeded", "done")
    assert (picture["summary"]["state"], picture["message"]) == expected


async def test_who_is_stopped_says_nothing_more_for_another_goes_on() -> None:
    shelf = Shelf()

    async def look_after() -> None:
        async with shown(fleet(), shelf.put, pace=Pace(100), voice=shelf.voice) as progress:
            news(progress, 5)
            await asyncio.sleep(3600)

    task = asyncio.create_task(look_after())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [picture["summary"]["state"] for _, _, picture in shelf.written] == ["running"]


async def test_what_cannot_be_written_is_told_once_and_harms_nothing() -> None:
    shelf = Shelf()
    shelf.error = OSError("the database is away")
    async with shown(fleet(), shelf.put, pace=Pace(100), voice=shelf.voice) as progress:
        for number in range(1, 20):
            news(progress, number)
            await asyncio.sleep(5)
    assert shelf.told == ["the fleet's progress is not shown for now: the database is away"]


async def test_a_last_write_that_hangs_is_given_up() -> None:
    shelf = Shelf()
    shelf.seconds = 10 * LAST_WRITE_SECONDS
    async with shown(fleet(), shelf.put, pace=Pace(100), voice=shelf.voice):
        pass
    assert shelf.told == ["the fleet's last state is not shown: writing it takes too long"]


async def test_who_watches_sees_every_picture_that_is_written_and_harms_nothing() -> None:
    shelf, seen = Shelf(), []

    def watch(picture: dict[str, Any], progress: Progress) -> None:
        seen.append(picture)
        raise ValueError("no route to StatsD")

    async with shown(fleet(), shelf.put, pace=Pace(100), voice=shelf.voice, watch=watch) as progress:
        news(progress, 1)
        await asyncio.sleep(0.1)
    assert seen == [picture for _, _, picture in shelf.written]
    assert shelf.told == ["the fleet's metrics are not told: no route to StatsD"]
