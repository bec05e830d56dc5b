"""Making schedules small, without playing them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from tests.chaos.company import Outcome
from tests.chaos.oracle import Finding
from tests.chaos.schedule import Fault, Schedule, Setup
from tests.chaos.shrink import minimal

NAMES = "abcdefg"


def schedule(names: str, **setup: bool | float) -> Schedule:
    return Schedule(
        seed=1,
        setup=Setup(shares=(1, 1), executors=4, **setup),  # type: ignore[arg-type]
        faults=tuple(Fault(at=float(at), name=name) for at, name in enumerate(names)),
    )


def names_of(found: Schedule) -> str:
    return "".join(fault.name for fault in found.faults)


async def small(begin: Schedule, fails: Callable[[Schedule], bool], seconds: float = 60.0) -> Schedule:
    async def play(tried: Sequence[Schedule]) -> list[Outcome]:
        await asyncio.sleep(0)
        kind = {each: "mix" if fails(each) else "other" for each in tried}
        return [Outcome(schedule=each, findings=[Finding(kind[each], "")], seconds=1.0) for each in tried]

    return await minimal(play, begin, {"mix"}, deadline=time.monotonic() + seconds)


@pytest.mark.parametrize(
    "needed",
    [
        pytest.param("", id="no-fault-at-all"),
        pytest.param("d", id="one"),
        pytest.param("ag", id="two-far-apart"),
        pytest.param("bcf", id="three"),
        pytest.param(NAMES, id="all"),
    ],
)
async def test_exactly_the_faults_that_are_needed_stay(needed: str) -> None:
    found = await small(schedule(NAMES), lambda tried: set(needed) <= set(names_of(tried)))
    assert names_of(found) == needed


async def test_the_fleet_becomes_as_plain_as_it_can_be() -> None:
    found = await small(schedule("a", dynamic=True, skew_seconds=45.0), lambda tried: tried.setup.skew_seconds > 0)
    assert found.setup == Setup(shares=(1, 1), executors=4, skew_seconds=45.0)


async def test_what_never_fails_again_stays_as_it_is() -> None:
    assert await small(schedule(NAMES), lambda _: False) == schedule(NAMES)


async def test_when_the_time_is_over_the_best_so_far_is_it() -> None:
    async def play(tried: Sequence[Schedule]) -> list[Outcome]:
        if len(tried[0].faults) < 4:
            await asyncio.Event().wait()
        return [Outcome(schedule=tried[0], findings=[Finding("mix", "")], seconds=1.0)]

    found = await minimal(play, schedule(NAMES), {"mix"}, deadline=time.monotonic() + 0.2)
    assert names_of(found) == "abcd"
