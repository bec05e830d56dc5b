"""The oracle on handwritten audit logs: a fleet as it should be is right, and each thing that must not be is found."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.chaos import actors, audit
from tests.chaos.history import read
from tests.chaos.oracle import judge
from tests.chaos.play import Evidence
from tests.chaos.schedule import Schedule, Setup

NOON = 1795435200.0
CONTROLLER, RIVAL = f"{actors.CONTROLLER}-1", f"{actors.CONTROLLER}-2"
SECRET = "canary-1"


def stamp(at: float) -> str:
    return dt.datetime.fromtimestamp(NOON + at, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def line(at: float, actor: str, verb: str, resource: str, name: str, answer: Any, **more: Any) -> audit.Line:
    """One line of an audit log, as the API server writes it."""
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": "admin"},
        "impersonatedUser": {"username": actor},
        "objectRef": {"resource": resource, "namespace": "n", "name": name, "subresource": more.get("subresource", "")},
        "responseStatus": {"code": more.get("code", 200)},
        "requestObject": more.get("sent"),
        "responseObject": answer,
        "stageTimestamp": stamp(at),
    }
    found = audit.parse(json.dumps(event).encode())
    assert found is not None
    return found


@dataclass
class Fate:
    """One executor: who placed it when and where, and how it ended."""

    number: int
    seat: int
    seat_pool: str
    placed_pool: str = ""
    created: float = 1.0
    placed: float = 1.5
    placed_by: str = CONTROLLER
    deleted: float = 30.0
    deleted_by: str = actors.DRIVER
    disruption: str = ""

    @property
    def name(self) -> str:
        return f"e-{self.number}"

    def pod(self, *, gated: bool = False, running: bool = False, grace: int | None = None) -> dict[str, Any]:
        marks = {"spark-role": "executor", "spark-exec-id": str(self.number), "spark-app-selector": "sub"}
        conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(self.placed)}]
        if not gated:
            pool = self.placed_pool or self.seat_pool
            marks |= {"spotmix.io/seat": str(self.seat), "spotmix.io/seat-pool": self.seat_pool}
            marks["spotmix.io/placed-pool"] = pool
        if self.disruption and grace:
            conditions.append({"type": "DisruptionTarget", "status": "True", "reason": self.disruption})
        metadata = {
            "name": self.name,
            "uid": f"uid-{self.number}",
            "labels": marks,
            "deletionGracePeriodSeconds": grace,
        }
        gates = [{"name": "spotmix.io/placement"}] if gated else []
        status = {"phase": "Running", "conditions": conditions} if running else {"phase": "Pending"}
        node = {"nodeName": "node-1"} if running else {}
        return {"metadata": metadata, "spec": {"schedulingGates": gates, **node}, "status": status}

    def lines(self) -> list[audit.Line]:
        gone = self.deleted + 0.5
        return [
            line(self.created, actors.DRIVER, "create", "pods", "", self.pod(gated=True)),
            line(self.placed, self.placed_by, "patch", "pods", self.name, self.pod()),
            line(self.placed + 0.2, actors.KUBELET, "patch", "pods", self.name, self.pod(running=True)),
            line(self.deleted, self.deleted_by, "delete", "pods", self.name, self.pod(running=True, grace=1)),
            line(gone, actors.KUBELET, "delete", "pods", self.name, self.pod(running=True, grace=0)),
        ]

    @property
    def seconds(self) -> float:
        return self.deleted + 0.5 - self.placed


@dataclass
class Story:
    """A fleet of four, half of it on spot, that loses number 2 to an eviction and replaces it."""

    fates: list[Fate] = field(
        default_factory=lambda: [
            Fate(1, 0, "on-demand"),
            Fate(2, 1, "spot", deleted=10, deleted_by=actors.CLOUD, disruption="EvictionByEvictionAPI"),
            Fate(3, 2, "on-demand"),
            Fate(4, 3, "spot"),
            Fate(5, 1, "spot", "on-demand", created=11, placed=11.2),
        ]
    )
    holders: list[tuple[float, str]] = field(default_factory=lambda: [(0.5, CONTROLLER)])
    renewed: dict[str, tuple[int, int]] = field(default_factory=lambda: {CONTROLLER: (0, 32)})
    words: tuple[tuple[float, str], ...] = ((1.0, "RUNNING"), (31.0, "COMPLETED"))
    report: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    written: str = ""

    def lines(self) -> list[audit.Line]:
        found = [each for fate in self.fates for each in fate.lines()]
        for actor, (first, last) in self.renewed.items():
            found += [line(at, actor, "patch", "leases", _lease(actor), {}) for at in range(first, last, 2)]
        for at, actor in self.holders:
            saved = {"data": {"checkpoint": json.dumps({"holder": _lease(actor).removeprefix("spotmix-")})}}
            found.append(line(at, actor, "patch", "configmaps", "c", saved, sent={"note": self.written}))
        for at, word in self.words:
            state = {"status": {"applicationState": {"state": word}}}
            found.append(line(at, actors.OPERATOR, "patch", "sparkapplications", "a", state, subresource="status"))
        return found

    def told(self) -> dict[str, Any]:
        ledger: dict[str, dict[str, Any]] = {}
        for fate in self.fates:
            pool = fate.placed_pool or fate.seat_pool
            nothing = {"executors": 0, "executor_seconds": 0.0, "estimated": False, "incomplete": False}
            account = ledger.setdefault(pool, nothing)
            account["executors"] += 1
            account["executor_seconds"] += fate.seconds
            account["executor_seconds_at_least"] = account["executor_seconds"]
        report = {
            "result": "succeeded",
            "message": "",
            "interruptions": [{"executor": "e-2", "cause": "spot-interruption"}],
            "failures": [],
            "unobtainable": [],
            "fallbacks": [{"executor": "e-5", "pool": "on-demand", "cause": "spot-interruption"}],
            "ledger": ledger,
        }
        return report | self.report

    def findings(self) -> set[str]:
        setup = Setup(shares=(1, 1), executors=4)
        evidence: dict[str, Any] = {
            "schedule": Schedule(seed=0, setup=setup),
            "lines": self.lines(),
            "report": self.told(),
            "logs": {"controller-1.log": "all is well"},
            "left": [],
            "unswept": [],
            "secrets": [SECRET],
        }
        return {finding.kind for finding in judge(Evidence(**evidence | self.more))}


def _lease(actor: str) -> str:
    return f"spotmix-{actor.rpartition(':')[2]}"


def changed(number: int, **changes: Any) -> Story:
    """The story in which one executor has another fate."""
    story = Story()
    story.fates[number - 1] = replace(story.fates[number - 1], **changes)
    return story


def on_spot(*numbers: int) -> Story:
    """The story in which these have spot seats, too."""
    story = Story()
    for number in numbers:
        story.fates[number - 1] = replace(story.fates[number - 1], seat_pool="spot")
    return story


TRACEBACK = "Traceback (most recent call last)"
LEDGER = Story().told()["ledger"]


def with_ledger(**changes: Any) -> Story:
    return Story(report={"ledger": LEDGER | {"spot": LEDGER["spot"] | changes}})


def test_a_fleet_as_it_should_be_is_right() -> None:
    assert Story().findings() == set()


@pytest.mark.parametrize(
    ("story", "kind"),
    [
        pytest.param(changed(4, placed=13.0), "gated", id="gated-for-too-long"),
        pytest.param(Story(holders=[(13.0, CONTROLLER)]), "idle", id="nobody-claims-the-fleet"),
        pytest.param(changed(4, seat=2), "seat-twice", id="two-on-one-seat"),
        pytest.param(on_spot(1, 3), "mix", id="all-four-on-spot"),
        pytest.param(changed(4, placed_pool="on-demand"), "fallback-without-loss", id="off-its-seat-for-nothing"),
        pytest.param(changed(5, placed_pool="on-demand", placed_by=RIVAL), "fencing", id="placed-by-a-rival"),
        pytest.param(changed(4, placed_by=actors.PERSON), "gate", id="placed-by-a-person"),
        pytest.param(changed(4, deleted=20.0, deleted_by=CONTROLLER), "removed", id="a-healthy-one-is-removed"),
        pytest.param(Story(more={"left": ["pods/e-4"]}), "left", id="a-pod-is-left"),
        pytest.param(Story(more={"unswept": ["leases/x"]}), "left", id="a-lease-is-left-to-the-sweep"),
        pytest.param(Story(written=f"password={SECRET}"), "secret", id="a-secret-is-written"),
        pytest.param(Story(more={"logs": {"x": f"token {SECRET}"}}), "secret", id="a-secret-is-logged"),
        pytest.param(Story(report={"message": SECRET}), "secret", id="a-secret-is-reported"),
        pytest.param(
            Story(more={"logs": {"x": "Traceback (most recent call last)"}}), "crash", id="a-controller-breaks"
        ),
        pytest.param(Story(more={"stuck": "for ever"}), "stuck", id="it-never-ends"),
        pytest.param(Story(report={"result": "failed"}), "result", id="a-success-called-a-failure"),
        pytest.param(Story(words=((1.0, "RUNNING"), (31.0, "FAILED"))), "result", id="a-failure-called-a-success"),
        pytest.param(Story(more={"report": None}), "result", id="no-report"),
        pytest.param(Story(report={"fallbacks": []}), "fallback-unlisted", id="a-fallback-is-not-listed"),
        pytest.param(
            Story(report={"fallbacks": [{"executor": "e-5", "pool": "on-demand", "cause": ""}]}),
            "fallback-unlisted",
            id="a-fallback-without-a-cause",
        ),
        pytest.param(
            Story(report={"fallbacks": [*Story().told()["fallbacks"], {"executor": "e-1", "pool": "x", "cause": "y"}]}),
            "fallback-invented",
            id="a-fallback-that-was-none",
        ),
        pytest.param(Story(report={"interruptions": []}), "loss-untold", id="a-loss-is-not-told"),
        pytest.param(
            Story(report={"interruptions": [{"executor": "executor 2", "cause": "unknown"}]}),
            "loss-forgotten",
            id="a-loss-that-was-seen-is-guessed",
        ),
        pytest.param(
            Story(report={"interruptions": [{"executor": "e-1", "cause": "spot-interruption"}]}),
            "cause",
            id="spot-is-blamed-for-on-demand",
        ),
        pytest.param(with_ledger(executors=3), "ledger", id="an-executor-too-many"),
        pytest.param(with_ledger(executor_seconds=99.0), "ledger", id="seconds-too-many"),
        pytest.param(with_ledger(executor_seconds=9.0), "ledger", id="seconds-too-few"),
        pytest.param(
            with_ledger(estimated=True, executor_seconds=20.0, executor_seconds_at_least=1.0),
            "ledger",
            id="bounds-that-do-not-hold",
        ),
        pytest.param(
            with_ledger(estimated=True, executors=1, executor_seconds=99.0, executor_seconds_at_least=1.0),
            "ledger",
            id="an-estimate-of-too-few",
        ),
    ],
)
def test_what_must_not_be_is_found(story: Story, kind: str) -> None:
    assert kind in story.findings()


def test_a_gate_that_stays_while_no_controller_is_there_is_nobodys_fault() -> None:
    story = changed(4, placed=26.0)
    story.renewed = {CONTROLLER: (0, 4), RIVAL: (24, 32)}
    story.holders = [(0.5, CONTROLLER), (24.5, RIVAL)]
    for fate in story.fates:
        fate.placed_by = RIVAL if fate.placed > 24 else CONTROLLER
    assert story.findings() & {"gated", "idle", "fencing"} == set()


def test_an_estimate_whose_bounds_hold_is_honest() -> None:
    assert with_ledger(estimated=True, executor_seconds=99.0, executor_seconds_at_least=1.0).findings() == set()


def test_an_incomplete_ledger_says_no_more_than_at_least() -> None:
    told = {"executors": 0, "executor_seconds": 0.0, "executor_seconds_at_least": 0.0}
    assert with_ledger(estimated=True, incomplete=True, **told).findings() == set()


def test_a_checkpoint_that_a_person_spoils_makes_nobody_the_holder() -> None:
    spoilt = line(9.0, actors.PERSON, "patch", "configmaps", "c", {"data": {"checkpoint": "spoilt"}})
    history = read([*Story().lines(), spoilt], controller=actors.CONTROLLER)
    assert (len(history.holds), len(history.checkpoint_deleted)) == (1, 1)
