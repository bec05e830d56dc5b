"""Golden scenarios: text files with what happens and, below each step, what was decided. Made to be read.

Blocks are separated by empty lines. A block is commands, a line ``----``, and the actions they led to. Rewrite the
actions of all files after an intended change, and read the diff: ``python -m tests.core.scenario``.

Commands (N: executor numbers, as in ``2`` or ``1-5``):

    fleet 40:60 executors=5 [base=1] [dynamic]     a controller starts; nothing has been seen yet [also POLICY=VALUE]
    at SECONDS                                     the clock
    synced [absent=NODE]                           everything has been read
    app PHASE [MESSAGE]                            pending, running, succeeded, failed
    node NAME [not-ready] [leaving] [shutting-down] [taint=KEY]    the node was read
    events NAME [REASON]                           the node's Events were read
    node NAME gone                                 the node was deleted
    ask N [submission=S]                           Spark asks for executors: gated pods appear
    accept N                                       the API server accepts what was decided, the watch lags
    refuse N                                       the API server refuses it
    see N                                          the watch shows the pods as they are now
    run N [node=NAME]                              accepted, bound (to a node named POOL-SEAT) and running, all seen
    pend N                                         accepted, and the scheduler has no node for them
    delete N / evict N / fail N / oom N / end N    the pods are going, as the watch shows it
    gone N                                         the pods' objects are deleted
    tick                                           time passed
    vanish N                                       the pods' objects are deleted and nobody sees it
    controller killed [checkpoint=none]            a new one reads the last checkpoint and everything that is there
    show                                           seats and placed executors by pool, vacant seats
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import (
    AnyAction,
    Finish,
    Inquire,
    Place,
    Remove,
    Rescue,
    Resubmit,
    SaveCheckpoint,
    Tell,
)
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.events import ApplicationPhase, PodFacts
from airflow_provider_spotmix.core.state import FleetState, violations
from tests.core import vocabulary as say

FILES = Path(__file__).parent / "scenarios"
RULE = "----"


class Scenario:
    """A controller and the little of a cluster that it needs, driven by commands."""

    def __init__(self) -> None:
        self.state: FleetState
        self.clock = 0.0
        self.submission = "sub-1"
        self.pods: dict[int, PodFacts] = {}
        self.seats: dict[int, Place] = {}
        self.nodes: dict[str, ev.NodeObserved] = {}
        self.application: ev.AnyEvent | None = None
        self.saved: str | None = None
        self.said: list[str] = []

    def do(self, line: str) -> list[str]:
        """Carry out a command; what was decided, as text."""
        word, *rest = line.split()
        options = dict(part.split("=", 1) for part in rest if "=" in part)
        arguments = [part for part in rest if "=" not in part]
        self.said = []
        command: Callable[..., None] = getattr(self, f"do_{word}")
        command(*arguments, **options)
        return self.said

    def happens(self, event: ev.AnyEvent) -> None:
        decision = decide(self.state, event)
        self.state = decision.state
        assert violations(self.state) == []
        for action in decision.actions:
            if isinstance(action, Place):
                self.seats[say.number_of(action.pod)] = action
            if isinstance(action, SaveCheckpoint):
                self.saved = cp.encode(cp.take(self.state, holder="me"))
            self.said.append(text(action))

    # -- commands

    def do_fleet(self, ratio: str, *flags: str, executors: str = "5", base: str = "0", **policy: str) -> None:
        settings: dict[str, Any] = {name: value if name == "fallback" else int(value) for name, value in policy.items()}
        self.state = FleetState.new(
            say.fleet(ratio, executors=int(executors), base=int(base), dynamic="dynamic" in flags, **settings)
        )

    def do_at(self, seconds: str) -> None:
        self.clock = float(seconds)

    def do_synced(self, absent: str = "") -> None:
        self.happens(say.synced(self.clock, *filter(None, [absent])))

    def do_app(self, phase: str, *words: str) -> None:
        self.application = say.application(ApplicationPhase(phase), self.clock, message=" ".join(words))
        self.happens(self.application)

    def do_node(self, name: str, *words: str, taint: str = "") -> None:
        if "gone" in words:
            self.nodes.pop(name, None)
            self.happens(say.node_gone(name, self.clock))
            return
        taints = tuple(filter(None, [taint]))
        self.nodes[name] = say.node(
            name,
            self.clock,
            ready="not-ready" not in words,
            taints=taints,
            deleting="leaving" in words,
            shutting_down="shutting-down" in words,
        )
        self.happens(self.nodes[name])

    def do_events(self, name: str, *reasons: str) -> None:
        self.happens(say.explained(name, *reasons, at=self.clock))

    def do_ask(self, which: str, submission: str = "") -> None:
        self.submission = submission or self.submission
        for number in numbers(which):
            uid = f"uid-{number}" if self.submission == "sub-1" else f"uid-{self.submission}-{number}"
            self.pods[number] = say.pod(number, uid=uid)
            self.see(number)

    def do_accept(self, which: str) -> None:
        for number in numbers(which):
            self.patch(number)
            self.happens(replace(say.done(number, self.clock), uid=self.pods[number].uid))

    def do_refuse(self, which: str) -> None:
        for number in numbers(which):
            self.happens(say.refused(number, self.clock))

    def do_see(self, which: str) -> None:
        for number in numbers(which):
            self.see(number)

    def do_run(self, which: str, node: str = "") -> None:
        for number in numbers(which):
            self.do_accept(str(number))
            seat = self.seats[number]
            where = node or f"{seat.pool}-{seat.seat}"
            self.change(number, phase="Running", node=where, scheduled_at=say.NOON + self.clock)

    def do_pend(self, which: str) -> None:
        for number in numbers(which):
            self.do_accept(str(number))
            self.change(number, placed_at=say.NOON + self.clock, unschedulable="0/9 nodes are available")

    def do_delete(self, which: str) -> None:
        for number in numbers(which):
            self.change(number, deleting=True)

    def do_evict(self, which: str) -> None:
        for number in numbers(which):
            self.change(number, deleting=True, disruption="EvictionByEvictionAPI")

    def do_fail(self, which: str) -> None:
        for number in numbers(which):
            self.change(number, phase="Failed", exit_code=1, exit_reason="Error")

    def do_oom(self, which: str) -> None:
        for number in numbers(which):
            self.change(number, phase="Failed", exit_code=137, exit_reason="OOMKilled")

    def do_end(self, which: str) -> None:
        for number in numbers(which):
            self.change(number, phase="Succeeded", exit_code=0, exit_reason="Completed")

    def do_gone(self, which: str) -> None:
        for number in numbers(which):
            self.happens(say.gone(self.pods.pop(number), self.clock, submission=self.submission))

    def do_vanish(self, which: str) -> None:
        for number in numbers(which):
            del self.pods[number]

    def do_tick(self) -> None:
        self.happens(say.tick(self.clock))

    def do_controller(self, _killed: str, checkpoint: str = "") -> None:
        self.state = FleetState.new(self.state.spec)
        if self.saved and not checkpoint:
            self.state = cp.restore(self.state, cp.decode(self.saved))
        for node in self.nodes.values():
            self.happens(node)
        for number in self.pods:
            self.see(number)
        if self.application:
            self.happens(self.application)
        self.do_synced()

    def do_show(self) -> None:
        for app in self.state.applications.values():
            vacant = [f"{v.loss.seat} ({v.loss.seat_pool})" for v in app.vacancies.values()]
            self.said.append(f"seats: {_counts(app.seats())}; placed: {_counts(self.state.placed())}")
            self.said += [f"vacant: {', '.join(vacant)}"] if vacant else []

    # -- the cluster

    def patch(self, number: int) -> None:
        seat = self.seats[number]
        self.pods[number] = replace(
            self.pods[number], gated=False, seat=seat.seat, seat_pool=seat.seat_pool, placed_pool=seat.pool
        )

    def change(self, number: int, **facts: object) -> None:
        self.pods[number] = replace(self.pods[number], **facts)
        self.see(number)

    def see(self, number: int) -> None:
        self.happens(say.observed(self.pods[number], self.clock, submission=self.submission))


def text(action: AnyAction) -> str:
    """One line for an action."""
    match action:
        case Place():
            seat = f"seat {action.seat} ({action.seat_pool})"
            away = f", away from {', '.join(action.avoid)}" if action.avoid else ""
            return f"place {action.pod}: {seat} on {action.pool}{away}: {action.reason}"
        case Remove():
            unless = " unless it has a node" if action.unless_bound else ""
            return f"remove {action.pod}{unless}: {action.reason}"
        case Inquire():
            return f"inquire why {action.node} goes"
        case Rescue():
            return f"rescue {action.pod} from {action.node}"
        case Tell():
            return f"{'warn' if action.warning else 'tell'}: {action.message}"
        case Resubmit():
            return f"resubmit {action.application} as {action.replacement} on {action.pool}"
        case SaveCheckpoint():
            return "save checkpoint"
        case Finish():
            return f"finish: {'succeeded' if action.succeeded else 'failed'}" + (
                f": {action.message}" if action.message else ""
            )


def numbers(which: str) -> range:
    """The numbers of ``2`` or ``1-5``."""
    first, _, last = which.partition("-")
    return range(int(first), int(last or first) + 1)


def played(given: str) -> str:
    """The scenario with the actions as they are now."""
    scenario = Scenario()
    return "\n\n".join(_block(scenario, block) for block in given.strip().split("\n\n")) + "\n"


def files() -> list[Path]:
    return sorted(FILES.glob("*.txt"))


def _block(scenario: Scenario, block: str) -> str:
    head, rule, _ = block.partition(RULE)
    lines = [line for line in head.splitlines() if line.strip()]
    commands = [line for line in lines if not line.startswith("#")]
    if not commands:
        return block.strip()
    said = [said for command in commands for said in scenario.do(command)]
    return "\n".join([*lines, rule or RULE, *said])


def _counts(counts: object) -> str:
    items: Iterator[tuple[str, int]] = iter(sorted(dict(counts).items()))  # type: ignore[call-overload]
    return ", ".join(f"{count} {pool}" for pool, count in items) or "none"


if __name__ == "__main__":
    for file in files():
        before = file.read_text()
        if before != (now := played(before)):
            file.write_text(now)
            sys.stdout.write(f"rewrote {file.name}\n")
