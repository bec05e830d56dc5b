"""What a run of `make chaos` plays, part by part, and in which lab."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_spotmix.lab.config import LabConfig
from tests.chaos.schedule import Schedule, drawn, drawn_outage, drawn_real
from tests.chaos.theatre import PLAYED, REAL


class Part(Struct, frozen=True, kw_only=True):
    """Schedules that share a lab. ``serial``: one after the other, since each concerns the whole lab."""

    name: str
    schedules: tuple[Schedule, ...]
    config: LabConfig
    serial: bool = False


def parts(*, seed: int, count: int, outages: int, real: int, defect: str, replay: Schedule | None) -> list[Part]:
    """The parts of a run; those without any schedule are left out. ``replay``: that one schedule alone."""
    if replay is not None:
        return [_part_of(replay)]

    def some(number: int, draw: Callable[[int], Schedule]) -> tuple[Schedule, ...]:
        return tuple(replace(draw(each), defect=defect) for each in range(seed, seed + number))

    found = [
        Part(name="concurrent", schedules=some(count, drawn), config=PLAYED),
        Part(name="outages", schedules=some(outages, drawn_outage), config=PLAYED, serial=True),
        Part(name="real", schedules=some(real, drawn_real), config=REAL, serial=True),
    ]
    return [part for part in found if part.schedules]


def _part_of(schedule: Schedule) -> Part:
    return Part(name="replay", schedules=(schedule,), config=REAL if schedule.real else PLAYED, serial=True)
