"""What happened: the only inputs of a decision. Time is data: ``at`` is seconds since the epoch, UTC.

``id`` names the observation (``pods/NAME@RESOURCE_VERSION``) and travels as the cause of every action it leads to.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class ApplicationPhase(StrEnum):
    """States of an application, the same for every backend."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether the application has ended for good."""
        return self in (ApplicationPhase.SUCCEEDED, ApplicationPhase.FAILED)


class PodFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a decision needs to know of an executor pod."""

    uid: str
    name: str
    executor_id: int
    phase: str = "Pending"
    gated: bool = False
    node: str = ""
    deleting: bool = False
    created_at: float = 0.0
    scheduled_at: float | None = None
    finished_at: float | None = None
    disruption: str = ""  # reason of the DisruptionTarget condition
    reason: str = ""  # status.reason, as the kubelet writes it on a node shutdown
    exit_code: int | None = None
    exit_reason: str = ""  # OOMKilled, Error, Completed
    seat: int | None = None
    seat_pool: str = ""
    placed_pool: str = ""
    placed_at: float | None = None
    fallback: str = ""  # why it is not on its seat's pool
    unschedulable: str = ""  # in the scheduler's words; empty while it has not tried, and once there is a node

    @property
    def ended(self) -> bool:
        """Whether its process is over."""
        return self.phase in ("Succeeded", "Failed")


class NodeFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a decision needs to know of a node. Of taints, only the keys that `interruption.SIGNS` has.

    ``ready_changed_at``: when the condition Ready last changed, by the server's clock: compare it only with itself.
    What is not on the object but known by us follows below; the controller keeps it.
    """

    name: str
    uid: str = ""
    ready: bool = True
    ready_changed_at: float = 0.0
    taints: tuple[str, ...] = ()
    deleting: bool = False
    shutting_down: bool = False
    not_ready_since: float | None = None
    marked_since: float | None = None  # since when it says that it goes
    asked: bool = False  # for its Events; the answer follows
    events: tuple[str, ...] | None = None  # reasons of its Events that say why it goes; None before they were read
    events_hidden: bool = False  # they may not be read
    heeded: bool = False  # its notice: executors on it were asked to leave


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Something that happened, with the time and the observation it was read from."""

    at: float
    id: str = ""


class ApplicationObserved(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """The application's object was read.

    ``started``: its driver has begun to run, now or earlier. ``restarted``: more than once.
    """

    application: str
    uid: str
    phase: ApplicationPhase
    state: str = ""  # in the backend's own word
    message: str = ""
    created_at: float = 0.0
    started: bool = False
    restarted: bool = False


class ApplicationDeleted(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """The application's object is gone. ``ended``: how and when it had ended before, where ``evidence`` tells that."""

    application: str
    uid: str
    ended: ApplicationPhase | None = None
    ended_at: float = 0.0
    evidence: str = ""


class DriverObserved(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """A driver pod was read.

    ``waits_for``: why it does not run yet, as far as it says; empty when it says nothing. ``submission``: what Spark
    calls this application (``spark-...``), in its UI and in a history server. ``ui``: where that UI listens, an IP
    address with a port; empty when it is not known.
    """

    application: str
    pod: str
    submission: str = ""
    ui: str = ""
    started: bool = False
    waits_for: str = ""
    uid: str = ""
    node: str = ""
    ended: bool = False


class ExecutorObserved(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """An executor pod was read."""

    application: str
    submission: str
    pod: PodFacts


class ExecutorDeleted(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """An executor pod is gone from the API server; ``pod`` is its last known state."""

    application: str
    submission: str
    pod: PodFacts
    estimated: bool = False  # noticed by its absence, so the time is an upper bound


class NodeObserved(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """A node was read."""

    node: NodeFacts


class NodeDeleted(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """A node is gone from the API server."""

    node: str


class NodeExplained(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """The Events of a node, and of our pods on it, were read. ``hidden``: those of the node may not be."""

    node: str
    reasons: tuple[str, ...] = ()
    hidden: bool = False


class Synced(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Everything there is has been read: placing may begin, or go on after a reconnection.

    ``absent_nodes``: nodes that executors are bound to and that the API server, asked by name, does not have.
    """

    absent_nodes: tuple[str, ...] = ()


class PlaceDone(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """The API server accepted a placement."""

    uid: str


class PlaceFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """The API server refused a placement, or it was not tried; the executor is still gated."""

    uid: str
    reason: str


class RescueFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """An executor of a lost node could not be removed, or its node is there again: look anew."""

    uid: str


class RemoveFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """An executor could not be removed, or is no longer as it was when that was decided: look anew."""

    uid: str


class ResubmitDone(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """The lost ``application`` is gone with all its pods, and the one in its place may run."""

    application: str


class ResubmitFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Not there yet: something was refused, or has to be waited for."""

    application: str


class ResubmitVoid(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """There is nothing to resubmit: the application has succeeded after all, or its object is gone."""

    application: str
    succeeded: bool
    reason: str


class OutageSeen(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """The fleet is looked after again (``at``), which it was not since then."""

    since: float
    why: str


class Tick(Event, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    """Time passed: deadlines are looked at, refused placements are tried again."""


AnyEvent = (
    ApplicationObserved
    | ApplicationDeleted
    | DriverObserved
    | ExecutorObserved
    | ExecutorDeleted
    | NodeObserved
    | NodeDeleted
    | NodeExplained
    | Synced
    | PlaceDone
    | PlaceFailed
    | RescueFailed
    | RemoveFailed
    | ResubmitDone
    | ResubmitFailed
    | ResubmitVoid
    | OutageSeen
    | Tick
)
