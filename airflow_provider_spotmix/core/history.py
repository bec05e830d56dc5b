"""What has happened to a fleet: losses and what was done about them, for the report and the checkpoint."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

# A spot storm may lose thousands; the report keeps the counts of all and the details of the last ones, so that a
# checkpoint stays far below the 1 MiB that a ConfigMap may have.
HISTORY_DETAILS = 1000


class Cause(StrEnum):
    """Why an executor is gone."""

    SPOT_INTERRUPTION = "spot-interruption"
    INFRASTRUCTURE = "infrastructure"
    APPLICATION = "application"
    SCALE_DOWN = "scale-down"
    UNKNOWN = "unknown"
    SPOT_UNOBTAINABLE = "spot-unobtainable"  # it never had a node: we have removed it
    RETURN = "return"  # we have moved it: its seat returns to spot


# Why a seat fell back, where no executor was lost.
BREAKER_OPEN = "breaker-open"


class Loss(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An executor that is gone before its time, and why. ``estimated``: found missing after an outage of ours."""

    id: str
    at: float
    application: str
    executor: str
    executor_id: int
    seat: int
    seat_pool: str
    pool: str
    cause: Cause
    evidence: tuple[str, ...] = ()
    node: str = ""
    estimated: bool = False


class Outage(Struct, frozen=True, kw_only=True):
    """A time in which nobody looked after the fleet: what happened meanwhile was found out, or inferred, at its end."""

    since: float
    until: float
    why: str


class Replacement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An executor that took a lost one's seat."""

    at: float
    application: str
    executor: str
    seat: int
    seat_pool: str
    pool: str
    replaces: str
    cause: Cause
    loss: str  # id of the loss

    @property
    def is_fallback(self) -> bool:
        """Whether it was placed off its seat's pool."""
        return self.pool != self.seat_pool


class Fallback(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An executor that was placed on another pool than its seat's. ``cause``: of the loss, or `BREAKER_OPEN`."""

    at: float
    application: str
    executor: str
    seat: int
    seat_pool: str
    pool: str
    cause: str


class Return(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A seat that had fallen back and is on its own pool again. ``cause``: why the executor on ``from_pool`` went."""

    at: float
    application: str
    executor: str
    seat: int
    pool: str
    from_pool: str
    replaces: str
    cause: str


class BreakerStatus(StrEnum):
    """States of a spot pool's breaker."""

    CLOSED = "closed"  # seats go to the pool
    OPEN = "open"  # none does
    HALF_OPEN = "half-open"  # one tries


class BreakerChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A breaker that has opened, half opened or closed, and why."""

    at: float
    pool: str
    status: BreakerStatus
    cause: str


class Mark(Struct, frozen=True, array_like=True):
    """A spot node that was lost, or a seat that could not have one."""

    at: float
    what: str


class Breaker(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The breaker of one spot pool.

    ``since``: of its status. ``cooldown_seconds``: of its last opening. ``marks``: within the window. ``probe``: uid of
    the executor that tries the pool while the breaker is half open; empty while none does.
    """

    status: BreakerStatus = BreakerStatus.CLOSED
    since: float = 0.0
    cooldown_seconds: float = 0.0
    marks: tuple[Mark, ...] = ()
    probe: str = ""


class Resubmission(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A lost group that was submitted again.

    ``cause``: ``lost`` (the application failed after the infrastructure had taken executors), ``starved`` (no node
    has taken an executor of it for too long), ``found`` (an earlier controller has begun it, why is not known).
    ``void``: it turned out that there was nothing to resubmit.
    """

    at: float
    group: str
    application: str
    replacement: str
    from_pool: str
    pool: str
    cause: str
    reason: str
    done: bool = False
    void: bool = False


class Vacancy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A seat that waits for its replacement.

    ``recorded`` is False while nothing explains the loss, or while it is only inferred: it counts once a replacement is
    placed. A driver that stops deletes its executors just like a person does.
    """

    loss: Loss
    recorded: bool
