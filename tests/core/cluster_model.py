"""A deliberately dumb model of what the controller lives in: Spark's allocator, the API server, nodes, a lazy watch.

It knows nothing of seats or mixes. It keeps the truth (every pod there ever was and what became of it), hands news out
late, and lets API calls fail in the ways they do. What it models of Spark is in docs/architecture.md's terms: numbers
only grow within a submission, and a replacement is asked for once the doomed pod has left Running.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from msgspec.structs import replace

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Place, Remove
from airflow_provider_spotmix.core.events import ApplicationPhase, NodeFacts, PodFacts
from tests.core.vocabulary import APP, NOON

ITN = "aws-node-termination-handler/spot-itn"
MAINTENANCE = "aws-node-termination-handler/scheduled-maintenance"
ADVICE = "aws-node-termination-handler/rebalance-recommendation"


@dataclass
class ModelPod:
    """One executor pod, as the API server has it."""

    facts: PodFacts
    submission: str
    exists: bool = True
    hung: bool = False  # its node is dead: it never ends by itself
    patched_alive: bool = False  # our placement reached it before anybody deleted it
    patched: int = 0  # the how manieth placement that was
    avoid: tuple[str, ...] = ()  # nodes that our placement keeps it off; it tolerates whatever they are tainted with
    lost: str = ""  # why it went, when it was not the application's own will

    @property
    def live(self) -> bool:
        return self.exists and not self.facts.deleting and not self.facts.ended

    @property
    def counts(self) -> bool:
        """Whether Spark takes it for there: a pod that is deleted counts until it leaves Running."""
        return self.exists and not self.facts.ended and not (self.facts.deleting and self.facts.phase != "Running")


def why_removed(action: Remove) -> str:
    """Why the controller removes an executor: a notice, spot that is not to be had, a seat's return."""
    if action.reason.startswith("notice: "):
        return "noticed"
    return "removed" if action.unless_bound else "returned"


