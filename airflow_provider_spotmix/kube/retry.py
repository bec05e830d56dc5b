"""When to try again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from airflow_provider_spotmix.kube.errors import ApiError, ApiUnavailable, KubeError, ServerError, TooManyRequests

# A proxy's or server's transient failures. 501 and 505 would fail the same way again.
_TRANSIENT = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Limits:
    """How long calls may take and how often they are tried. All times are seconds.

    ``call_seconds`` bounds one attempt; ``watch_seconds`` is how long the server serves one watch, and a watch that is
    silent for longer than ``watch_seconds + watch_slack_seconds`` has lost its peer (a half-open connection).
    Retries wait ``backoff_base_seconds * 2**n``, at most ``backoff_cap_seconds``, less up to half by chance, and never
    less than the server's Retry-After (of which at most ``retry_after_cap_seconds`` is honoured).
    """

    connect_seconds: float = 5.0
    call_seconds: float = 30.0
    watch_seconds: int = 30
    watch_slack_seconds: float = 5.0
    attempts: int = 5
    backoff_base_seconds: float = 0.2
    backoff_cap_seconds: float = 5.0
    retry_after_cap_seconds: float = 30.0


@dataclass(slots=True)
class Backoff:
    """Capped exponential waits with jitter, so that many clients do not come back at once."""

    base_seconds: float = 0.2
    cap_seconds: float = 5.0
    chance: random.Random = field(default_factory=random.Random)
    _failures: int = 0

    def reset(self) -> None:
        """Start over after a success."""
        self._failures = 0

    def next_seconds(self) -> float:
        """Return the next wait."""
        full = min(self.cap_seconds, self.base_seconds * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return full * self.chance.uniform(0.5, 1.0)


def harmless_to_repeat(error: KubeError, *, repeatable: bool) -> bool:
    """Tell whether repeating the call may help and cannot do harm; ``repeatable``: twice is the same as once."""
    if isinstance(error, ApiUnavailable):
        return repeatable or not error.maybe_done
    if isinstance(error, TooManyRequests):
        return repeatable or error.retry_after > 0
    return isinstance(error, ServerError) and repeatable and error.code in _TRANSIENT


def wait_seconds(error: KubeError, backoff: Backoff, limits: Limits) -> float:
    """Choose how long to wait before the next attempt."""
    asked = error.retry_after if isinstance(error, ApiError) else 0.0
    return max(backoff.next_seconds(), min(asked, limits.retry_after_cap_seconds))
