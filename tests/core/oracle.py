"""The oracle of the simulation: what must be true of a controller, said by somebody who knows the truth.

It never asks the controller what it believes, but for its report: losses and replacements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from airflow_provider_spotmix.core import journal
from airflow_provider_spotmix.core.actions import Place, Remove, Rescue
from airflow_provider_spotmix.core.history import BREAKER_OPEN, BreakerStatus, Cause
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import FleetState
from tests.core.cluster_model import ITN, MAINTENANCE, Cluster, ModelPod, why_removed
from tests.core.vocabulary import ON_DEMAND, fleet


@dataclass(frozen=True)
class Setup:
    """One fleet."""

    ratio: str = "40:60"
    executors: int = 5
    dynamic: bool = False
    base: int = 0
    fallback: str = "on_demand"
    active_return: float = 0

    @property
    def spec(self) -> FleetSpec:
        return fleet(
            self.ratio,
            executors=self.executors,
            dynamic=self.dynamic,
            base=self.base,
            fallback=self.fallback,
            active_return_seconds=self.active_return,
            spot_pending_timeout_seconds=6,
            spot_wait_seconds=12,
            breaker_losses=2,
            breaker_window_seconds=60,
            breaker_cooldown_seconds=6,
        )


@dataclass
class Run:
    """One controller's life."""

    first: FleetState
    entries: list[journal.Entry] = field(default_factory=list)


class Wrong(AssertionError):  # noqa: N818 - what it says is the error
    """The controller did what it must never do."""


