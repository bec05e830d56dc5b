"""What really happened in a namespace, told by the audit log alone: the life of every executor, node, Lease and hold.

Shares no code with the package under test: names of labels and objects are spelled out here, as a user would read them.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.audit import Line, seconds

GATE = "spotmix.io/placement"
SEAT, SEAT_POOL, PLACED_POOL = "spotmix.io/seat", "spotmix.io/seat-pool", "spotmix.io/placed-pool"
# A controller renews its Lease every 2 s, so for so long after a renewal it is taken for up and connected.
RENEWAL_COVERS_SECONDS = 3.0
# And so long after one, at the least, its Lease has not lapsed.
LAPSES_SECONDS = 5.5

NOBODY = ""

Json = dict[str, Any]
Span = tuple[float, float]


@dataclass
class Executor:
    """An executor pod from its creation to its end. Times are the API server's; None for what never was."""

    uid: str
    name: str
    number: int
    submission: str
    created: float
    ungated: float | None = None
    placed_by: str = ""
    seat: int | None = None
    seat_pool: str = ""
    placed_pool: str = ""
    scheduled: float | None = None
    node: str = ""
    running: float | None = None
    ended: float | None = None
    finished: float | None = None
    killed_by_memory: bool = False
    deleting: float | None = None
    deleted_by: str = ""
    disruption: str = ""
    reason: str = ""
    gone: float | None = None

    @property
    def left(self) -> float | None:
        """When it was no longer a living executor."""
        return min((at for at in (self.ended, self.deleting, self.gone) if at is not None), default=None)

    @property
    def released_node(self) -> float | None:
        """When its process was over, as far as anybody can tell."""
        if self.finished is not None:
            return self.finished
        return min((at for at in (self.ended, self.gone) if at is not None), default=None)

    def is_live(self, at: float) -> bool:
        """Whether it was there then, and not about to go."""
        return self.created <= at and (self.left is None or self.left > at)

    def is_gated(self, at: float) -> bool:
        """Whether it waited then to be placed."""
        return self.is_live(at) and (self.ungated is None or self.ungated > at)


@dataclass
class Node:
    """A node: when it was not ready, tainted as going, gone, or spoken of in an Event."""

    name: str
    unready: float | None = None
    tainted: float | None = None
    gone: float | None = None
    told: float | None = None

    def in_trouble(self, at: float) -> bool:
        """Whether the API server had any word of trouble by then."""
        return any(since is not None and since <= at for since in (self.unready, self.tainted, self.gone, self.told))


