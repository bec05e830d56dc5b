"""Words for tests of decisions, which then read as sentences: a fleet, a pod in its life, what happens to it.

Everything is the real thing: events, states and `decide`. Only names and times are made up, always in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import AnyAction, Place, SaveCheckpoint, Tell
from airflow_provider_spotmix.core.controller import Decision, decide
from airflow_provider_spotmix.core.events import ApplicationPhase, NodeFacts, PodFacts
from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import KARPENTER, CapacityType, Pool
from airflow_provider_spotmix.core.spec import ApplicationSpec, FleetSpec
from airflow_provider_spotmix.core.state import Account, FleetState, violations

SPOT, ON_DEMAND = "spot", "on-demand"
APP = "etl"
NOON = 1_800_000_000.0  # some noon; times in tests are seconds after it


def account(
    executors: int, seconds: float, *, estimated: bool = False, unseen: float = 0.0, incomplete: bool = False
) -> Account:
    """A closed account of executors that request what Spark does by default."""
    return Account(
        executors=executors,
        seconds=seconds,
        unseen_seconds=unseen,
        core_seconds=seconds,
        gib_seconds=1.375 * seconds,
        estimated=estimated,
        incomplete=incomplete,
    )


def fleet(
    ratio: str = "40:60",
    *,
    executors: int = 5,
    dynamic: bool = False,
    base: int = 0,
    applications: int = 1,
    **policy: Any,
) -> FleetSpec:
    """A fleet of Karpenter's pools; with more than two parts in the ratio, of spot pools a, b, c ... and on-demand."""
    weights = [int(part) for part in ratio.split(":")]
    names = [SPOT, ON_DEMAND] if len(weights) == 2 else [*"abcdef"[: len(weights) - 1], ON_DEMAND]
    spots = tuple(Pool(name=name, capacity_type=CapacityType.SPOT) for name in names[:-1])
    apps = [APP] if applications == 1 else [f"{APP}-{n}" for n in range(applications)]
    return FleetSpec(
        fleet_id="f1",
        namespace="etl",
        applications=tuple(ApplicationSpec(name=name, executors=executors, dynamic=dynamic) for name in apps),
        mix=Mix(
            shares=tuple(
                Share(pool=name, weight=weight, on_demand=name == ON_DEMAND)
                for name, weight in zip(names, weights, strict=True)
            ),
            on_demand_base=base,
            base_pool=ON_DEMAND if base else "",
        ),
        pools=KARPENTER if len(weights) == 2 else (*spots, KARPENTER[1]),
        policy=Policy(**policy),
    )


# -- executors


def pod(number: int, **facts: Any) -> PodFacts:
    """Executor pod of that number, gated unless it has a seat."""
    first = PodFacts(uid=f"uid-{number}", name=f"{APP}-exec-{number}", executor_id=number, gated=True, created_at=NOON)
    return replace(first, **facts)


def placed(number: int, *, seat: int, pool: str, seat_pool: str = "", **facts: Any) -> PodFacts:
    """The pod as it is once our patch has come through."""
    return pod(number, gated=False, seat=seat, seat_pool=seat_pool or pool, placed_pool=pool, **facts)


def running(number: int, *, seat: int, pool: str, node: str = "", since: float = 0, **facts: Any) -> PodFacts:
    """A placed pod that the scheduler has bound and the kubelet has started."""
    node = node or f"{pool}-{seat}"
    started: dict[str, Any] = {"phase": "Running", "node": node, "scheduled_at": NOON + since}
    return placed(number, seat=seat, pool=pool, **(started | facts))


def observed(seen: PodFacts, at: float = 0, *, submission: str = "sub-1", app: str = APP) -> ev.ExecutorObserved:
    return ev.ExecutorObserved(
        at=NOON + at, id=f"pods/{seen.name}@{at:g}", application=app, submission=submission, pod=seen
    )


def gone(
    seen: PodFacts, at: float = 0, *, submission: str = "sub-1", app: str = APP, estimated: bool = False
) -> ev.ExecutorDeleted:
    return ev.ExecutorDeleted(
        at=NOON + at,
        id=f"pods/{seen.name}@{at:g}",
        application=app,
        submission=submission,
        pod=seen,
        estimated=estimated,
    )


def deleting(seen: PodFacts, at: float = 0, **facts: Any) -> ev.ExecutorObserved:
    """Somebody has deleted the pod: the driver, an eviction, a person."""
    return observed(replace(seen, deleting=True, **facts), at)


def evicted(seen: PodFacts, at: float = 0) -> ev.ExecutorObserved:
    """An eviction says so on the pod, then deletes it."""
    return deleting(seen, at, disruption="EvictionByEvictionAPI")


def failed(seen: PodFacts, at: float = 0, *, exit_code: int = 1, exit_reason: str = "Error") -> ev.ExecutorObserved:
    return observed(replace(seen, phase="Failed", exit_code=exit_code, exit_reason=exit_reason), at)


