"""A controller in the model cluster, under whatever a list of steps does to both; the oracle watches every step."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import controller, journal
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import AnyAction, Finish, Place, Remove, Rescue, SaveCheckpoint
from airflow_provider_spotmix.core.events import ApplicationPhase, PodFacts
from airflow_provider_spotmix.core.state import FleetState, violations
from tests.core.cluster_model import ADVICE, ITN, MAINTENANCE, ModelPod
from tests.core.oracle import Oracle, Run, Setup, Wrong

Decide = Callable[[FleetState, ev.AnyEvent], controller.Decision]
Step = tuple[str, int]


class Simulation(Oracle):
    """The controller, the calls and the news on the way."""

    def __init__(self, setup: Setup, decide: Decide = controller.decide) -> None:
        super().__init__(setup)
        self.decide = decide
        self.up = False
        self.known: dict[str, PodFacts] = {}
        self.heard_of_end: set[str] = set()
        self.writes: list[str] = []
        self.finish: Finish | None = None
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
            case Remove():
                self.check_removal(action)
                self.unwanted.add(action.uid)
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

    def drought(self, which: int) -> None:
        """A pool has no more nodes to give, or has some again."""
        pools = [pool.name for pool in self.spec.pools if pool.is_spot]
        self.cluster.droughts ^= {pools[which % len(pools)]}

    def notice(self, which: int) -> None:
        """A node's end is announced; at times only that it may come."""
        self.cluster.mark_node(self.node(which), (ITN, ITN, MAINTENANCE, ADVICE)[which % 4])

    def withdraw(self, which: int) -> None:
        marked = sorted(name for name, node in self.cluster.nodes.items() if node.taints)
        if marked:
            self.cluster.mark_node(marked[which % len(marked)])

    def drain(self, which: int) -> None:
        """The autoscaler scales down: all executors of a node are evicted."""
        name = self.node(which)
        self.cluster.mark_node(name, "ToBeDeletedByClusterAutoscaler")
        for pod in self.cluster.current:
            if pod.live and pod.facts.node == name:
                self.cluster.delete(pod, lost="evicted", disruption="EvictionByEvictionAPI")

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

    def arrive(self, action: Place | Rescue | Remove) -> None:
        if isinstance(action, Remove):
            if not self.cluster.remove_executor(action):
                self.no_answer(action, look=True)
        elif isinstance(action, Rescue):
            if not self.cluster.rescue(action.uid):
                self.happens(ev.RescueFailed(at=self.cluster.now, uid=action.uid))
        elif self.cluster.patch(action):
            self.happens(ev.PlaceDone(at=self.cluster.now, uid=action.uid))
        else:
            self.no_answer(action, look=True)

    def refuse(self, which: int) -> None:
        if self.flying:
            action = self.flying.pop(which % len(self.flying))
            if isinstance(action, Place | Remove):
                self.no_answer(action, look=bool(which & 1))
            else:
                self.happens(ev.RescueFailed(at=self.cluster.now, uid=action.uid))

    def lose_answer(self, which: int) -> None:
        """The API server does what it is told, and the answer never comes."""
        if self.flying:
            action = self.flying.pop(which % len(self.flying))
            self.take_effect(action)
            if isinstance(action, Place | Remove):
                self.no_answer(action, look=bool(which & 1))
            else:
                self.happens(ev.RescueFailed(at=self.cluster.now, uid=action.uid))

    def take_effect(self, action: Place | Rescue | Remove) -> None:
        match action:
            case Place():
                self.cluster.patch(action)
            case Rescue():
                self.cluster.rescue(action.uid)
            case Remove():
                self.cluster.remove_executor(action)

    def no_answer(self, action: Place | Remove, *, look: bool) -> None:
        """As the applier: look at the pod, if that can be had, then say that it failed; nothing if it is gone."""
        pod = self.cluster.by_uid(action.uid)
        if not pod.exists and look:
            return
        if look:
            self.happens(self.cluster.seen(pod))
        if isinstance(action, Place):
            self.happens(ev.PlaceFailed(at=self.cluster.now, uid=action.uid, reason="no answer"))
        else:
            self.happens(ev.RemoveFailed(at=self.cluster.now, uid=action.uid))

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
                self.take_effect(action)
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
        self.asked, self.probes = set(), {} if forgotten else self.probes
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
        self.cluster.droughts = set()
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
        self.check_notices(uid for uid, pod in self.known.items() if pod.node)

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

    # -- helpers

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
