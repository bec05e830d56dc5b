"""Play many schedules at once, and judge each."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncGenerator, Sequence

import msgspec
from msgspec import Struct

from tests.chaos.oracle import Finding, judge
from tests.chaos.play import play
from tests.chaos.schedule import Schedule
from tests.chaos.theatre import Theatre

# Nothing that is played takes so long, whatever the machine.
TOO_LONG_SECONDS = 180.0


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a schedule. ``struck``: the names of the faults that hit something."""

    schedule: Schedule
    findings: list[Finding]
    seconds: float
    struck: list[str] = []


async def play_one(theatre: Theatre, schedule: Schedule) -> Outcome:
    """Play a schedule and judge it."""
    begun, struck = time.monotonic(), list[str]()
    try:
        async with asyncio.timeout(TOO_LONG_SECONDS):
            evidence = await play(theatre, schedule)
        findings, struck = judge(evidence), evidence.struck
        if findings or theatre.keeps_all:
            (theatre.directory / f"evidence-{schedule.seed}.json").write_bytes(msgspec.json.encode(evidence))
    except Exception as error:  # noqa: BLE001 - others go on
        findings = [Finding("play", "".join(traceback.format_exception(error)))]
    return Outcome(schedule=schedule, findings=findings, seconds=time.monotonic() - begun, struck=struck)


async def play_all(theatre: Theatre, schedules: Sequence[Schedule], *, together: int) -> AsyncGenerator[Outcome]:
    """Play all, so many at once; outcomes come as they are ready. Closing it ends what is still played."""
    places = asyncio.Semaphore(together)

    async def in_turn(schedule: Schedule) -> Outcome:
        async with places:
            return await play_one(theatre, schedule)

    plays = [asyncio.create_task(in_turn(schedule)) for schedule in schedules]
    try:
        for work in asyncio.as_completed(plays):
            yield await work
    finally:
        for each in plays:
            each.cancel()
        await asyncio.gather(*plays, return_exceptions=True)