def out_of_memory(seen: PodFacts, at: float = 0) -> ev.ExecutorObserved:
    return failed(seen, at, exit_code=137, exit_reason="OOMKilled")


def succeeded(seen: PodFacts, at: float = 0) -> ev.ExecutorObserved:
    return observed(replace(seen, phase="Succeeded", exit_code=0, exit_reason="Completed"), at)


# -- nodes


def node(name: str, at: float = 0, **facts: Any) -> ev.NodeObserved:
    return ev.NodeObserved(at=NOON + at, id=f"nodes/{name}@{at:g}", node=NodeFacts(name=name, **facts))


def notice(name: str, at: float = 0) -> ev.NodeObserved:
    """The node termination handler announces a spot interruption."""
    return node(name, at, taints=("aws-node-termination-handler/spot-itn",))


def karpenter(name: str, at: float = 0) -> ev.NodeObserved:
    """Karpenter deletes the node, for whatever reason."""
    return node(name, at, taints=("karpenter.sh/disrupted",), deleting=True)


def explained(name: str, *reasons: str, at: float = 0, hidden: bool = False) -> ev.NodeExplained:
    """The node's Events were read."""
    return ev.NodeExplained(at=NOON + at, id=f"events/{name}@{at:g}", node=name, reasons=reasons, hidden=hidden)


def node_gone(name: str, at: float = 0) -> ev.NodeDeleted:
    return ev.NodeDeleted(at=NOON + at, id=f"nodes/{name}", node=name)


# -- the rest


def synced(at: float = 0, *absent_nodes: str) -> ev.Synced:
    return ev.Synced(at=NOON + at, id="synced", absent_nodes=absent_nodes)


def tick(at: float) -> ev.Tick:
    return ev.Tick(at=NOON + at, id="tick")


def application(phase: ApplicationPhase, at: float = 0, *, app: str = APP, message: str = "") -> ev.ApplicationObserved:
    words = {ApplicationPhase.SUCCEEDED: "COMPLETED", ApplicationPhase.PENDING: "SUBMITTED"}
    word = words.get(phase, phase.value.upper())
    return ev.ApplicationObserved(
        at=NOON + at,
        id=f"sparkapplications/{app}@{at:g}",
        application=app,
        uid=app,
        phase=phase,
        state=word,
        message=message,
    )


def done(number: int, at: float = 0) -> ev.PlaceDone:
    return ev.PlaceDone(at=NOON + at, id=f"pods/{APP}-exec-{number}", uid=f"uid-{number}")


def refused(number: int, at: float = 0, reason: str = "500") -> ev.PlaceFailed:
    return ev.PlaceFailed(at=NOON + at, id=f"pods/{APP}-exec-{number}", uid=f"uid-{number}", reason=reason)


# -- playing


def run(state: FleetState | FleetSpec, *events: ev.AnyEvent) -> FleetState:
    """The state after the events; every state on the way keeps the rules."""
    return after(state, *events).state


def after(state: FleetState | FleetSpec, *events: ev.AnyEvent) -> Decision:
    """The state after the events and the actions of all of them."""
    decision = Decision(state if isinstance(state, FleetState) else FleetState.new(state))
    actions: list[AnyAction] = []
    for event in events:
        decision = decide(decision.state, event)
        assert violations(decision.state) == []
        actions += decision.actions
    return Decision(decision.state, tuple(actions))


def places(decision: Decision) -> dict[int, tuple[int, str]]:
    """Seat and pool that each executor is sent to, by executor number."""
    return {number_of(a.pod): (a.seat, a.pool) for a in decision.actions if isinstance(a, Place)}


def told(decision: Decision) -> list[str]:
    return [action.message for action in decision.actions if isinstance(action, Tell)]


def saves(decision: Decision) -> int:
    return sum(isinstance(action, SaveCheckpoint) for action in decision.actions)


def started(spec: FleetSpec) -> FleetState:
    """The fleet with all its executors running, each on a node of its own: `POOL-SEAT`, executor numbers from 1."""
    events: list[ev.AnyEvent] = [application(ApplicationPhase.RUNNING), synced()]
    pools = enumerate(_sequence(spec), start=1)
    for number, pool in pools:
        seen = running(number, seat=number - 1, pool=pool)
        events += [node(seen.node), observed(pod(number)), done(number), observed(seen)]
    return run(spec, *events)


def one(state: FleetState, number: int) -> PodFacts:
    """The pod of the executor of that number, as it was last seen."""
    (found,) = (e.pod for _, e in state.executors() if e.pod.executor_id == number)
    return found


def on(state: FleetState, pool: str) -> PodFacts:
    """The first executor that is placed on that pool."""
    return next(e.pod for _, e in state.executors() if e.placed_pool == pool and not e.released)


def _sequence(spec: FleetSpec) -> Iterable[str]:
    return (pool for pool, _ in zip(spec.mix.sequence(), range(spec.applications[0].executors), strict=False))


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])
