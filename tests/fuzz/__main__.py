"""Search among random inputs for longer than the tests do: ``python -m tests.fuzz COUNT [SEED]``.

Stops at the first failure, shrunk. The same seed makes the same inputs.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import sys
import tempfile
import time

# Before anything imports Airflow: it makes files in its home.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="spotmix-fuzz-")

BATCH = 500
REPORT = 10_000  # inputs between two lines where there is no terminal


def main(count: int, seed: int) -> None:
    """Run batches, each with a seed of its own; tell how many are done, at which rate, and what came of them."""
    import hypothesis
    from hypothesis import HealthCheck, given

    from tests.fuzz.test_inputs import PROPERTIES, outcomes

    logging.disable(logging.WARNING)
    print(f"seed {seed}")
    end = "\r" if sys.stdout.isatty() else "\n"
    started, done, told = time.monotonic(), 0, 0
    for strategy, check in itertools.cycle(PROPERTIES):
        few = hypothesis.settings(
            max_examples=BATCH, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        few(hypothesis.seed(seed + done)(given(strategy)(check)))()
        done += BATCH
        if sys.stdout.isatty() or done // REPORT > told or done >= count:
            told = done // REPORT
            rate = done / (time.monotonic() - started)
            print(f"{done:,} of {count:,} inputs, {rate:,.0f} a second: {outcomes()}", end=end, flush=True)
        if done >= count:
            break


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbelow(10**6))
