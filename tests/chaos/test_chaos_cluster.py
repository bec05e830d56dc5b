"""A handful of schedules of faults, judged by the oracle; and defects of ours, which it must see."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.lab.lab import Lab
from tests.chaos import defects
from tests.chaos.company import Outcome, play_all
from tests.chaos.schedule import Fault, Schedule, Setup, drawn, encode
from tests.chaos.shrink import shrunk
from tests.chaos.summary import line
from tests.chaos.theatre import PLAYED, Theatre, theatre

pytestmark = pytest.mark.cluster

FIVE = Setup(shares=(2, 3), executors=5)
EVICTION = Fault(at=2.0, name="executor-evicted", which=1)  # number 2, which is on spot
EVICTED = (EVICTION, Fault(at=7.0, name="controller-stopped"))
# What each defect needs to show, and what the oracle must call it.
DEFECTS: dict[str, tuple[tuple[Fault, ...], str]] = {
    "dropped-event": ((EVICTION,), "gated"),
    "late-ungate": ((), "gated"),
    "wrong-seat": ((), "seat-twice"),
    "wrong-pool": ((), "mix"),
    "doubled-patch": ((), "seat-twice"),
    "lost-checkpoint": (EVICTED, "loss-forgotten"),
    "orphaned-checkpoint": ((), "left"),
    "leaked-lease": ((), "left"),
    "told-secret": ((), "secret"),
    "eager-rescue": ((EVICTION,), "removed"),
    "wrong-result": ((), "result"),
    "padded-ledger": ((), "ledger"),
    "forgotten-fallbacks": ((EVICTION,), "fallback-unlisted"),
    "forgotten-losses": (EVICTED, "loss-untold"),
}


# One that goes wrong for one of its faults alone.
CROWDED = Schedule(
    seed=90,
    setup=FIVE,
    faults=(Fault(at=0.5, name="connections-cut"), EVICTION),
    defect="forgotten-fallbacks",
    once_running=True,
)


class Played(NamedTuple):
    """What became of everything; it is played at once, since most of it is waiting."""

    drawn: list[Outcome]
    defective: dict[str, set[str]]
    small: Schedule


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    with Lab.ephemeral(PLAYED) as lab:
        return asyncio.run(play(lab, tmp_path_factory.mktemp("chaos")))


async def play(lab: Lab, directory: Path) -> Played:
    schedules = [
        Schedule(
            seed=number, setup=FIVE, faults=faults, defect=defect, patience_seconds=25.0, once_running=bool(faults)
        )
        for number, (defect, (faults, _)) in enumerate(DEFECTS.items())
    ]
    async with theatre(lab, directory) as stage:
        right, wrong, small = await asyncio.gather(
            all_of(stage, [drawn(seed) for seed in range(1, 17)]),
            all_of(stage, schedules),
            shrunk(stage, CROWDED, {"fallback-unlisted"}),
        )
    return Played(right, {each.schedule.defect: {f.kind for f in each.findings} for each in wrong}, small)


async def all_of(stage: Theatre, schedules: list[Schedule]) -> list[Outcome]:
    return [outcome async for outcome in play_all(stage, schedules, together=len(schedules))]


def test_whatever_goes_wrong_the_promises_are_kept(played: Played) -> None:
    wrong = [f"make chaos REPLAY='{encode(each.schedule)}'\n{line(each)}" for each in played.drawn if each.findings]
    assert not wrong, "\n".join(wrong)


def test_each_defect_of_ours_is_seen(played: Played) -> None:
    assert DEFECTS.keys() == defects.CLIENTS.keys() | defects.REPORTS.keys()
    missed = {
        defect: played.defective[defect]
        for defect, (_, kind) in DEFECTS.items()
        if kind not in played.defective[defect]
    }
    assert not missed


def test_what_goes_wrong_is_made_small(played: Played) -> None:
    assert played.small == replace(CROWDED, faults=(EVICTION,))
