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
SIGNAL = "signal-"  # begins the names of the provider's signals, which the lab plays


class Fault(Struct, frozen=True, order=True):
    """Something that goes wrong. ``which`` picks among what is there then, modulo their number."""

    at: float
    name: str
    seconds: float = 0.0
    which: int = 0


class Setup(Struct, frozen=True, kw_only=True):
    """One fleet: ``shares`` by pool (the first is spot), how Spark behaves, and who looks after it.

    ``controllers``: how many from the beginning. ``agent``: they are namespace agents, and not triggers. ``volume``:
    every executor needs one that is bound to the zone of the on-demand nodes. ``operator_late_seconds``: for how long
    no operator is there when the application is submitted.
    """

    shares: tuple[int, int]
    executors: int
    base: int = 0
    dynamic: bool = False
    skew_seconds: float = 0.0
    spark_batch: int = 5
    controllers: int = 1
    agent: bool = False
    active_return_seconds: float = 0.0
    volume: bool = False
    operator_late_seconds: float = 0.0


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

    weight: float
    seconds: tuple[float, float] = (0.0, 0.0)


# What the lab plays through the API objects of the real things, but what other faults do already. Those of the second
# list need nodes that are processes, and so are for real Spark only.
SIGNALS = (
    *("karpenter", "karpenter-consolidation", "karpenter-drift", "karpenter-expiry", "karpenter-withdrawn"),
    *("karpenter-rebalance", "nth", "nth-untainted", "nth-maintenance", "nth-asg", "nth-rebalance", "nth-withdrawn"),
    *("gke", "gke-termination", "aks", "cluster-autoscaler", "cluster-autoscaler-candidate", "drain", "no-execute"),
    *("node-stopped", "out-of-service", "preemption", "node-pressure"),
)
REAL_SIGNALS = ("node-death", "node-freeze", "node-deletion", "node-partition", "api-partition", "pod-partition")

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
    "placements-refused": Kind(2, (0.5, 5.0)),  # by a policy, or for want of a permission
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
    "checkpoint-spoilt": Kind(1),
    "leases-deleted": Kind(1),
    "namespace-deleted": Kind(1),
    "application-deleted": Kind(1),
    "application-scales": Kind(2),  # only under dynamic allocation
    OUTAGE: Kind(0, (0.5, 4.0)),  # killed, and started again: drawn only where nothing else is played
    "application-ends": Kind(1),  # before its time, while other things go wrong
    **{f"{SIGNAL}{name}": Kind(0.6, (0.3, 2.5)) for name in SIGNALS},
    **{f"{SIGNAL}{name}": Kind(0, (0.0, 2.0)) for name in REAL_SIGNALS},
}
# Real Spark has whole nodes taken away from it, and something besides.
_REAL_NODES = (*REAL_SIGNALS, "karpenter", "gke", "nth", "aks", "out-of-service", "node-pressure", "preemption")
_REAL_BESIDES = (
    *("controller-killed", "controller-paused", "controller-doubled", "executor-deleted", "executor-evicted"),
    *("connections-cut", "connections-refused", "watches-gone", "answers-lost", "checkpoint-deleted", OUTAGE),
)
REAL_FIRST, REAL_LAST = 1.0, 12.0


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
        controllers=chance.choice([1, 1, 1, 1, 2]),
        agent=chance.random() < 0.15,
        active_return_seconds=chance.choice([0.0, 0.0, 0.0, 0.0, 2.0]),
        volume=chance.random() < 0.05,
        operator_late_seconds=chance.choice([0.0, 0.0, 0.0, 0.0, 3.0]),
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


def drawn_real(seed: int) -> Schedule:
    """The schedule of a seed with real Spark: a node is lost, each seed in a way of its own, and more goes wrong."""
    chance = random.Random(f"real {seed}")
    setup = Setup(shares=chance.choice([(2, 3), (1, 1), (1, 0)]), executors=4, base=chance.choice([0, 1]))
    names = [SIGNAL + _REAL_NODES[seed % len(_REAL_NODES)], _REAL_BESIDES[seed % len(_REAL_BESIDES)]]
    if chance.random() < 0.5:
        names.append(chance.choice([*(SIGNAL + name for name in _REAL_NODES), *_REAL_BESIDES]))
    faults = [_drawn_fault(chance, name, REAL_FIRST, REAL_LAST) for name in names]
    return Schedule(
        seed=seed, setup=setup, faults=tuple(sorted(faults)), once_running=True, real=True, patience_seconds=200.0
    )


def _drawn_fault(chance: random.Random, name: str, first: float = FIRST, last: float = LAST) -> Fault:
    at, which = round(chance.uniform(first, last), 2), chance.randrange(1000)
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
