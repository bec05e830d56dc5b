"""Make a schedule that goes wrong small: the fewest faults that still lead to the same kind of finding.

Times are real, so a race may not come again at once: what is left out must fail to fail twice to count as needed. All
candidates of a round are played side by side.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from tests.chaos.company import play_all
from tests.chaos.schedule import Fault, Schedule
from tests.chaos.theatre import Theatre

TOGETHER, TRIES = 12, 2


async def shrunk(theatre: Theatre, schedule: Schedule, kinds: set[str]) -> Schedule:
    """The smallest schedule found that shows one of these kinds of findings."""
    parts = 2
    while schedule.faults:
        smaller = await _first_that_fails(theatre, schedule, list(_candidates(schedule.faults, parts)), kinds)
        if smaller is not None:
            schedule, parts = smaller, 2
        elif parts >= len(schedule.faults):
            break
        else:
            parts = min(2 * parts, len(schedule.faults))
    return schedule


def _candidates(faults: tuple[Fault, ...], parts: int) -> Iterator[tuple[Fault, ...]]:
    """Delta debugging: each part alone, then everything without it."""
    size = max(1, -(-len(faults) // parts))
    pieces = [(start, start + size) for start in range(0, len(faults), size)]
    if len(pieces) > 1:
        yield from (faults[start:end] for start, end in pieces)
    yield from (faults[:start] + faults[end:] for start, end in pieces)


async def _first_that_fails(
    theatre: Theatre, schedule: Schedule, candidates: list[tuple[Fault, ...]], kinds: set[str]
) -> Schedule | None:
    """The smallest candidate that still fails in one of several tries."""
    tried = [replace(schedule, faults=faults) for faults in candidates for _ in range(TRIES)]
    played = [outcome async for outcome in play_all(theatre, tried, together=TOGETHER)]
    failing = [each.schedule for each in played if kinds & {finding.kind for finding in each.findings}]
    return min(failing, key=lambda each: len(each.faults), default=None)
