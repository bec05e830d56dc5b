"""Schedules: which fleet, and which faults hit it when. Plain data, drawn from a seed, written down to replay it."""

from __future__ import annotations

import random

import msgspec
from msgspec import Struct
from msgspec.structs import replace

# Everything that is not over so long after the last fault is stuck. Kubernetes' own deadlines are part of it.
PATIENCE_SECONDS = 60.0
# Seconds after the submission between which faults happen: from before the first executor to a fleet that has settled.
FIRST, LAST = 0.5, 14.0

OUTAGE = "api-server-restarts"


class Fault(Struct, frozen=True, order=True):
    """Something that goes wrong. ``which`` picks among what is there then, modulo their number."""

    at: float
    name: str
    seconds: float = 0.0
    which: int = 0


class Setup(Struct, frozen=True, kw_only=True):
    """One fleet: ``shares`` by pool (the first is spot), and how Spark behaves."""

    shares: tuple[int, int]
    executors: int
    base: int = 0
    dynamic: bool = False
    skew_seconds: float = 0.0
    spark_batch: int = 5


class Schedule(Struct, frozen=True, kw_only=True):
    """A fleet and its faults. ``seed`` names it, its content replays it.

    ``defect``: one of `defects`, if any. ``once_running``: the faults' clock begins when all executors run, and not
    with the submission. ``real``: Spark, its operator and the nodes are real.
    """

    seed: int
    setup: Setup
    faults: tuple[Fault, ...] = ()
    defect: str = ""
    patience_seconds: float = PATIENCE_SECONDS
    once_running: bool = False
    real: bool = False

    @property
    def last_fault(self) -> float:
        """When everything that goes wrong is over."""
        return max((fault.at + fault.seconds for fault in self.faults), default=FIRST)

    @property
    def is_serial(self) -> bool:
        """Whether nothing else can be played meanwhile in the same lab."""
        return self.real or any(fault.name == OUTAGE for fault in self.faults)


class Kind(Struct, frozen=True):
    """How often a fault is drawn, and how many seconds it lasts: from, to."""

    weight: int
    seconds: tuple[float, float] = (0.0, 0.0)


# What may go wrong; docs/guarantees.md has the promised outcome of each.
KINDS = {
    # the controller
    "controller-killed": Kind(5, (0.1, 4.0)),  # kill -9, another one comes after so many seconds
    "controller-stopped": Kind(2, (0.1, 3.0)),  # SIGTERM: it says farewell
    "controller-paused": Kind(3, (1.0, 9.0)),  # SIGSTOP: longer than its Lease lasts, some of them
    "controller-doubled": Kind(3),
    # the wire to the API server
    "answers-429": Kind(2, (0.5, 4.0)),
    "answers-500": Kind(2, (0.5, 4.0)),
    "answers-401": Kind(1, (0.5, 3.0)),
    "answers-lost": Kind(2, (0.5, 3.0)),  # done, but nobody is told
    "watches-gone": Kind(2, (0.5, 3.0)),  # 410
    "watches-repeat": Kind(2, (1.0, 6.0)),  # each event comes twice, the second time late
    "connections-cut": Kind(2),
    "connections-refused": Kind(2, (0.5, 9.0)),
    "connections-dead": Kind(2),  # half-open
    "answers-slow": Kind(2, (1.0, 5.0)),
    # nodes
    "node-dies": Kind(3),
    "node-deleted": Kind(3),
    "node-drained": Kind(4, (0.3, 2.0)),  # taint, then evictions: Karpenter
    "node-shuts-down": Kind(2),  # its pods end Failed, reason Terminated: GKE
    # executors
    "executor-evicted": Kind(4),
    "executor-deleted": Kind(3),  # by a person
    "executor-out-of-memory": Kind(2),
    # what there is
    "spot-unobtainable": Kind(2, (1.0, 6.0)),
    "quota-exhausted": Kind(1, (1.0, 5.0)),
    "driver-restarts": Kind(1),
    "checkpoint-deleted": Kind(2),
    "leases-deleted": Kind(1),
    "application-deleted": Kind(1),
    "application-scales": Kind(2),  # only under dynamic allocation
    OUTAGE: Kind(0, (0.5, 4.0)),  # killed, and started again: drawn only where nothing else is played
    "application-ends": Kind(1),  # before its time, while other things go wrong
}


def drawn(seed: int, defect: str = "") -> Schedule:
    """The schedule of a seed, always the same."""
    chance = random.Random(seed)
    setup = Setup(
        shares=chance.choice([(2, 3), (2, 3), (1, 1), (3, 1), (1, 0)]),
        executors=chance.randint(2, 8),
        base=chance.choice([0, 0, 0, 1, 2]),
        dynamic=chance.random() < 0.15,
        skew_seconds=chance.choice([0.0, 0.0, 0.0, -300.0, 45.0]),
        spark_batch=chance.choice([5, 10]),
    )
    names = chance.choices(list(KINDS), weights=[kind.weight for kind in KINDS.values()], k=chance.randint(1, 7))
    faults = [_drawn_fault(chance, name) for name in names if setup.dynamic or name != "application-scales"]
    return Schedule(seed=seed, setup=setup, faults=tuple(sorted(faults)), defect=defect)


def drawn_outage(seed: int) -> Schedule:
    """The schedule of a seed in which the API server is away for some seconds, too: nothing else can be played then."""
    chance = random.Random(-seed)
    outage = Fault(
        at=round(chance.uniform(FIRST, LAST), 2), name=OUTAGE, seconds=round(chance.uniform(*KINDS[OUTAGE].seconds), 2)
    )
    schedule = drawn(seed)
    return replace(schedule, faults=tuple(sorted((*schedule.faults, outage))))


def _drawn_fault(chance: random.Random, name: str) -> Fault:
    at, which = round(chance.uniform(FIRST, LAST), 2), chance.randrange(1000)
    return Fault(at=at, name=name, seconds=round(chance.uniform(*KINDS[name].seconds), 2), which=which)


def encode(schedule: Schedule) -> str:
    """One line of JSON."""
    return msgspec.json.encode(schedule).decode()


def decode(text: str) -> Schedule:
    """Read what `encode` wrote.

    Raises:
        msgspec.ValidationError: it is no schedule.

    """
    return msgspec.json.decode(text, type=Schedule)
