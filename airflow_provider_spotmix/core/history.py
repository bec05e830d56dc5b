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
