"""A controller in the model cluster, under whatever a list of steps does to both, and an oracle that knows the truth.

The oracle never asks the controller what it believes, but for its report: losses and replacements. To search longer
than the tests do, and to have what fails shrunk: ``python -m tests.core.simulation COUNT [FIRST_SEED]``.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import controller, journal
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import AnyAction, Finish, Place, Rescue, SaveCheckpoint
from airflow_provider_spotmix.core.events import ApplicationPhase, PodFacts
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import Cause, FleetState, violations
from tests.core.cluster_model import Cluster, ModelPod
from tests.core.vocabulary import ON_DEMAND, fleet

Decide = Callable[[FleetState, ev.AnyEvent], controller.Decision]

# What may happen at a step, the simplest first; the number is how often among 100 or so.
STEPS = {
    "allocate": 12,
    "news": 24,
    "answer": 14,
    "start": 10,
    "finish": 8,
    "evict": 4,
    "tick": 4,
    "remove": 2,
    "fail": 2,
    "kill_node": 1,
    "delete_node": 1,
    "revive_node": 1,
    "refuse": 3,
    "lose_answer": 3,
    "repeat_news": 2,
    "resync": 1,
    "crash": 2,
    "recover": 4,
    "restart_driver": 1,
    "scale": 2,
}
Step = tuple[str, int]


@dataclass(frozen=True)
class Setup:
    """One fleet."""

    ratio: str = "40:60"
    executors: int = 5
    dynamic: bool = False
    base: int = 0

    @property
    def spec(self) -> FleetSpec:
        return fleet(self.ratio, executors=self.executors, dynamic=self.dynamic, base=self.base)


@dataclass
class Run:
    """One controller's life."""

    first: FleetState
    entries: list[journal.Entry] = field(default_factory=list)


class Wrong(AssertionError):  # noqa: N818 - what it says is the error
    """The controller did what it must never do."""


