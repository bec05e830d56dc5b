"""What a person is told: a line per schedule while it goes on, and a summary in the end. Pure."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from tests.chaos.company import Outcome
from tests.chaos.schedule import KINDS, Schedule, encode


class Result(Struct, frozen=True, kw_only=True):
    """What became of a schedule, in which part. ``small``: the least of it that still fails, if that was looked for."""

    part: str
    outcome: Outcome
    small: Schedule | None = None


def line(outcome: Outcome) -> str:
    """One schedule, and what is wrong with it."""
    word = "WRONG" if outcome.findings else "ok"
    faults = " ".join(f"{fault.name}@{fault.at:g}" for fault in outcome.schedule.faults)
    said = [f"seed {outcome.schedule.seed} {outcome.seconds:.0f} s {word}: {faults}"]
    return "\n".join([*said, *(f"  {finding}" for finding in outcome.findings)])


def summary(results: list[Result], seconds: float) -> str:
    """Everything in a few lines: what was played how often, what is right, and how to see again what is not."""
    struck = Counter(name for result in results for name in result.outcome.struck)
    said = ["", "faults played: " + ", ".join(f"{name} {struck[name]}" for name in sorted(struck))]
    if len(results) > 1 and (never := sorted(name for name in KINDS if not struck[name])):
        said.append(f"never played: {', '.join(never)}")
    for result in results:
        if result.outcome.findings:
            said += _failure(result)
    for part in dict.fromkeys(result.part for result in results):
        mine = [result.outcome for result in results if result.part == part]
        right = sum(not outcome.findings for outcome in mine)
        said.append(f"{part}: {right} of {len(mine)} right")
    right = sum(not result.outcome.findings for result in results)
    said.append(f"chaos: {right} of {len(results)} schedules are right, in {seconds / 60:.1f} min")
    return "\n".join(said)


def _failure(result: Result) -> list[str]:
    outcome, schedule = result.outcome, result.small or result.outcome.schedule
    kinds = ", ".join(sorted({finding.kind for finding in outcome.findings}))
    size = f"{len(outcome.schedule.faults)} faults"
    if result.small is not None:
        size = f"{len(result.small.faults)} of {size}"
    return [
        f"{result.part} seed {outcome.schedule.seed} is wrong: {kinds} ({size})",
        f"  make chaos REPLAY='{encode(schedule)}'",
    ]