@dataclass
class History:
    """Everything, in the order in which the API server answered."""

    executors: dict[str, Executor] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    states: list[tuple[float, str]] = field(default_factory=list)  # of the application, in the operator's words
    application_deleted: tuple[float, str] | None = None
    namespace_deleted: bool = False
    renewals: dict[str, list[float]] = field(default_factory=dict)  # by Lease
    released: dict[str, float] = field(default_factory=dict)  # Leases that are deleted
    deletions: dict[str, list[float]] = field(default_factory=dict)  # of Leases
    owner: dict[str, str] = field(default_factory=dict)  # actor by Lease
    holds: list[tuple[float, str]] = field(default_factory=list)  # Leases that checkpoints name as holder
    writes: list[tuple[float, str]] = field(default_factory=list)  # of the checkpoint, by which Lease
    submissions: list[tuple[float, str]] = field(default_factory=list)
    checkpoint_deleted: list[float] = field(default_factory=list)
    controllers: set[str] = field(default_factory=set)
    written: list[tuple[str, str]] = field(default_factory=list)  # what controllers wrote: where, and the text

    @property
    def over(self) -> float | None:
        """When the application had ended, or was being deleted."""
        ends = [at for at, word in self.states if word in ("COMPLETED", "FAILED")]
        ends += [self.application_deleted[0]] if self.application_deleted else []
        return min(ends, default=None)

    @property
    def last(self) -> float:
        """The last moment that anybody wrote of."""
        times = [at for each in self.renewals.values() for at in each]
        times += [at for e in self.executors.values() for at in (e.created, e.gone or 0.0)]
        return max([*times, *(at for at, _ in self.states)], default=0.0)

    def of(self, submission: str) -> list[Executor]:
        """Executors of a submission, in the order of their creation."""
        return sorted((e for e in self.executors.values() if e.submission == submission), key=lambda e: e.number)

    def alive(self) -> list[Span]:
        """Times in which some controller was up and connected."""
        return joined(
            (at, min(at + RENEWAL_COVERS_SECONDS, self.released.get(lease, at + RENEWAL_COVERS_SECONDS)))
            for lease, times in self.renewals.items()
            for at in times
        )

    def in_charge(self) -> list[Span]:
        """Times in which the controller that held the fleet was up and connected."""
        found = []
        for lease, times in self.renewals.items():
            for hold in self._unbroken(lease, times):
                # After a lapse the fleet has to be claimed again, which is a write of the checkpoint.
                claimed = [at for at, holder in self.writes if holder == lease and at >= hold[0]]
                since = min(claimed, default=hold[-1] + LAPSES_SECONDS)
                until = min((at for at, holder in self.holds if holder != lease and at > since), default=self.last + 9)
                found += [(max(at, since), min(at + RENEWAL_COVERS_SECONDS, until)) for at in hold]
        return joined(found)

    def _unbroken(self, lease: str, renewals: list[float]) -> list[list[float]]:
        """Renewals between which the Lease neither lapsed nor was deleted."""
        found: list[list[float]] = []
        for at in renewals:
            before = found[-1][-1] if found else at
            deleted = any(before < moment <= at for moment in self.deletions.get(lease, ()))
            if not found or at - before > LAPSES_SECONDS or deleted:
                found.append([])
            found[-1].append(at)
        return found

    def holder(self, at: float) -> tuple[float, str]:
        """Since when which actor held the fleet then."""
        before = [(since, self.owner.get(lease, "")) for since, lease in self.holds if since <= at]
        held_by = before[-1][1] if before else ""
        since = at
        for begun, actor in reversed(before):
            if actor != held_by:
                break
            since = begun
        return since, held_by


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same times as spans that do not overlap."""
    found: list[Span] = []
    for begin, end in sorted(span for span in spans if span[1] > span[0]):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def overlap(one: Span, spans: Iterable[Span]) -> list[Span]:
    """The parts of a span that lie in others."""
    return [(max(one[0], a), min(one[1], b)) for a, b in spans if max(one[0], a) < min(one[1], b)]


def read(lines: Iterable[Line], *, controller: str) -> History:
    """Read the lines of one namespace and its nodes; ``controller``: what the names of our controllers begin with."""
    history = History()
    for line in sorted(lines, key=lambda line: line.at):
        if not line.succeeded:
            continue
        if line.actor.startswith(controller):
            history.controllers.add(line.actor)
            _note_writing(history, line)
        if reader := _READERS.get(line.resource):
            reader(history, line)
    return history


def _pods(history: History, line: Line) -> None:
    if line.verb == "deletecollection":
        for pod in line.answer().get("items") or ():
            _pod(history, line, pod)
    elif line.subresource == "eviction":
        for executor in history.executors.values():
            if executor.name == line.name and executor.gone is None:
                _is_deleted(executor, line, at_once=executor.scheduled is None)
                executor.disruption = executor.disruption or "EvictionByEvictionAPI"
    elif answer := line.answer():
        _pod(history, line, answer)
    else:
        _pod_without_answer(history, line)


def _pod_without_answer(history: History, line: Line) -> None:
    """Of a deletion that was done at once; a binding shows in what the kubelet answers later."""
    for executor in history.executors.values():
        if line.verb == "delete" and executor.name == line.name:
            _is_deleted(executor, line, at_once=True)


def _pod(history: History, line: Line, pod: Json) -> None:
    metadata = pod.get("metadata") or {}
    marks = metadata.get("labels") or {}
    if marks.get("spark-role") != "executor" or not metadata.get("uid"):
        return
    executor = history.executors.get(metadata["uid"])
    if executor is None:
        submission = marks["spark-app-selector"]
        executor = Executor(metadata["uid"], metadata["name"], int(marks["spark-exec-id"]), submission, line.at)
        history.executors[executor.uid] = executor
        if submission not in [known for _, known in history.submissions]:
            history.submissions.append((line.at, submission))
    _see_placement(executor, line, pod)
    _see_status(executor, line, pod.get("status") or {})
    if line.verb == "deletecollection":  # it answers with what was there before
        _is_deleted(executor, line, at_once=not executor.node)
    elif line.verb == "delete":
        _is_deleted(executor, line, at_once=not metadata.get("deletionGracePeriodSeconds"))


def _see_placement(executor: Executor, line: Line, pod: Json) -> None:
    gates = [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()]
    marks = pod["metadata"].get("labels") or {}
    if executor.ungated is None and GATE not in gates:
        executor.ungated, executor.placed_by = line.at, line.actor
    if SEAT in marks:
        executor.seat, executor.seat_pool = int(marks[SEAT]), marks.get(SEAT_POOL, "")
        executor.placed_pool = marks.get(PLACED_POOL, "")
    executor.node = pod["spec"].get("nodeName") or executor.node


def _see_status(executor: Executor, line: Line, status: Json) -> None:
    for condition in status.get("conditions") or ():
        if condition["status"] != "True":
            continue
        if condition["type"] == "PodScheduled":
            executor.scheduled = seconds(condition["lastTransitionTime"])
        if condition["type"] == "DisruptionTarget":
            executor.disruption = condition.get("reason", "")
    if status.get("phase") == "Running" and executor.running is None:
        executor.running = line.at
    if status.get("phase") in ("Failed", "Succeeded") and executor.ended is None:
        executor.ended, executor.reason = line.at, status.get("reason") or ""
    for container in status.get("containerStatuses") or ():
        if ended := (container.get("state") or {}).get("terminated"):
            executor.finished = executor.finished or seconds(ended["finishedAt"])
            executor.killed_by_memory = ended.get("reason") == "OOMKilled"


def _is_deleted(executor: Executor, line: Line, *, at_once: bool) -> None:
    if executor.deleting is None:
        executor.deleting, executor.deleted_by = line.at, line.actor
    if at_once and executor.gone is None:
        executor.gone = line.at


def _node(history: History, line: Line) -> None:
    node = history.nodes.setdefault(line.name, Node(line.name))
    if line.verb == "delete":
        node.gone = node.gone or line.at
        return
    answer = line.answer()
    taints = {taint["key"] for taint in (answer.get("spec") or {}).get("taints") or ()}
    if node.tainted is None and any(not key.startswith("karpenter.sh/capacity-type") for key in taints - _OF_BIRTH):
        node.tainted = line.at
    conditions = (answer.get("status") or {}).get("conditions") or ()
    if node.unready is None and any(c["type"] == "Ready" and c["status"] != "True" for c in conditions):
        node.unready = line.at


# On a node that has just registered.
_OF_BIRTH = {"node.kubernetes.io/not-ready", "node.cloudprovider.kubernetes.io/uninitialized"}


def _application(history: History, line: Line) -> None:
    if line.verb == "delete":
        history.application_deleted = history.application_deleted or (line.at, line.actor)
    word = ((line.answer().get("status") or {}).get("applicationState") or {}).get("state", "")
    if word and (not history.states or history.states[-1][1] != word):
        history.states.append((line.at, word))


def _lease(history: History, line: Line) -> None:
    if line.verb == "delete":
        history.released.setdefault(line.name, line.at)
        history.deletions.setdefault(line.name, []).append(line.at)
        if history.holds and history.holds[-1][1] == line.name:
            history.holds.append((line.at, NOBODY))  # until its controller has claimed the fleet again
        return
    name = line.name or (line.answer().get("metadata") or {}).get("name", "")
    history.owner.setdefault(name, line.actor)
    history.renewals.setdefault(name, []).append(line.at)
    history.released.pop(name, None)


def _config_map(history: History, line: Line) -> None:
    text = ((line.answer().get("data")) or {}).get("checkpoint")
    if line.verb == "delete":
        if history.over is None:  # later it goes with the application
            history.checkpoint_deleted.append(line.at)
    elif text and line.actor not in history.controllers:
        history.checkpoint_deleted.append(line.at)  # it is spoilt, so what was written there is gone all the same
    elif text:
        holder = f"spotmix-{json.loads(plain(text)).get('holder', '')}"
        history.writes.append((line.at, holder))
        if not history.holds or history.holds[-1][1] != holder:
            history.holds.append((line.at, holder))


def plain(checkpoint: str) -> str:
    """A checkpoint's JSON: a long one is written compressed."""
    mark = "zlib+base64:"
    if not checkpoint.startswith(mark):
        return checkpoint
    return zlib.decompress(base64.b64decode(checkpoint[len(mark) :])).decode()


