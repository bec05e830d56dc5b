"""A handful of schedules of faults, judged by the oracle. `make chaos` plays hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_spotmix.lab.lab import Lab
from tests.chaos.company import play_all
from tests.chaos.schedule import drawn, encode
from tests.chaos.theatre import PLAYED, theatre

pytestmark = pytest.mark.cluster


async def test_whatever_goes_wrong_the_promises_are_kept(tmp_path: Path) -> None:
    wrong = []
    with Lab.ephemeral(PLAYED) as lab:
        async with theatre(lab, tmp_path) as stage:
            async for outcome in play_all(stage, [drawn(seed) for seed in range(1, 17)], together=16):
                if outcome.findings:
                    said = "\n".join(map(str, outcome.findings))
                    wrong.append(f"make chaos REPLAY='{encode(outcome.schedule)}'\n{said}")
    assert not wrong, "\n".join(wrong)
