"""The state of a fleet. Immutable: a decision returns a new one."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from airflow_provider_spotmix.core.events import ApplicationPhase, NodeFacts, PodFacts
from airflow_provider_spotmix.core.spec import FleetSpec

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


class Vacancy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A seat that waits for its replacement. ``taken_by``: uid of the executor whose placement is in flight.

    ``recorded`` is False while nothing explains the loss: it counts once a replacement is asked for. A driver that
    stops deletes its executors just like a person does.
    """

    loss: Loss
    recorded: bool
    taken_by: str = ""


class Executor(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An executor pod, with our own decisions overlaid on what the watch says (it lags behind)."""

    pod: PodFacts
    seat: int | None = None
    seat_pool: str = ""
    placed_pool: str = ""
    placing: bool = False  # a patch is in flight
    released: bool = False  # its seat is no longer its own
    rescuing: bool = False
    accounted: bool = False  # its account is closed

    @property
    def waits(self) -> bool:
        """Whether it is gated and nobody has decided for it."""
        return self.pod.gated and not self.pod.deleting and not self.pod.ended and self.seat is None


class Account(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Closed accounts of a pool: executors that are gone and how long they held a node."""

    executors: int = 0
    seconds: float = 0.0
    estimated: bool = False


class ApplicationState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One application and the executors of its current submission."""

    name: str
    executors_expected: int
    dynamic: bool = False
    uid: str = ""
    phase: ApplicationPhase = ApplicationPhase.PENDING
    state: str = ""
    message: str = ""
    submission: str = ""
    past_submissions: tuple[str, ...] = ()
    executors: dict[str, Executor] = {}
    vacancies: tuple[Vacancy, ...] = ()
    highest_executor_id: int = 0
    released_ids: frozenset[int] = frozenset()

    def seated(self) -> Iterator[Executor]:
        """Executors that hold a seat now, placements in flight included."""
        return (e for e in self.executors.values() if e.seat is not None and not e.released)

    def seats(self) -> dict[str, int]:
        """Seats by pool: held ones and vacant ones that wait for a replacement."""
        counts: dict[str, int] = {}
        pools = [e.seat_pool for e in self.seated()] + [v.loss.seat_pool for v in self.vacancies if not v.taken_by]
        for pool in pools:
            counts[pool] = counts.get(pool, 0) + 1
        return counts

    def free_seat(self) -> int:
        """Return the lowest seat number that is neither held nor vacant."""
        taken = {e.seat for e in self.seated()} | {v.loss.seat for v in self.vacancies}
        return next(n for n in range(len(taken) + 1) if n not in taken)


class FleetState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a decision looks at."""

    spec: FleetSpec
    applications: dict[str, ApplicationState]
    nodes: dict[str, NodeFacts] = {}
    gone_nodes: frozenset[str] = frozenset()
    synced: bool = False
    finished: bool = False
    initial: dict[str, int] | None = None
    losses: tuple[Loss, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    losses_by_cause: dict[str, int] = {}
    replacements_by_pool: dict[str, int] = {}
    ledger: dict[str, Account] = {}

    @classmethod
    def new(cls, spec: FleetSpec) -> FleetState:
        """State of a fleet of which nothing has been seen yet."""
        return cls(
            spec=spec,
            applications={
                a.name: ApplicationState(name=a.name, executors_expected=a.executors, dynamic=a.dynamic)
                for a in spec.applications
            },
        )

    def executors(self) -> Iterator[tuple[ApplicationState, Executor]]:
        """All executors of all applications."""
        return ((app, e) for app in self.applications.values() for e in app.executors.values())

    def placed(self) -> dict[str, int]:
        """Executors that are there now, by the pool they were placed on."""
        counts: dict[str, int] = {}
        for _, e in self.executors():
            if e.placed_pool and not e.placing and not e.released and not e.pod.ended:
                counts[e.placed_pool] = counts.get(e.placed_pool, 0) + 1
        return counts


def violations(state: FleetState) -> list[str]:
    """List what must never be true of a state: for tests and the journal's replay."""
    found = []
    for app in state.applications.values():
        seats = [e.seat for e in app.seated()]
        if len(seats) != len(set(seats)):
            found.append(f"{app.name}: two executors hold one seat: {sorted(s for s in seats if s is not None)}")
        open_seats = {v.loss.seat for v in app.vacancies if not v.taken_by}
        if open_seats & set(seats):
            found.append(f"{app.name}: seats both held and vacant: {sorted(open_seats & set(seats))}")
        if any(v.taken_by and v.taken_by not in app.executors for v in app.vacancies):
            found.append(f"{app.name}: a vacant seat is taken by an executor that is gone")
    return found
