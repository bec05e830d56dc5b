"""The API server's clock: what objects' times are compared with, so that ours may be wrong.

Every answer tells it, in whole seconds (the header ``Date``, RFC 9110). Each narrows down what it can be, as the answer
was given between the request and its arrival; after some of them it is known to a fraction of a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime


class ServerClock:
    """Seconds since the epoch as the API server counts them; our own clock's as long as that may be right.

    Args:
        wall: our own clock.
        monotonic: counts what passes between two looks, also when somebody sets our own clock.

    """

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._least, self._most = float("-inf"), float("inf")  # of the server's clock less the monotonic one

    def asked(self) -> float:
        """Return the moment of a request, for `told`."""
        return self._monotonic()

    def told(self, date: str | None, asked: float) -> None:
        """Take in the date of an answer to a request; a proxy may send none, or nonsense."""
        try:
            said = parsedate_to_datetime(date or "").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return
        least, most = said - self._monotonic(), said + 1 - asked
        if max(least, self._least) <= min(most, self._most):
            least, most = max(least, self._least), min(most, self._most)
        # Otherwise one of the clocks was set, or they drift apart: what was known is so no longer.
        self._least, self._most = least, most

    def now(self) -> float:
        """Return the time."""
        moment = self._monotonic()
        return moment + min(max(self._wall() - moment, self._least), self._most)