class Simulation:
    """The controller, the calls and the news on the way."""

    def __init__(self, setup: Setup, decide: Decide = controller.decide) -> None:
        self.setup = setup
        self.spec = setup.spec
        self.cluster = Cluster(setup.executors, [pool.name for pool in self.spec.pools])
        self.decide = decide
        self.state = FleetState.new(self.spec)
        self.run = Run(self.state)
        self.up = False
        self.flying: list[Place | Rescue] = []
        self.known: dict[str, PodFacts] = {}
        self.writes: list[str] = []
        self.finish: Finish | None = None
        self.shaken = False  # seats may have been given up or given anew, so only a full fleet has the mix
        self.blinded = False  # something happened while nobody watched: causes may stay unknown
        self.heard_of_end: set[str] = set()
        self.full = 0  # the last submission that had all its executors
        self.unseen = 0
        self.recover(0)

    # -- the controller

    def happens(self, event: ev.AnyEvent) -> None:
        decision = self.decide(self.state, event)
        self.state = decision.state
        self.run.entries.append(journal.Entry(event, decision.actions))
        if found := violations(self.state):
            raise Wrong(found)
        for action in decision.actions:
            self.act(action)

    def act(self, action: AnyAction) -> None:
        match action:
            case Place():
                self.check_pool(action)
                self.flying.append(action)
            case Rescue():
                if action.node not in self.cluster.sick:
                    raise Wrong(f"{action} though its node was never in trouble")
                self.flying.append(action)
            case SaveCheckpoint():
                self.writes.append(cp.encode(cp.take(self.state, holder="me")))
            case Finish():
                self.finish = action

    def step(self, name: str, which: int) -> None:
        getattr(self, name)(which)
        self.check()

    # -- steps: Spark and the cloud

    def allocate(self, which: int) -> None:
        self.cluster.allocate(1 + which % 5)

    def start(self, which: int) -> None:
        if pod := self.pick(which, lambda pod: pod.live and not pod.facts.gated and not pod.facts.node):
            self.cluster.start(pod, which)

    def evict(self, which: int) -> None:
        if pod := self.pick(which, lambda pod: pod.live and bool(pod.facts.node)):
            self.cluster.delete(pod, lost="evicted", disruption="EvictionByEvictionAPI")

    def remove(self, which: int) -> None:
        """A person deletes a pod, for no reason."""
        if pod := self.pick(which, lambda pod: pod.live):
            self.shaken |= pod.facts.gated
            self.cluster.delete(pod, lost="person")

    def fail(self, which: int) -> None:
        if pod := self.pick(which, lambda pod: pod.live and pod.facts.phase == "Running"):
            self.cluster.fail(pod)

    def finish_all(self) -> None:
        for pod in self.cluster.pods:
            self.cluster.finish(pod)

    def finish_one(self, which: int) -> None:
        if pod := self.pick(which, lambda pod: pod.exists and not pod.live and not pod.hung, everyone=True):
            self.cluster.finish(pod)

    def kill_node(self, which: int) -> None:
        self.cluster.kill_node(self.node(which))

    def delete_node(self, which: int) -> None:
        self.cluster.delete_node(self.node(which))

    def revive_node(self, which: int) -> None:
        self.cluster.revive_node(self.node(which))

    def restart_driver(self, which: int) -> None:
        if which % 3 == 0:
            self.cluster.restart_driver()

    def scale(self, which: int) -> None:
        if self.setup.dynamic:
            self.cluster.scale(1 + which % (2 * self.setup.executors))

    # -- steps: news and answers

    def news(self, which: int) -> None:
        """The next news of one of the watches; of pods most often."""
        cluster = self.cluster
        late = [news for news in (*[cluster.pod_news] * 4, cluster.node_news, cluster.application_news) if news]
        if self.up and late:
            self.hear(late[which % len(late)].popleft())

    def hear(self, event: ev.AnyEvent) -> None:
        if isinstance(event, ev.ExecutorObserved):
            self.known[event.pod.uid] = event.pod
            self.heard_of_end |= {event.pod.uid} if event.pod.deleting or event.pod.ended else set()
        elif isinstance(event, ev.ExecutorDeleted):
            self.known.pop(event.pod.uid, None)
            self.heard_of_end.add(event.pod.uid)
        self.happens(event)

    def repeat_news(self, which: int) -> None:
        if self.up and self.known:
            uid = list(self.known)[which % len(self.known)]
            self.happens(replace(self.cluster.seen(self.cluster.by_uid(uid)), pod=self.known[uid]))

    def tick(self, which: int) -> None:
        self.cluster.clock += which % 12
        if self.up:
            self.happens(ev.Tick(at=self.cluster.now))

    def answer(self, which: int) -> None:
        if self.flying:
            self.arrive(self.flying.pop(which % len(self.flying)))

    def arrive(self, action: Place | Rescue) -> None:
        if isinstance(action, Rescue):
            if not self.cluster.rescue(action.uid):
                self.happens(ev.RescueFailed(at=self.cluster.now, uid=action.uid))
        elif self.cluster.patch(action):
            self.happens(ev.PlaceDone(at=self.cluster.now, uid=action.uid))
        else:
            self.no_answer(action, look=True)

    def refuse(self, which: int) -> None:
        if self.flying:
            action = self.flying.pop(which % len(self.flying))
            if isinstance(action, Place):
                self.no_answer(action, look=bool(which & 1))
            else:
                self.happens(ev.RescueFailed(at=self.cluster.now, uid=action.uid))

    def lose_answer(self, which: int) -> None:
        """The API server does what it is told, and the answer never comes."""
        if self.flying:
            action = self.flying.pop(which % len(self.flying))
            if isinstance(action, Place):
                self.cluster.patch(action)
                self.no_answer(action, look=bool(which & 1))
            else:
                self.cluster.rescue(action.uid)
                self.happens(ev.RescueFailed(at=self.cluster.now, uid=action.uid))

    def no_answer(self, action: Place, *, look: bool) -> None:
        """As the applier: look at the pod, if that can be had, then say that it failed; nothing if it is gone."""
        pod = self.cluster.by_uid(action.uid)
        if not pod.exists and look:
            return
        if look:
            self.happens(self.cluster.seen(pod))
        self.happens(ev.PlaceFailed(at=self.cluster.now, uid=action.uid, reason="no answer"))

    def resync(self, which: int) -> None:
        """The watch fell behind: what there is, instead of the changes that led there."""
        if not self.up:
            return
        self.list_nodes()
        here = {pod.facts.uid for pod in self.cluster.pods if pod.exists}
        for uid in [uid for uid in self.known if uid not in here]:
            self.blinded = True
            pod = self.cluster.by_uid(uid)
            self.unseen += pod.patched_alive and self.known[uid].gated  # nobody can find out that it was placed
            self.hear(self.cluster.removed(pod, facts=self.known[uid]))
        self.list_pods()
        self.is_synced()

    # -- steps: the controller's own life

    def crash(self, which: int) -> None:
        """Killed: what is on the way arrives or not, and nobody hears of it."""
        if not self.up:
            return
        for number, action in enumerate(self.flying):
            if which >> number & 1:
                self.cluster.patch(action) if isinstance(action, Place) else self.cluster.rescue(action.uid)
        self.flying = []
        self.check_journal()
        self.up, self.blinded, self.shaken = False, True, True

    def recover(self, which: int) -> None:
        """Start on the last checkpoint, on the one before, or (seldom) on none."""
        if self.up:
            return
        forgotten = len(self.writes) if which % 17 == 16 else int(which % 5 > 2)
        saved = next(iter(self.writes[-1 - forgotten :]), None) if forgotten < len(self.writes) else None
        self.state = FleetState.new(self.spec)
        if saved:
            self.state = cp.restore(self.state, cp.decode(saved))
        self.run = Run(self.state)
        self.writes = [saved] if saved else []
        self.known = {}
        self.up = True
        self.list_nodes()
        self.list_pods()
        self.cluster.application_news.clear()
        self.happens(self.cluster.application_event())
        self.note_unseen(forgotten=bool(forgotten))
        self.is_synced()

    def note_unseen(self, *, forgotten: bool) -> None:
        """Count what nobody can find out: who went unseen, if no higher number shows that it ever was.

        While a driver starts its executors, without the last checkpoint, and when the application's own failures are
        about, not even which seat a missing number had is certain.
        """
        everything = forgotten or self.full != self.cluster.submission or self.failures() > 0
        highest = max((app.highest_executor_id for app in self.state.applications.values()), default=0)
        gone = [pod for pod in self.cluster.current if not pod.exists]
        unheard = gone if forgotten else [pod for pod in gone if pod.facts.uid not in self.heard_of_end]
        self.unseen += sum(everything or pod.facts.executor_id > highest for pod in unheard)

    def is_synced(self) -> None:
        bound = {executor.pod.node for _, executor in self.state.executors() if executor.pod.node}
        absent = tuple(sorted(bound - self.cluster.nodes.keys()))
        self.happens(ev.Synced(at=self.cluster.now, id="synced", absent_nodes=absent))

    def list_nodes(self) -> None:
        self.cluster.node_news.clear()
        for name in sorted(self.state.nodes.keys() - self.cluster.nodes.keys()):
            self.happens(ev.NodeDeleted(at=self.cluster.now, id=f"nodes/{name}", node=name))
        for node in self.cluster.nodes.values():
            self.happens(ev.NodeObserved(at=self.cluster.now, id=f"nodes/{node.name}", node=node))

    def list_pods(self) -> None:
        self.cluster.pod_news.clear()
        for pod in self.cluster.pods:
            if pod.exists:
                self.hear(self.cluster.seen(pod))

    # -- to the end

    def settle(self) -> None:
        """Everything that is late comes through, until there is nothing to do."""
        self.recover(0)
        for _ in range(60):
            self.cluster.allocate()
            while self.cluster.pod_news or self.cluster.node_news or self.flying:
                self.news(0)
                self.answer(0)
            for pod in self.cluster.current:
                self.cluster.start(pod, 0)
            self.finish_all()
            self.tick(5)
            self.check()
            if self.is_calm and not any(pod.counts and not pod.live for pod in self.cluster.current):
                break
        else:
            raise Wrong(f"never calm: {[pod.facts for pod in self.cluster.current if pod.exists]}; {self.flying}")
        while self.cluster.application_news:
            self.hear(self.cluster.application_news.popleft())
        self.check_report()

    def end(self) -> None:
        """The application ends: its driver removes the executors."""
        before = sum(self.state.losses_by_cause.values())
        self.cluster.stop()
        self.settle()
        counted = sum(self.state.losses_by_cause.values()) - before
        if counted > sum(pod.facts.node in self.cluster.sick for pod in self.cluster.current):
            raise Wrong(f"the end of the application is reported as {counted} losses")
        self.cluster.application_changes(ApplicationPhase.SUCCEEDED)
        while self.finish is None and self.cluster.application_news:
            self.news(0)
        if self.finish is None or not self.finish.succeeded:
            raise Wrong("the fleet is not over")
        self.check_journal()

    # -- the oracle

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
        # An executor that was deleted before its placement arrived may or may not count as one that was placed.
        if self.blinded or self.setup.dynamic or not before or not before[-1].patched_alive:
            allowed = {action.seat_pool, ON_DEMAND}
        elif before[-1] is executor:
            allowed = {before[-1].facts.placed_pool}
        elif before[-1].lost == "application":
            allowed = {action.seat_pool} | ({ON_DEMAND} if before[-1].facts.node in self.cluster.sick else set())
        else:
            allowed = {ON_DEMAND}
        if action.pool not in allowed:
            raise Wrong(f"{action}, which may only be on {allowed}")

    def check_report(self) -> None:
        """Everything is news of the past: what is there is explained, and what is reported is true."""
        by_name = {pod.facts.name: pod for pod in self.cluster.pods}
        losses = {loss.id for loss in self.state.losses}
        replaced = {r.executor: r for r in self.state.replacements}
        for facts in [pod.facts for pod in self.cluster.current if pod.live]:
            if facts.placed_pool != facts.seat_pool:
                known = replaced.get(facts.name)
                if known is None or known.loss not in losses or known.pool != facts.placed_pool:
                    raise Wrong(f"fallback {facts} is not explained")
        for loss in self.state.losses:
            pod = by_name.get(loss.executor)
            # Of unknown cause: whoever was asked for before it went, but is seen after that, looks like a replacement.
            true = not pod or pod.lost or pod.facts.node in self.cluster.sick
            if pod and not true and (loss.cause is not Cause.UNKNOWN or pod.live):
                raise Wrong(f"{loss} is reported, but it was not lost")
        if not self.setup.dynamic and not self.cluster.stopping:
            self.check_mix(Counter(self.house().values()))
            self.check_spot_is_not_tried_again()

    def check_spot_is_not_tried_again(self) -> None:
        on_spot = sum(pod.patched_alive and pod.facts.placed_pool != ON_DEMAND for pod in self.cluster.current)
        failures = self.failures()
        seats = sum(pool != ON_DEMAND for pool in self.house().values())
        if on_spot > seats + failures + self.unseen:
            raise Wrong(f"{on_spot} executors were placed on spot for {seats} spot seats and {failures} failures")

    def check_journal(self) -> None:
        """What was written down repeats what was decided."""
        lines = [journal.encode(entry) for entry in self.run.entries]
        read = list(journal.read(lines))
        state, replayed = journal.replay(self.run.first, [entry.event for entry in read])
        if not (replayed == read == self.run.entries and state == self.state):
            raise Wrong("the journal does not repeat the decisions")

    # -- helpers

    def failures(self) -> int:
        return sum(pod.lost == "application" for pod in self.cluster.current)

    def pick(self, which: int, what: Callable[[ModelPod], bool], *, everyone: bool = False) -> ModelPod | None:
        found = [pod for pod in (self.cluster.pods if everyone else self.cluster.current) if what(pod)]
        return found[which % len(found)] if found else None

    def node(self, which: int) -> str:
        return sorted(self.cluster.nodes)[which % len(self.cluster.nodes)]


