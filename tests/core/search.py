"""Lives of a controller by chance, and the search for those that go wrong.

To search longer than the tests do, and to have what fails shrunk: ``python -m tests.core.search COUNT [FIRST_SEED]``.
"""

from __future__ import annotations

import random
import sys

from tests.core.oracle import Setup
from tests.core.simulation import Step, play

# What may happen at a step, the simplest first; the number is how often among 100 or so.
STEPS = {
    "allocate": 12,
    "news": 24,
    "answer": 14,
    "start": 10,
    "finish": 8,
    "evict": 4,
    "tick": 6,
    "remove": 2,
    "fail": 2,
    "kill_node": 1,
    "delete_node": 1,
    "revive_node": 1,
    "notice": 1,
    "withdraw": 1,
    "drain": 1,
    "refuse": 3,
    "lose_answer": 3,
    "repeat_news": 2,
    "resync": 1,
    "crash": 2,
    "recover": 4,
    "restart_driver": 1,
    "scale": 2,
    "drought": 3,
}


def drawn(seed: int, length: int) -> tuple[Setup, list[Step]]:
    """Steps by chance, the same for the same seed."""
    chance = random.Random(seed)
    setup = Setup(
        ratio=chance.choice(["40:60", "40:60", "1:1", "3:1", "1:0", "2:1:2", "1:1:1:5"]),
        executors=chance.randint(1, 9),
        dynamic=chance.random() < 0.25,
        base=chance.choice([0, 0, 0, 1, 2]),
        fallback=chance.choice(["on_demand"] * 5 + ["wait", "spot_only"]),
        active_return=chance.choice([0, 0, 8]),
    )
    names = chance.choices(list(STEPS), weights=list(STEPS.values()), k=length)
    return setup, [(name, chance.randrange(1 << 12)) for name in names]


def shrunk(setup: Setup, steps: list[Step]) -> list[Step]:
    """The steps without those that the failure does not need."""
    size = max(1, len(steps) // 2)
    while size:
        start = 0
        while start < len(steps):
            fewer = steps[:start] + steps[start + size :]
            if fails(setup, fewer):
                steps = fewer
            else:
                start += size
        size //= 2
    return steps


def fails(setup: Setup, steps: list[Step]) -> AssertionError | None:
    """What is wrong, if anything is."""
    try:
        play(setup, steps)
    except AssertionError as error:
        return error
    return None


if __name__ == "__main__":
    count, first = [*map(int, sys.argv[1:]), *(1000, 0)[len(sys.argv) - 1 :]]
    for seed in range(first, first + count):
        setup, steps = drawn(seed, 50 + seed % 200)
        if fails(setup, steps):
            steps = shrunk(setup, steps)
            sys.exit(f"seed {seed}: {setup}\n{steps}\n{fails(setup, steps)}")
        if seed % 500 == 499:
            sys.stdout.write(f"seed {seed}\n")
            sys.stdout.flush()
