"""Make a schedule that goes wrong small: the fewest faults that still lead to the same kind of finding.

Times are real, so a race may not come again at once: what is left out must fail to fail twice to count as needed. All
candidates of a round are played side by side, unless the schedule takes the API server away, or is one of real Spark.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress

from msgspec.structs import replace

from tests.chaos.company import Outcome, play_all
from tests.chaos.schedule import Fault, Schedule, Setup
from tests.chaos.theatre import Theatre

TOGETHER, TRIES = 12, 2
SECONDS = 300.0

Play = Callable[[Sequence[Schedule]], Awaitable[list[Outcome]]]


async def shrunk(theatre: Theatre, schedule: Schedule, kinds: set[str], *, seconds: float = SECONDS) -> Schedule:
    """The smallest schedule found in so many seconds that shows one of these kinds of findings."""
    together = 1 if schedule.is_serial else TOGETHER

    async def play(tried: Sequence[Schedule]) -> list[Outcome]:
        async with aclosing(play_all(theatre, tried, together=together)) as outcomes:
            return [outcome async for outcome in outcomes]

    return await minimal(play, schedule, kinds, deadline=time.monotonic() + seconds)


async def minimal(play: Play, schedule: Schedule, kinds: set[str], *, deadline: float) -> Schedule:
    """Fewer faults, then a plainer fleet, for as long as it still fails and there is time."""
    search = _Search(play, kinds, schedule)
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline - time.monotonic()):
            await search.fewer_faults()
            await search.a_plainer_setup()
    return search.best


class _Search:
    """``best``: the smallest that is known to fail."""

    def __init__(self, play: Play, kinds: set[str], schedule: Schedule) -> None:
        self._play = play
        self._kinds = kinds
        self.best = schedule

    async def fewer_faults(self) -> None:
        parts = 2
        while self.best.faults:
            candidates = [replace(self.best, faults=faults) for faults in _candidates(self.best.faults, parts)]
            if await self._better(candidates):
                parts = 2
            elif parts >= len(self.best.faults):
                break
            else:
                parts = min(2 * parts, len(self.best.faults))

    async def a_plainer_setup(self) -> None:
        while candidates := [replace(self.best, setup=setup) for setup in _plainer(self.best.setup)]:
            if not await self._better(candidates):
                break

    async def _better(self, candidates: list[Schedule]) -> bool:
        """Whether one of them fails in one of several tries: then the smallest of those is the best."""
        tried = [each for each in candidates for _ in range(TRIES)]
        played = await self._play(tried)
        failing = [each.schedule for each in played if self._kinds & {finding.kind for finding in each.findings}]
        if failing:
            self.best = min(failing, key=lambda each: len(each.faults))
        return bool(failing)


def _candidates(faults: tuple[Fault, ...], parts: int) -> Iterator[tuple[Fault, ...]]:
    """Delta debugging: each part alone, then everything without it."""
    size = max(1, -(-len(faults) // parts))
    pieces = [(start, start + size) for start in range(0, len(faults), size)]
    found = [faults[start:end] for start, end in pieces] if len(pieces) > 1 else []
    found += [faults[:start] + faults[end:] for start, end in pieces]
    yield from dict.fromkeys(found)  # of two halves, each is the rest of the other


def _plainer(setup: Setup) -> Iterator[Setup]:
    """One field as it usually is."""
    usual = Setup(shares=setup.shares, executors=setup.executors)
    for field in setup.__struct_fields__:
        if getattr(setup, field) != getattr(usual, field):
            yield replace(setup, **{field: getattr(usual, field)})