def _note_writing(history: History, line: Line) -> None:
    """What a controller wrote is what it sent, apart from applications, which are the person's own words."""
    if line.resource == "sparkapplications":
        return
    text = bytes(line.sent).decode()
    checkpoint = (line.answer().get("data") or {}).get("checkpoint") if line.resource == "configmaps" else None
    history.written.append((f"{line.resource}/{line.name}", text + (plain(checkpoint) if checkpoint else "")))


def _namespace(history: History, line: Line) -> None:
    """Its application goes with it."""
    if line.verb == "delete" and not line.subresource:
        history.namespace_deleted = True
        history.application_deleted = history.application_deleted or (line.at, line.actor)


def _event(history: History, line: Line) -> None:
    """A node's trouble may be told in an Event before anything of the Node changes."""
    event = line.answer()
    thing = event.get("involvedObject") or {}
    if thing.get("kind") == "Node" and event.get("reason") not in _OF_HEALTH:
        node = history.nodes.setdefault(thing["name"], Node(thing["name"]))
        node.told = node.told or line.at


# That a node is there, as Kubernetes' own controllers say.
_OF_HEALTH = {"RegisteredNode", "NodeReady"}

_READERS = {
    "pods": _pods,
    "nodes": _node,
    "sparkapplications": _application,
    "leases": _lease,
    "configmaps": _config_map,
    "namespaces": _namespace,
    "events": _event,
}