class Cluster:
    """The truth, and the news of it that is still on the way."""

    def __init__(self, wanted: int, pools: list[str]) -> None:
        self.wanted = wanted
        self.clock = 0.0
        self.submission = 1
        self.last_id = 0
        self.serial = 0
        self.pods: list[ModelPod] = []
        self.nodes: dict[str, NodeFacts] = {}
        # One watch per kind: each is in order, and none knows how far the others are.
        self.pod_news: deque[ev.AnyEvent] = deque()
        self.node_news: deque[ev.AnyEvent] = deque()
        self.application_news: deque[ev.AnyEvent] = deque()
        self.phase = ApplicationPhase.RUNNING
        self.stopping = False
        self.sick: set[str] = set()  # nodes that were ever in trouble
        self.noticed: set[str] = set()  # nodes whose end was ever announced for sure
        self.droughts: set[str] = set()  # pools that have no nodes to give
        for pool in pools:
            for number in range(2):
                self.node_changes(NodeFacts(name=f"{pool}-{number}"))
        self.application_changes(ApplicationPhase.RUNNING)

    # -- Spark

    @property
    def current(self) -> list[ModelPod]:
        """Pods of the driver's current submission."""
        return [pod for pod in self.pods if pod.submission == f"sub-{self.submission}"]

    def allocate(self, batch: int = 3) -> None:
        """Ask for what is missing, a batch at a time."""
        if self.stopping:
            return
        missing = self.wanted - sum(pod.counts for pod in self.current)
        for _ in range(min(batch, missing)):
            self.last_id += 1
            self.serial += 1
            name = f"{APP}-{self.submission}-exec-{self.last_id}"
            facts = PodFacts(
                uid=f"uid-{self.serial}",
                name=name,
                executor_id=self.last_id,
                gated=True,
                created_at=NOON + self.serial,
            )
            pod = ModelPod(facts, f"sub-{self.submission}")
            self.pods.append(pod)
            self.change(pod)

    def scale(self, wanted: int) -> None:
        """Dynamic allocation: let the newest go when there are too many."""
        self.wanted = wanted
        for pod in [pod for pod in self.current if pod.live][wanted:]:
            self.delete(pod)

    def restart_driver(self) -> None:
        """The operator starts the driver again; what is left of the old submission is being removed."""
        for pod in self.current:
            if pod.live:
                self.delete(pod)
        self.submission += 1
        self.last_id = 0

    def stop(self) -> None:
        """The driver is done: it deletes its executors."""
        self.stopping = True
        for pod in self.current:
            if pod.live:
                self.delete(pod)

    def application_changes(self, phase: ApplicationPhase) -> None:
        self.phase = phase
        self.application_news.append(self.application_event())

    def application_event(self) -> ev.ApplicationObserved:
        return ev.ApplicationObserved(
            at=self.now, id=f"app@{self.clock:g}", application=APP, uid="app", phase=self.phase, state=self.phase.name
        )

    # -- pods

    @property
    def now(self) -> float:
        return NOON + self.clock

    def change(self, pod: ModelPod, **facts: object) -> None:
        pod.facts = replace(pod.facts, **facts)
        self.pod_news.append(self.seen(pod))

    def seen(self, pod: ModelPod) -> ev.ExecutorObserved:
        return ev.ExecutorObserved(
            at=self.now,
            id=f"pods/{pod.facts.uid}@{self.clock:g}",
            application=APP,
            submission=pod.submission,
            pod=pod.facts,
        )

    def removed(self, pod: ModelPod, *, facts: PodFacts | None = None) -> ev.ExecutorDeleted:
        return ev.ExecutorDeleted(
            at=self.now,
            id=f"pods/{pod.facts.uid}@{self.clock:g}",
            application=APP,
            submission=pod.submission,
            pod=facts or pod.facts,
            estimated=facts is not None,
        )

    def patch(self, action: Place) -> bool:
        """Our placement arrives: it takes the gate away, or finds it gone."""
        pod = self.by_uid(action.uid)
        if not pod.exists or not pod.facts.gated:
            return False
        pod.patched_alive = pod.live
        pod.avoid = action.avoid
        pod.patched = 1 + max(other.patched for other in self.pods)
        self.change(
            pod,
            gated=False,
            seat=action.seat,
            seat_pool=action.seat_pool,
            placed_pool=action.pool,
            placed_at=action.at,
            fallback=action.fallback,
        )
        return True

    def remove_executor(self, action: Remove) -> bool:
        """Our deletion arrives; not done when the pod has got its node, as the precondition says."""
        pod = self.by_uid(action.uid)
        if action.unless_bound and pod.facts.node:
            return False
        self.delete(pod, lost=why_removed(action))
        return True

    def by_uid(self, uid: str) -> ModelPod:
        return next(pod for pod in self.pods if pod.facts.uid == uid)

    def start(self, pod: ModelPod, which: int) -> None:
        """Scheduler and kubelet: a placed pod is bound to a ready node of its pool and runs."""
        pool = (node for node in self.nodes.values() if node.name.startswith(pod.facts.placed_pool))
        names = sorted(node.name for node in pool if node.ready and node.name not in pod.avoid)
        if not pod.live or pod.facts.gated or pod.facts.node:
            return
        if names and pod.facts.placed_pool not in self.droughts:
            node = names[which % len(names)]
            self.change(pod, node=node, phase="Running", scheduled_at=self.now, unschedulable="")
        elif not pod.facts.unschedulable:
            self.change(pod, unschedulable="no node")

    def delete(self, pod: ModelPod, *, lost: str = "", disruption: str = "") -> None:
        if pod.live:
            pod.lost = lost or ("node" if pod.facts.node in self.sick else "")
            self.change(pod, deleting=True, disruption=disruption)

    def fail(self, pod: ModelPod) -> None:
        """Out of memory: the executor's own fault."""
        if pod.live and pod.facts.phase == "Running" and not pod.hung:
            pod.lost = "application"
            self.change(pod, phase="Failed", exit_code=137, exit_reason="OOMKilled")

    def finish(self, pod: ModelPod) -> None:
        """Take a doomed pod one step further: its process ends, then its object goes."""
        if not pod.exists or pod.live or pod.hung:
            return
        if pod.facts.phase == "Running":
            self.change(pod, phase="Failed", exit_code=143, finished_at=self.now)
        elif not pod.facts.deleting:
            self.change(pod, deleting=True)  # Spark removes what has failed
        else:
            self.remove(pod)

    def remove(self, pod: ModelPod) -> None:
        if pod.exists:
            pod.exists = False
            self.pod_news.append(self.removed(pod))

    def rescue(self, uid: str) -> bool:
        """Delete, mark Failed, force-delete, as the applier does; False when the node is there again."""
        pod = self.by_uid(uid)
        node = self.nodes.get(pod.facts.node)
        if node is not None and node.ready:
            return False
        if pod.exists:
            pod.lost = pod.lost or "node"
            if not pod.facts.deleting:
                self.change(pod, deleting=True)
            self.change(pod, phase="Failed", reason="NodeLost")
            self.remove(pod)
        return True

    # -- nodes

    def node_changes(self, node: NodeFacts) -> None:
        if not node.ready or node.taints:
            self.sick.add(node.name)
        self.nodes[node.name] = node
        self.node_news.append(ev.NodeObserved(at=self.now, id=f"nodes/{node.name}@{self.clock:g}", node=node))

    def kill_node(self, name: str) -> None:
        """The machine is gone: nothing on it ends by itself any more."""
        self.node_changes(replace(self.nodes[name], ready=False))
        for pod in self.pods:
            if pod.exists and pod.facts.node == name:
                pod.hung = True

    def mark_node(self, name: str, *taints: str) -> None:
        """Somebody says that the node will go, or takes that back."""
        self.noticed |= {name} if {ITN, MAINTENANCE} & {*taints} else set()
        self.node_changes(replace(self.nodes[name], taints=taints))
        pool = name.rpartition("-")[0]
        if all(node.taints for node in self.nodes.values() if node.name.rpartition("-")[0] == pool):
            self.serial += 1
            self.node_changes(NodeFacts(name=f"{pool}-{self.serial + 10}"))

    def revive_node(self, name: str) -> None:
        """It was only a network partition."""
        self.node_changes(replace(self.nodes[name], ready=True))
        for pod in self.pods:
            if pod.facts.node == name:
                pod.hung = False

    def delete_node(self, name: str) -> None:
        self.kill_node(name)
        del self.nodes[name]
        self.node_news.append(ev.NodeDeleted(at=self.now, id=f"nodes/{name}", node=name))
        self.serial += 1
        pool = name.rpartition("-")[0]
        self.node_changes(NodeFacts(name=f"{pool}-{self.serial + 10}"))
