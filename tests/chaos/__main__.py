"""``make chaos``: play schedules by the hundred, judge each, and make what fails small enough to look at.

``python -m tests.chaos --count N --seed FIRST`` plays that many; ``--replay JOURNAL`` plays one again, from its line.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.progress import for_person
from tests.chaos.company import Outcome, play_all
from tests.chaos.schedule import Schedule, decode, drawn, drawn_outage, encode
from tests.chaos.shrink import shrunk
from tests.chaos.theatre import PLAYED, Theatre, theatre


async def main(arguments: argparse.Namespace, directory: Path) -> int:
    """Play; the exit status."""
    schedules = [decode(arguments.replay)] if arguments.replay else []
    schedules = schedules or [drawn(seed) for seed in range(arguments.seed, arguments.seed + arguments.count)]
    first = arguments.seed
    outages = [drawn_outage(seed) for seed in range(first, first + (0 if arguments.replay else arguments.outages))]
    begun, failed = time.monotonic(), list[Outcome]()
    with Lab.ephemeral(PLAYED, for_person()) as lab:
        async with theatre(lab, directory, keeps_all=bool(arguments.replay)) as stage:
            for played, together in ((schedules, arguments.together), (outages, 1)):
                async for outcome in play_all(stage, played, together=together):
                    _tell(outcome)
                    if outcome.findings:
                        failed.append(outcome)
            small = [await _made_small(stage, outcome) for outcome in failed[: arguments.shrink]]
    count = len(schedules) + len(outages)
    print(f"chaos: {count - len(failed)} of {count} schedules are right, in {time.monotonic() - begun:.0f} s")
    for schedule in [*small, *(outcome.schedule for outcome in failed[len(small) :])]:
        print(f"  make chaos REPLAY='{encode(schedule)}'")
    return 1 if failed else 0


async def _made_small(stage: Theatre, outcome: Outcome) -> Schedule:
    print(f"making seed {outcome.schedule.seed} small ...", flush=True)
    return await shrunk(stage, outcome.schedule, {finding.kind for finding in outcome.findings})


def _tell(outcome: Outcome) -> None:
    word = "WRONG" if outcome.findings else "ok"
    faults = " ".join(f"{fault.name}@{fault.at:g}" for fault in outcome.schedule.faults)
    print(f"seed {outcome.schedule.seed} {outcome.seconds:.0f} s {word}: {faults}", flush=True)
    for finding in outcome.findings:
        print(f"  {finding}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Play schedules of faults.")
    parser.add_argument("--count", type=int, default=500, help="how many schedules")
    parser.add_argument("--seed", type=int, default=1, help="of the first; each next one has the next")
    parser.add_argument("--outages", type=int, default=20, help="how many more, one by one, with the API server away")
    parser.add_argument("--replay", help="a schedule as it was printed")
    parser.add_argument("--shrink", type=int, default=3, help="how many of those that fail are made small")
    parser.add_argument("--together", type=int, default=16, help="how many at once")
    parser.add_argument("--keep", type=Path, help="directory for logs and evidence; default: one that is removed")
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        given = parser.parse_args()
        sys.exit(asyncio.run(main(given, given.keep or Path(temporary))))
