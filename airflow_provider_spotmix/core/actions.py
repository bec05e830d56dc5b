"""What to do: the only output of a decision. ``cause`` is the id of the event that led to it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Action(Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Something to do in the cluster or to tell a person."""

    cause: str


class Place(Action, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Put a gated executor on a pool and lift its gate, in one patch."""

    uid: str
    pod: str
    seat: int
    seat_pool: str
    pool: str
    reason: str  # for the pod's annotation and the log
    at: float = 0.0
    fallback: str = ""  # why it is not the seat's own pool
    avoid: tuple[str, ...] = ()  # nodes by name


class Rescue(Action, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Free the name and place of an executor whose node is surely gone: delete, status Failed, force-delete."""

    uid: str
    pod: str
    node: str
    ready_changed_at: float = 0.0  # the node's condition that this rests on; 0.0 when it rests on something else


class Inquire(Action, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Read a node's Events, and those of our pods on it: they tell why it is being deleted."""

    node: str
    node_uid: str
    pods: tuple[str, ...]


class Remove(Action, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Delete an executor, so that Spark asks for another: with its grace period, in which Spark moves its blocks.

    ``unless_bound``: not if it has got a node meanwhile.
    """

    uid: str
    pod: str
    reason: str
    unless_bound: bool = False


class Resubmit(Action, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Let another application take the place of a lost one, on another pool; never both at once."""

    application: str
    replacement: str
    from_pool: str
    pool: str


class SaveCheckpoint(Action, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Write the state that pod labels do not carry."""


class Topic(StrEnum):
    """What a person is told about; the reasons of Kubernetes Events, which people filter by."""

    PLACED = "ExecutorsPlaced"
    LOST = "ExecutorLost"
    REPLACED = "ExecutorReplaced"
    RESTARTED = "DriverRestarted"
    GIVEN_UP = "StartupTimedOut"
    RESCUED = "ExecutorRescued"
    NOTICE = "NodeNotice"
    SUCCEEDED = "FleetSucceeded"
    FAILED = "FleetFailed"
    RESUBMITTED = "GroupResubmitted"
    UNOBTAINABLE = "SpotUnobtainable"
    FELL_BACK = "SeatFellBack"
    RETURNING = "ExecutorReturning"
    RETURNED = "SeatReturned"
    BREAKER = "SpotBreaker"


class Tell(Action, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """A change worth a person's attention: a line in the task log.

    With a topic it is also told on the application; on all of the fleet's when it names none.
    """

    message: str
    warning: bool = False
    topic: Topic | None = None
    application: str = ""


class Finish(Action, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """The outcome is certain: report and end. ``unfinished``: applications that may still run, and no longer matter."""

    succeeded: bool
    message: str
    unfinished: tuple[str, ...] = ()


AnyAction = Place | Rescue | Inquire | Remove | Resubmit | SaveCheckpoint | Tell | Finish
