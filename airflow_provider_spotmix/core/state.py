"""The state of a fleet. Immutable: a decision returns a new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.events import ApplicationPhase, NodeFacts, PodFacts
from airflow_provider_spotmix.core.history import (
    Breaker,
    BreakerChange,
    Cause,
    Fallback,
    Loss,
    Outage,
    Replacement,
    Resubmission,
    Return,
    Vacancy,
)
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.table import Numbers, Table


class Removal(Struct, frozen=True, kw_only=True):
    """Why we have asked for an executor's deletion."""

    cause: Cause
    reason: str
    failed: bool = False  # as far as we know; it may have been done all the same


class Executor(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An executor pod, with our own decisions overlaid on what the watch says (it lags behind)."""

    pod: PodFacts
    pinned: bool = False  # born on its pool: it takes a seat, but does not have to be placed
    seat: int | None = None
    seat_pool: str = ""
    placed_pool: str = ""
    fallback: str = ""  # why it is not on its seat's pool
    placing: bool = False  # a patch is in flight
    filling: Vacancy | None = None  # the vacancy that it fills once that patch is through
    released: bool = False  # its seat is no longer its own
    rescuing: bool = False
    removing: Removal | None = None  # that call is in flight, or done
    accounted: bool = False  # its account is closed
    placed_at: float | None = None  # by us, not by an earlier controller
    seen_at: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether nobody has decided for it yet."""
        pod = self.pod
        is_asking = self.pinned or pod.gated
        return is_asking and not (pod.deleting or pod.ended or self.released) and self.seat is None

    @property
    def is_seated(self) -> bool:
        """Whether it holds a seat now, a placement in flight included."""
        return self.seat is not None and not self.released

    @property
    def is_placed(self) -> bool:
        """Whether it is there now, on the pool it was placed on."""
        return bool(self.placed_pool) and not (self.placing or self.released or self.pod.ended)

    @property
    def is_running(self) -> bool:
        """Whether it runs there."""
        return self.is_placed and self.pod.phase == "Running"

    @property
    def is_away(self) -> bool:
        """Whether it is on another pool than its seat's."""
        return self.is_placed and bool(self.seat_pool) and self.seat_pool != self.placed_pool

    @property
    def is_removing(self) -> bool:
        """Whether its deletion has been asked for, and nobody says that it failed."""
        return self.removing is not None and not self.removing.failed

    @property
    def is_unbound(self) -> bool:
        """Whether it is placed and has no node yet."""
        return self.is_placed and not self.pod.node and not self.pod.deleting

    @property
    def open_account(self) -> OpenAccount | None:
        """Since when it has held a node, or was to hold one; None when its account is closed, or was never open."""
        since = self.placed_at if self.pod.scheduled_at is None else self.pod.scheduled_at
        if self.accounted or not self.placed_pool or since is None:
            return None
        return OpenAccount(self.placed_pool, since, self.seen_at)

    @property
    def standing(self) -> tuple[object, ...]:
        """All that a tally counts it by."""
        places = self.is_placed, self.placed_pool, self.is_running, self.is_unbound
        return self.is_seated, self.seat, self.seat_pool, self.waits, *places


class Account(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Closed accounts of a pool: executors that are gone, how long they held a node, and what they requested of it.

    When it is ``estimated``, ``seconds`` is how long at most, and without ``unseen_seconds`` how long at least. When it
    is ``incomplete``, there may have been executors of which nobody knows, and nothing says how long at most.
    """

    executors: int = 0
    seconds: float = 0.0
    unseen_seconds: float = 0.0
    core_seconds: float = 0.0
    gib_seconds: float = 0.0
    estimated: bool = False
    incomplete: bool = False

    def at_least(self, spec: FleetSpec) -> Account:
        """Return the least that it may have come to: without the time for which nobody saw its executors.

        Which of the fleet's applications an unseen executor belonged to is not kept; where they request different
        amounts, it is taken for the largest.
        """
        cores = max(app.cores for app in spec.applications)
        memory_gib = max(app.memory_gib for app in spec.applications)
        return replace(
            self,
            seconds=max(0.0, self.seconds - self.unseen_seconds),
            unseen_seconds=0.0,
            core_seconds=max(0.0, self.core_seconds - self.unseen_seconds * cores),
            gib_seconds=max(0.0, self.gib_seconds - self.unseen_seconds * memory_gib),
        )


class OpenAccount(Struct, frozen=True, array_like=True):
    """An executor's account that a checkpoint found open: whoever takes over may never see the executor again.

    ``since``: when it was scheduled, or placed when nobody had seen that yet. ``seen``: when it last was.
    """

    pool: str
    since: float
    seen: float = 0.0


class Tally(Struct, frozen=True):
    """What every decision asks of an application's executors, kept up to date instead of counted anew.

    `ApplicationState` changes it together with the executors and vacancies; `violations` compares it with a count.
    """

    seats: dict[str, int] = {}  # by pool: held ones and vacant ones
    placed: dict[str, int] = {}  # by pool
    running: dict[str, int] = {}  # by the pool they were placed on
    away: dict[str, int] = {}  # by their seat's pool: those that were placed on another
    holders: Table[int, tuple[str, ...]] = Table()  # by seat: uids; two only while a recovery has not seen all yet
    held: Numbers = Numbers()  # the seats that have a holder
    vacant: Numbers = Numbers()
    waiting: Table[str, int] = Table()  # uid: executor id
    unbound: Table[str, int] = Table()  # uid: executor id

    def entered(self, executor: Executor) -> Tally:
        """Count an executor in."""
        changed = self
        if executor.is_seated:
            changed = self._seated(executor, 1)
        if executor.is_placed:
            changed = changed._placed(executor, 1)
        if executor.waits:
            changed = replace(changed, waiting=self.waiting.put(executor.pod.uid, executor.pod.executor_id))
        if executor.is_unbound:
            changed = replace(changed, unbound=self.unbound.put(executor.pod.uid, executor.pod.executor_id))
        return changed

    def left(self, executor: Executor) -> Tally:
        """Count an executor out, as it was counted in."""
        changed = self
        if executor.is_seated:
            changed = self._seated(executor, -1)
        if executor.is_placed:
            changed = changed._placed(executor, -1)
        if executor.waits:
            changed = replace(changed, waiting=self.waiting.without(executor.pod.uid))
        if executor.is_unbound:
            changed = replace(changed, unbound=self.unbound.without(executor.pod.uid))
        return changed

    def _placed(self, executor: Executor, change: int) -> Tally:
        pool = executor.placed_pool
        return replace(
            self,
            placed=_count(self.placed, pool, change),
            running=_count(self.running, pool, change) if executor.is_running else self.running,
            away=_count(self.away, executor.seat_pool, change) if executor.is_away else self.away,
        )

    def _seated(self, executor: Executor, change: int) -> Tally:
        seat, uid = executor.seat or 0, executor.pod.uid
        others = tuple(holder for holder in self.holders.get(seat, ()) if holder != uid)
        holders = (*others, uid) if change > 0 else others
        return replace(
            self,
            seats=_count(self.seats, executor.seat_pool, change),
            holders=self.holders.put(seat, holders) if holders else self.holders.without(seat),
            held=self.held.put(seat) if holders else self.held.without(seat),
        )

    def vacated(self, loss: Loss) -> Tally:
        """Count a vacant seat in."""
        return replace(self, seats=_count(self.seats, loss.seat_pool, 1), vacant=self.vacant.put(loss.seat))

    def filled(self, loss: Loss) -> Tally:
        """Count a vacant seat out."""
        return replace(self, seats=_count(self.seats, loss.seat_pool, -1), vacant=self.vacant.without(loss.seat))


def _count(counts: dict[str, int], pool: str, change: int) -> dict[str, int]:
    count = counts.get(pool, 0) + change
    if not count:
        return {name: n for name, n in counts.items() if name != pool}
    return {**counts, pool: count}


class ApplicationState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One application and the executors of its current submission.

    Executors (by uid) and vacancies (by seat) are changed only by the methods here, which keep the tally right.
    """

    name: str
    executors_expected: int
    dynamic: bool = False
    pool: str = ""
    uid: str = ""
    phase: ApplicationPhase = ApplicationPhase.PENDING
    state: str = ""
    message: str = ""
    created_at: float = 0.0
    driver: ev.DriverObserved | None = None
    rescuing_driver: str = ""  # uid of the one that is being removed from a lost node
    started: bool = False  # its driver has begun to run, now or earlier
    given_up: bool = False  # we wait for it no longer; it may still run
    submission: str = ""
    past_submissions: tuple[str, ...] = ()
    executors: Table[str, Executor] = Table()
    vacancies: Table[int, Vacancy] = Table()
    tally: Tally = Tally()
    highest_executor_id: int = 0
    released_ids: Numbers = Numbers()
    fallback_ids: Numbers = Numbers()  # whose fallback is listed
    open_accounts: dict[int, OpenAccount] = {}  # by number; from a checkpoint, until everything has been seen
    leaving: dict[str, OpenAccount] = {}  # by submission and number: executors whose driver is gone
    leaving_unseen: frozenset[str] = frozenset()  # of these, from a checkpoint, until they or everything has been seen
    restarted: bool = False  # its driver was, now or earlier
    losses: dict[str, int] = {}  # counted ones, by cause
    starved_since: float | None = None
    superseded: bool = False  # another application takes its place

    @property
    def over(self) -> bool:
        """Whether nothing that becomes of it matters any more."""
        return self.phase.over or self.superseded

    def with_executor(self, executor: Executor) -> ApplicationState:
        """Return the application with a new or changed executor."""
        known = self.executors.get(executor.pod.uid)
        tally = self.tally
        if known is None:
            tally = tally.entered(executor)
        elif known.standing != executor.standing:
            tally = tally.left(known).entered(executor)
        return replace(self, executors=self.executors.put(executor.pod.uid, executor), tally=tally)

    def without_executor(self, uid: str) -> ApplicationState:
        """Return the application without an executor that it has."""
        tally = self.tally.left(self.executors[uid])
        return replace(self, executors=self.executors.without(uid), tally=tally)

    def with_vacancy(self, vacancy: Vacancy) -> ApplicationState:
        """Return the application with one more vacant seat."""
        app = self.without_vacancy(vacancy.loss.seat)
        vacancies = app.vacancies.put(vacancy.loss.seat, vacancy)
        return replace(app, vacancies=vacancies, tally=app.tally.vacated(vacancy.loss))

    def without_vacancy(self, seat: int) -> ApplicationState:
        """Return the application in which that seat is not vacant."""
        vacancy = self.vacancies.get(seat)
        if vacancy is None:
            return self
        return replace(self, vacancies=self.vacancies.without(seat), tally=self.tally.filled(vacancy.loss))

    def seated(self) -> Iterator[Executor]:
        """Executors that hold a seat now, placements in flight included."""
        return (e for e in self.executors.values() if e.is_seated)

    def seats(self) -> Mapping[str, int]:
        """Seats by pool: held ones and vacant ones that wait for a replacement."""
        return self.tally.seats

    def free_seat(self) -> int:
        """Return the lowest seat number that is neither held nor vacant."""
        return (self.tally.held | self.tally.vacant).lowest_missing()

    def lowest_vacancy(self) -> Vacancy | None:
        """Return the vacancy with the lowest seat number."""
        seat = self.tally.vacant.lowest()
        return None if seat is None else self.vacancies[seat]


class FleetState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a decision looks at."""

    spec: FleetSpec
    applications: dict[str, ApplicationState]
    nodes: Table[str, NodeFacts] = Table()
    gone_nodes: frozenset[str] = frozenset()
    avoided: frozenset[str] = frozenset()  # nodes that nobody is placed on: they will go, or seem to have gone
    synced: bool = False
    remembered: bool = False  # what earlier controllers did, if there were any
    finished: bool = False
    initial: dict[str, int] | None = None
    losses: tuple[Loss, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    losses_by_cause: dict[str, int] = {}
    replacements_by_pool: dict[str, int] = {}
    fallbacks: tuple[Fallback, ...] = ()
    fallbacks_by_cause: dict[str, int] = {}
    returns: tuple[Return, ...] = ()
    returns_by_pool: dict[str, int] = {}
    outages: tuple[Outage, ...] = ()
    breakers: dict[str, Breaker] = {}  # by spot pool; those that were ever needed
    breaker_changes: tuple[BreakerChange, ...] = ()
    returned_at: float = 0.0  # when executors were last moved to spot again
    ledger: dict[str, Account] = {}
    resubmissions: dict[str, Resubmission] = {}  # by the application that was lost
    resubmitting: frozenset[str] = frozenset()  # of these, whose call is in flight

    @classmethod
    def new(cls, spec: FleetSpec) -> FleetState:
        """State of a fleet of which nothing has been seen yet."""
        return cls(
            spec=spec,
            applications={
                a.name: ApplicationState(name=a.name, executors_expected=a.executors, dynamic=a.dynamic, pool=a.pool)
                for a in spec.applications
            },
        )

    def executors(self) -> Iterator[tuple[ApplicationState, Executor]]:
        """All executors of all applications."""
        return ((app, e) for app in self.applications.values() for e in app.executors.values())

    def find(self, uid: str) -> Iterator[tuple[ApplicationState, Executor]]:
        """Find the executor of that uid, if it is there."""
        return ((app, app.executors[uid]) for app in self.applications.values() if uid in app.executors)

    def placed(self) -> dict[str, int]:
        """Executors that are there now, by the pool they were placed on."""
        counts: dict[str, int] = {}
        for app in self.applications.values():
            for pool, count in app.tally.placed.items():
                counts[pool] = counts.get(pool, 0) + count
        return counts


def violations(state: FleetState) -> list[str]:
    """List what must never be true of a state: for tests and the journal's replay."""
    found = []
    for app in state.applications.values():
        seats = [e.seat for e in app.seated() if e.seat is not None]
        if len(seats) != len(set(seats)):
            found.append(f"{app.name}: two executors hold one seat: {sorted(seats)}")
        if both := set(app.vacancies) & set(seats):
            found.append(f"{app.name}: seats both held and vacant: {sorted(both)}")
        if any(e.filling and not (e.placing and e.seat == e.filling.loss.seat) for e in app.executors.values()):
            found.append(f"{app.name}: an executor fills a vacancy that is not the seat it is being placed on")
        if any(seat != v.loss.seat for seat, v in app.vacancies.items()):
            found.append(f"{app.name}: a vacancy is listed under another seat")
        if app.tally != (counted := _counted(app)):
            found.append(f"{app.name}: the tally is {app.tally}, counted anew it is {counted}")
    return found


def _counted(app: ApplicationState) -> Tally:
    tally = Tally()
    for executor in app.executors.values():
        tally = tally.entered(executor)
    for vacancy in app.vacancies.values():
        tally = tally.vacated(vacancy.loss)
    return tally
