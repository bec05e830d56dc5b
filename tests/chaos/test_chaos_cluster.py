"""A handful of schedules of faults, judged by the oracle; and defects of ours, which it must see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab.lab import Lab
from tests.chaos import defects
from tests.chaos.company import play_all
from tests.chaos.schedule import Fault, Schedule, Setup, drawn, encode
from tests.chaos.theatre import PLAYED, theatre

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


@pytest.fixture(scope="module")
def stage_lab() -> Iterator[Lab]:
    with Lab.ephemeral(PLAYED) as lab:
        yield lab


async def test_whatever_goes_wrong_the_promises_are_kept(stage_lab: Lab, tmp_path: Path) -> None:
    wrong = []
    async with theatre(stage_lab, tmp_path) as stage:
        async for outcome in play_all(stage, [drawn(seed) for seed in range(1, 17)], together=16):
            if outcome.findings:
                said = "\n".join(map(str, outcome.findings))
                wrong.append(f"make chaos REPLAY='{encode(outcome.schedule)}'\n{said}")
    assert not wrong, "\n".join(wrong)


async def test_each_defect_of_ours_is_seen(stage_lab: Lab, tmp_path: Path) -> None:
    assert DEFECTS.keys() == defects.CLIENTS.keys() | defects.REPORTS.keys()
    schedules = [
        Schedule(
            seed=number, setup=FIVE, faults=faults, defect=defect, patience_seconds=25.0, once_running=bool(faults)
        )
        for number, (defect, (faults, _)) in enumerate(DEFECTS.items())
    ]
    found = {}
    async with theatre(stage_lab, tmp_path) as stage:
        async for outcome in play_all(stage, schedules, together=len(schedules)):
            found[outcome.schedule.defect] = {finding.kind for finding in outcome.findings}
    missed = {defect: found[defect] for defect, (_, kind) in DEFECTS.items() if kind not in found[defect]}
    assert not missed
