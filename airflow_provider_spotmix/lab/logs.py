"""Read the output of a lab's components, also while it grows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_SECONDS = 0.2


def lines(path: Path, tail: int | None = None) -> Iterator[str]:
    """The lines of a log, or its last ones."""
    with path.open(errors="replace") as log:
        yield from log if tail is None else deque(log, maxlen=tail)


def follow(path: Path, tail: int | None, goes_on: Callable[[], bool]) -> Iterator[str]:
    """The lines of a log, or its last ones, and then what comes, until the lab is gone."""
    with path.open(errors="replace") as log:
        yield from log if tail is None else deque(log, maxlen=tail)
        while goes_on():
            yield from log
            time.sleep(POLL_SECONDS)
        yield from log
