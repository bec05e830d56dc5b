"""``make chaos``: play schedules by the hundred, judge each, and make what fails small enough to look at.

``python -m tests.chaos --count N --outages N --real N --seed FIRST`` plays that many of each part; ``--replay JOURNAL``
plays one again, from its line. SIGTERM and Ctrl-C end it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.progress import for_person
from tests.chaos.company import Outcome, play_all
from tests.chaos.programme import Part, parts
from tests.chaos.schedule import Schedule, decode
from tests.chaos.shrink import shrunk
from tests.chaos.summary import Result, line, summary
from tests.chaos.theatre import Theatre, theatre


def main(given: argparse.Namespace, directory: Path) -> int:
    """Play; the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    begun, results = time.monotonic(), list[Result]()
    programme = parts(
        seed=given.seed,
        count=given.count,
        outages=given.outages,
        real=given.real,
        defect=given.defect,
        replay=decode(given.replay) if given.replay else None,
    )
    try:
        for part in programme:
            with Lab.ephemeral(part.config, for_person()) as lab:
                asyncio.run(_play(part, lab, given, directory, results))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("chaos: interrupted", flush=True)
        return 130
    print(summary(results, time.monotonic() - begun), flush=True)
    return 1 if any(result.outcome.findings for result in results) else 0


async def _play(part: Part, lab: Lab, given: argparse.Namespace, directory: Path, results: list[Result]) -> None:
    """Play a part, and make small what fails in it."""
    async with theatre(lab, directory, keeps_all=bool(given.replay)) as stage:
        _end_on_signals(stage)
        failed: list[Outcome] = []
        together = 1 if part.serial else given.together
        async with aclosing(play_all(stage, part.schedules, together=together)) as outcomes:
            number = 0
            async for outcome in outcomes:
                number += 1
                print(f"{part.name} {number}/{len(part.schedules)}: {line(outcome)}", flush=True)
                if outcome.findings:
                    failed.append(outcome)
                else:
                    results.append(Result(part=part.name, outcome=outcome))
        for rank, outcome in enumerate(failed):
            small = await _made_small(stage, outcome, given) if rank < given.shrink else None
            results.append(Result(part=part.name, outcome=outcome, small=small))


async def _made_small(stage: Theatre, outcome: Outcome, given: argparse.Namespace) -> Schedule | None:
    kinds = {finding.kind for finding in outcome.findings}
    print(f"making seed {outcome.schedule.seed} small: {', '.join(sorted(kinds))} ...", flush=True)
    return await shrunk(stage, outcome.schedule, kinds, seconds=given.shrink_seconds)


def _end_on_signals(stage: Theatre) -> None:
    """End at once: what is played goes with its lab, so nobody tidies up behind it."""
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        stage.closing = True
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Play schedules of faults.")
    parser.add_argument("--count", type=int, default=500, help="how many schedules at once, many at a time")
    parser.add_argument("--outages", type=int, default=20, help="how many one by one, with the API server away")
    parser.add_argument("--real", type=int, default=10, help="how many one by one, with real Spark")
    parser.add_argument("--seed", type=int, default=1, help="of the first of each; each next one has the next")
    parser.add_argument("--replay", help="a schedule as it was printed")
    parser.add_argument("--shrink", type=int, default=3, help="how many of a part's failures are made small")
    parser.add_argument("--shrink-seconds", type=float, default=300.0, help="for how long each")
    parser.add_argument("--together", type=int, default=16, help="how many at once")
    parser.add_argument("--defect", default="", help="put this mistake into the controllers (defects.py)")
    parser.add_argument("--keep", type=Path, help="directory for logs and evidence; default: one that is removed")
    return parser.parse_args()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        arguments = _arguments()
        sys.exit(main(arguments, arguments.keep or Path(temporary)))