class Oracle:
    """What the cluster is, what is on the way to it, and what nobody can know."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.spec = setup.spec
        self.cluster = Cluster(setup.executors, [pool.name for pool in self.spec.pools])
        self.state = FleetState.new(self.spec)
        self.run = Run(self.state)
        self.flying: list[Place | Rescue | Remove] = []
        self.asked: set[str] = set()  # executors of which we have heard that they are to be placed
        self.unwanted: set[str] = set()  # those that are to be removed
        self.probes: dict[str, str] = {}  # by pool: who tried it last through a half-open breaker
        self.shaken = False  # seats may have been given up or given anew, so only a full fleet has the mix
        self.blinded = False  # something happened while nobody watched: causes may stay unknown
        self.full = 0  # the last submission that had all its executors
        self.unseen = 0  # executors that were placed and went, and no controller could find out

    @property
    def is_calm(self) -> bool:
        """Whether Spark has all it wants, and all of that is placed."""
        live = [pod for pod in self.cluster.current if pod.live]
        wanted = 0 if self.cluster.stopping else self.cluster.wanted
        return len(live) == wanted and not self.flying and not any(pod.facts.gated for pod in live)

    def check(self) -> None:
        """What holds at any moment."""
        self.full = self.cluster.submission if self.is_calm else self.full
        live = [pod for pod in self.cluster.current if pod.live and pod.facts.seat is not None]
        twice = [seat for seat, count in Counter(pod.facts.seat for pod in live).items() if count > 1]
        if twice:
            raise Wrong(f"two executors on seat {twice}: {[pod.facts for pod in live if pod.facts.seat in twice]}")
        if self.setup.dynamic:
            return
        house = self.house()
        if len(house) > self.cluster.wanted:
            raise Wrong(f"{len(house)} seats for {self.cluster.wanted} executors")
        # Seats that were given up before anybody was placed on them are given anew, those of a blind spot perhaps in
        # another order: then only the whole fleet has the mix.
        if self.is_calm or not self.shaken:
            self.check_mix(Counter(house.values()))

    def house(self) -> dict[int, str]:
        """Every seat of the submission that was ever given, and its pool: as labelled, or on the way."""
        seats = {
            pod.facts.seat: pod.facts.seat_pool
            for pod in sorted(self.cluster.current, key=lambda pod: pod.patched)
            if pod.facts.seat is not None and pod.patched_alive
        }
        for action in self.flying:
            executor = self.cluster.by_uid(action.uid)
            if (
                isinstance(action, Place)
                and executor in self.cluster.current
                and executor.live
                and executor.facts.gated
            ):
                seats[action.seat] = action.seat_pool
        return {seat: pool for seat, pool in seats.items() if seat is not None}

    def check_mix(self, seats: Counter[str]) -> None:
        mix, base = self.spec.mix, min(self.spec.mix.on_demand_base, sum(seats.values()))
        total, above = sum(share.weight for share in mix.shares), sum(seats.values()) - base
        for share in mix.shares:
            target = above * share.weight / total + (base if share.pool == mix.base_pool else 0)
            if abs(seats[share.pool] - target) >= 1:
                raise Wrong(f"seats {dict(seats)}: {share.pool} is {seats[share.pool]}, its target {target}")

    def check_pool(self, action: Place) -> None:
        """A lost spot seat's replacement is on on-demand; everybody else is where the seat says."""
        executor = self.cluster.by_uid(action.uid)
        placed = sorted(self.cluster.pods, key=lambda pod: pod.patched)
        before = [p for p in placed if p.facts.seat == action.seat and p.submission == executor.submission]
        self.check_breaker(action)
        # An executor that was deleted before its placement arrived may or may not count as one that was placed.
        if action.seat_pool == ON_DEMAND or self.setup.fallback == "spot_only":
            allowed = {action.seat_pool}
        elif action.fallback == BREAKER_OPEN:
            allowed = {ON_DEMAND}
        elif self.blinded or self.setup.dynamic or not before or not before[-1].patched_alive:
            allowed = {action.seat_pool, ON_DEMAND}
        elif before[-1] is executor:
            allowed = {before[-1].facts.placed_pool}
        else:
            allowed = self.after(before[-1], action.seat_pool)
        if action.pool not in allowed:
            raise Wrong(f"{action}, which may only be on {allowed}")

    def after(self, lost: ModelPod, seat_pool: str) -> set[str]:
        """Where the one that replaces it may be."""
        waits = self.setup.fallback == "wait"
        returns = lost.lost != "removed" if waits else lost.lost in ("application", "returned")
        if lost.facts.uid in self.unwanted and lost.lost not in ("removed", "returned", "noticed"):
            return {seat_pool, ON_DEMAND}  # somebody was faster than we, and who cannot be known
        if returns:
            return {seat_pool} | ({ON_DEMAND} if lost.facts.node in self.cluster.sick and not waits else set())
        return {ON_DEMAND}

    def check_breaker(self, action: Place) -> None:
        """As reported, it is not closed when it is the reason. Nobody new passes an open one, one a half-open."""
        pool, is_new = action.seat_pool, action.uid not in self.asked
        self.asked.add(action.uid)
        status = self.breaker(pool)
        if not is_new:  # an earlier decision, tried again
            return
        if action.fallback == BREAKER_OPEN and status is BreakerStatus.CLOSED:
            raise Wrong(f"{action}, but the breaker of {pool} is closed")
        if action.pool == ON_DEMAND or self.setup.fallback == "spot_only" or status is BreakerStatus.CLOSED:
            return
        if status is BreakerStatus.OPEN:
            raise Wrong(f"{action}, but the breaker of {pool} is open")
        if pool in self.probes and self.probes[pool] != action.uid:
            probe = self.cluster.by_uid(self.probes[pool])
            if probe in self.cluster.current and probe.live and not probe.facts.node:
                raise Wrong(f"{action}, but {probe.facts} is the probe of {pool}")
        self.probes[pool] = action.uid

    def check_removal(self, action: Remove) -> None:
        """Whoever is on a noticed node is removed; spot that no node takes; what has fallen back when it may return."""
        executor = self.cluster.by_uid(action.uid)
        facts = executor.facts
        if executor not in self.cluster.current:
            return  # its driver is gone
        if why_removed(action) == "noticed":
            if facts.node not in self.cluster.noticed:
                raise Wrong(f"{action}, but nobody has announced the end of {facts.node}")
            return
        if action.unless_bound:
            patience = 6 if self.setup.fallback == "on_demand" else 12
            is_late = self.cluster.now - (facts.placed_at or self.cluster.now) >= patience
            if facts.placed_pool == ON_DEMAND or not is_late or self.setup.fallback == "spot_only":
                raise Wrong(f"{action} of {facts}")
        elif not self.setup.active_return or facts.placed_pool == facts.seat_pool or facts.seat_pool == ON_DEMAND:
            raise Wrong(f"{action} of {facts}")

    def breaker(self, pool: str) -> BreakerStatus:
        changes = [change.status for change in self.state.breaker_changes if change.pool == pool]
        return changes[-1] if changes else BreakerStatus.CLOSED

    def check_report(self) -> None:
        """Everything is news of the past: what is there is explained, and what is reported is true."""
        by_name = {pod.facts.name: pod for pod in self.cluster.pods}
        losses = {loss.id for loss in self.state.losses}
        replaced = {r.executor: r for r in self.state.replacements}
        for facts in [pod.facts for pod in self.cluster.current if pod.live]:
            if facts.placed_pool != facts.seat_pool:
                listed = [each for each in self.state.fallbacks if each.executor == facts.name]
                if [(each.seat, each.pool) for each in listed] != [(facts.seat, facts.placed_pool)]:
                    raise Wrong(f"fallback {facts} is listed as {listed}")
                known = replaced.get(facts.name)
                is_explained = known is not None and known.loss in losses and known.pool == facts.placed_pool
                if not is_explained and listed[0].cause != BREAKER_OPEN:
                    raise Wrong(f"fallback {facts} is not explained")
        for loss in self.state.losses:
            pod = by_name.get(loss.executor)
            # Of unknown cause: whoever was asked for before it went, but is seen after that, looks like a replacement.
            true = not pod or pod.lost or pod.facts.node in self.cluster.sick or pod.facts.uid in self.unwanted
            if pod and not true and (loss.cause is not Cause.UNKNOWN or pod.live):
                raise Wrong(f"{loss} is reported, but it was not lost")
        if not self.setup.dynamic and not self.cluster.stopping:
            self.check_mix(Counter(self.house().values()))
            self.check_spot_is_not_tried_again()

    def check_notices(self, heard_of: Iterable[str]) -> None:
        """Nobody who is known to be there stays on a node that will go."""
        for pod in map(self.cluster.by_uid, heard_of):
            node = self.cluster.nodes.get(pod.facts.node)
            if pod.live and pod in self.cluster.current and node and {ITN, MAINTENANCE} & {*node.taints}:
                raise Wrong(f"{pod.facts} is still on {node}")

    def check_spot_is_not_tried_again(self) -> None:
        on_spot = sum(pod.patched_alive and pod.facts.placed_pool != ON_DEMAND for pod in self.cluster.current)
        failures = self.failures()
        returned = sum(pod.lost == "returned" for pod in self.cluster.current)
        seats = sum(pool != ON_DEMAND for pool in self.house().values())
        if self.setup.fallback == "on_demand" and on_spot > seats + failures + returned + self.unseen:
            raise Wrong(f"{on_spot} executors were placed on spot for {seats} spot seats and {failures} failures")

    def check_journal(self) -> None:
        """What was written down repeats what was decided."""
        lines = [journal.encode(entry) for entry in self.run.entries]
        read = list(journal.read(lines))
        state, replayed = journal.replay(self.run.first, [entry.event for entry in read])
        if not (replayed == read == self.run.entries and state == self.state):
            raise Wrong("the journal does not repeat the decisions")

    def failures(self) -> int:
        return sum(pod.lost == "application" for pod in self.cluster.current)
