"""Play many schedules at once, and judge each."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Sequence

import msgspec
from msgspec import Struct

from tests.chaos.oracle import Finding, judge
from tests.chaos.play import play
from tests.chaos.schedule import Schedule
from tests.chaos.theatre import Theatre

# Nothing that is played takes so long, whatever the machine.
TOO_LONG_SECONDS = 180.0


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a schedule."""

    schedule: Schedule
    findings: list[Finding]
    seconds: float


async def play_one(theatre: Theatre, schedule: Schedule) -> Outcome:
    """Play a schedule and judge it."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(TOO_LONG_SECONDS):
            evidence = await play(theatre, schedule)
        findings = judge(evidence)
        if findings or theatre.keeps_all:
            (theatre.directory / f"evidence-{schedule.seed}.json").write_bytes(msgspec.json.encode(evidence))
    except Exception as error:  # noqa: BLE001 - others go on
        findings = [Finding("play", "".join(traceback.format_exception(error)))]
    return Outcome(schedule=schedule, findings=findings, seconds=time.monotonic() - begun)


async def play_all(theatre: Theatre, schedules: Sequence[Schedule], *, together: int) -> AsyncIterator[Outcome]:
    """Play all, so many at once; outcomes come as they are ready."""
    places = asyncio.Semaphore(together)

    async def in_turn(schedule: Schedule) -> Outcome:
        async with places:
            return await play_one(theatre, schedule)

    for work in asyncio.as_completed([in_turn(schedule) for schedule in schedules]):
        yield await work