def play(setup: Setup, steps: list[Step], decide: Decide = controller.decide) -> Simulation:
    """Play the steps, let everything settle, end the application."""
    simulation = Simulation(setup, decide)
    for name, which in steps:
        simulation.step("finish_one" if name == "finish" else name, which)
    simulation.settle()
    simulation.end()
    return simulation


def drawn(seed: int, length: int) -> tuple[Setup, list[Step]]:
    """Steps by chance, the same for the same seed."""
    chance = random.Random(seed)
    setup = Setup(
        ratio=chance.choice(["40:60", "40:60", "1:1", "3:1", "1:0", "2:1:2", "1:1:1:5"]),
        executors=chance.randint(1, 9),
        dynamic=chance.random() < 0.25,
        base=chance.choice([0, 0, 0, 1, 2]),
    )
    names = chance.choices(list(STEPS), weights=list(STEPS.values()), k=length)
    return setup, [(name, chance.randrange(1 << 12)) for name in names]


def shrunk(setup: Setup, steps: list[Step]) -> list[Step]:
    """The steps without those that the failure does not need."""
    size = max(1, len(steps) // 2)
    while size:
        start = 0
        while start < len(steps):
            fewer = steps[:start] + steps[start + size :]
            if fails(setup, fewer):
                steps = fewer
            else:
                start += size
        size //= 2
    return steps


def fails(setup: Setup, steps: list[Step]) -> AssertionError | None:
    """What is wrong, if anything is."""
    try:
        play(setup, steps)
    except AssertionError as error:
        return error
    return None


if __name__ == "__main__":
    count, first = [*map(int, sys.argv[1:]), *(1000, 0)[len(sys.argv) - 1 :]]
    for seed in range(first, first + count):
        setup, steps = drawn(seed, 50 + seed % 200)
        if fails(setup, steps):
            steps = shrunk(setup, steps)
            sys.exit(f"seed {seed}: {setup}\n{steps}\n{fails(setup, steps)}")
        if seed % 500 == 499:
            sys.stdout.write(f"seed {seed}\n")
            sys.stdout.flush()
