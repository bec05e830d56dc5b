"""Why an executor is gone: every sign, alone and against the others."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.core.events import NodeFacts
from airflow_provider_spotmix.core.history import Cause
from airflow_provider_spotmix.core.interruption import (
    GONE,
    SHUTTING_DOWN,
    SIGNS,
    Meaning,
    Sign,
    Where,
    announcement,
    attribute,
    needs_events,
    node_evidence,
    proof_of_end,
)
from tests.core.vocabulary import pod

SPOT, INFRASTRUCTURE, APPLICATION = Cause.SPOT_INTERRUPTION, Cause.INFRASTRUCTURE, Cause.APPLICATION
SCALE_DOWN, UNKNOWN = Cause.SCALE_DOWN, Cause.UNKNOWN
EVICTED: dict[str, Any] = {"deleting": True, "disruption": "EvictionByEvictionAPI"}
FAILED: dict[str, Any] = {"phase": "Failed", "exit_code": 1, "exit_reason": "Error"}
OOM: dict[str, Any] = {"phase": "Failed", "exit_code": 137, "exit_reason": "OOMKilled"}
ITN = "aws-node-termination-handler/spot-itn"
TAINTED = NodeFacts(name="n", taints=(ITN,))
KARPENTER: dict[str, Any] = {"name": "n", "taints": ("karpenter.sh/disrupted",), "deleting": True}
# What a loss is put down to, on spot and on on-demand, when nothing but a sign of that meaning was seen.
OF_MEANING = {
    Meaning.MARKET: (SPOT, INFRASTRUCTURE),
    Meaning.TAKEN: (SPOT, INFRASTRUCTURE),
    Meaning.OTHER: (INFRASTRUCTURE, INFRASTRUCTURE),
    Meaning.UNCLEAR: (UNKNOWN, INFRASTRUCTURE),
    Meaning.NOTHING: (UNKNOWN, UNKNOWN),
}


def causes(facts: dict[str, Any], node: NodeFacts | None, *, gone: bool = False) -> tuple[Cause, ...]:
    """What an executor's loss is put down to, on spot and on on-demand."""
    of_node = node_evidence("n", node, gone=gone)
    return tuple(
        attribute(pod(1, **facts), on_spot=spot, dynamic=False, of_node=of_node, node=node)[0] for spot in (True, False)
    )


@pytest.mark.parametrize("sign", [pytest.param(sign, id=f"{sign.where.name}-{sign.key}") for sign in SIGNS])
def test_each_sign_alone_means_what_the_table_says(sign: Sign) -> None:
    facts: dict[str, Any] = {"deleting": True}
    node: dict[str, Any] = {"name": "n"}
    match sign.where:
        case Where.TAINT:
            node |= {"taints": (sign.key,), "deleting": True}
        case Where.EVENT:
            node["events"] = (sign.key,)
        case Where.DISRUPTION:
            facts["disruption"] = sign.key
        case Where.REASON:
            facts["reason"] = sign.key
        case Where.NODE:
            node |= {"ready": False, "shutting_down": sign.key == SHUTTING_DOWN} if sign.key != GONE else {}
    is_gone = sign.key == GONE
    seen = NodeFacts(**node)
    assert causes(facts, seen, gone=is_gone) == OF_MEANING[sign.meaning]
    assert bool(announcement(seen, on_spot=True)) is sign.announces
    assert bool(proof_of_end("n", seen, gone=is_gone)) is sign.proves_gone


@pytest.mark.parametrize(
    ("facts", "node", "on_spot", "on_demand"),
    [
        pytest.param(EVICTED, None, SPOT, INFRASTRUCTURE, id="evicted"),
        pytest.param(
            {"phase": "Failed", "reason": "Evicted", "disruption": "TerminationByKubelet"},
            None,
            INFRASTRUCTURE,
            INFRASTRUCTURE,
            id="evicted-by-a-node-without-memory-is-no-spot-interruption",
        ),
        pytest.param({"deleting": True, "disruption": "NewInKubernetes"}, None, SPOT, INFRASTRUCTURE, id="new-reason"),
        pytest.param(
            EVICTED,
            NodeFacts(name="n", taints=("ToBeDeletedByClusterAutoscaler",)),
            INFRASTRUCTURE,
            INFRASTRUCTURE,
            id="scaled-down-by-the-autoscaler",
        ),
        pytest.param(
            EVICTED,
            NodeFacts(name="n", taints=("ToBeDeletedByClusterAutoscaler", ITN)),
            SPOT,
            INFRASTRUCTURE,
            id="interrupted-while-it-was-scaled-down",
        ),
        pytest.param(EVICTED, NodeFacts(**KARPENTER), UNKNOWN, INFRASTRUCTURE, id="karpenter-has-not-said-why"),
        pytest.param(
            EVICTED, NodeFacts(**KARPENTER, events=()), UNKNOWN, INFRASTRUCTURE, id="karpenter-does-not-say-why"
        ),
        pytest.param(
            EVICTED,
            NodeFacts(**KARPENTER, events=("SpotInterrupted",)),
            SPOT,
            INFRASTRUCTURE,
            id="karpenter-heard-of-an-interruption",
        ),
        pytest.param(
            EVICTED,
            NodeFacts(**KARPENTER, events=("DisruptionTerminating",)),
            INFRASTRUCTURE,
            INFRASTRUCTURE,
            id="karpenter-consolidates",
        ),
        pytest.param(
            EVICTED,
            NodeFacts(**KARPENTER, events=(), events_hidden=True),
            SPOT,
            INFRASTRUCTURE,
            id="karpenter-evicts-and-we-may-not-read-why",
        ),
        pytest.param(OOM, TAINTED, APPLICATION, APPLICATION, id="out-of-memory-on-a-node-that-goes"),
        pytest.param(FAILED, TAINTED, SPOT, INFRASTRUCTURE, id="failed-on-a-node-that-goes"),
        pytest.param(
            {"deleting": True}, NodeFacts(name="n", taints=("dedicated",)), UNKNOWN, UNKNOWN, id="any-other-taint"
        ),
        pytest.param(FAILED, NodeFacts(name="n"), APPLICATION, APPLICATION, id="failed-by-itself"),
        pytest.param(OOM, None, APPLICATION, APPLICATION, id="out-of-memory"),
        pytest.param(
            OOM | {"deleting": True}, None, APPLICATION, APPLICATION, id="out-of-memory-and-removed-by-the-driver"
        ),
        pytest.param(FAILED | {"deleting": True, "exit_code": 143}, None, UNKNOWN, UNKNOWN, id="ended-by-its-deletion"),
        pytest.param({"phase": "Succeeded"}, None, SCALE_DOWN, SCALE_DOWN, id="ended-by-itself"),
        pytest.param({"phase": "Succeeded", "deleting": True}, None, UNKNOWN, UNKNOWN, id="decommissioned-by-deletion"),
        pytest.param({"deleting": True}, None, UNKNOWN, UNKNOWN, id="deleted-without-a-sign"),
    ],
)
def test_cause(facts: dict[str, Any], node: NodeFacts | None, on_spot: Cause, on_demand: Cause) -> None:
    assert causes(facts, node) == (on_spot, on_demand)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        pytest.param({"deleting": True}, SCALE_DOWN, id="idle"),
        pytest.param({"phase": "Succeeded", "deleting": True}, SCALE_DOWN, id="decommissioned"),
        pytest.param(EVICTED, SPOT, id="evicted-nevertheless"),
        pytest.param(OOM, APPLICATION, id="out-of-memory-nevertheless"),
    ],
)
def test_under_dynamic_allocation_a_deletion_without_a_sign_is_spark_s(facts: dict[str, Any], cause: Cause) -> None:
    assert attribute(pod(1, **facts), on_spot=True, dynamic=True, of_node=())[0] is cause


def test_all_the_evidence_is_kept() -> None:
    of_node = node_evidence("n", NodeFacts(name="n", ready=False, taints=TAINTED.taints), gone=False)
    assert attribute(pod(1, **EVICTED), on_spot=True, dynamic=False, of_node=of_node) == (
        SPOT,
        (
            "pod condition DisruptionTarget: EvictionByEvictionAPI",
            f"node n has taint {ITN}",
            "node n is not ready",
        ),
    )


def test_a_node_that_is_gone_still_says_what_it_said_before() -> None:
    assert [each.said for each in node_evidence("n", TAINTED, gone=True)] == [
        f"node n has taint {ITN}",
        "node n is gone",
    ]


def test_a_node_that_we_may_not_read_says_nothing() -> None:
    assert node_evidence("n", None, gone=False) == ()


@pytest.mark.parametrize(
    ("facts", "on_spot", "on_demand"),
    [
        pytest.param({"deleting": False, "events": ("SpotInterrupted",)}, False, False, id="it-may-be-taken-back"),
        pytest.param({"events": ("SpotInterrupted",)}, True, True, id="interrupted"),
        pytest.param({"events": ("InstanceUnhealthy",)}, True, True, id="the-cloud-s-maintenance"),
        pytest.param({"events": ("DisruptionTerminating",)}, False, False, id="karpenter-s-own-will-and-pace"),
        pytest.param({"events": ()}, False, False, id="no-event-tells"),
        pytest.param({"events": (), "events_hidden": True}, True, False, id="events-are-hidden"),
    ],
)
def test_karpenter_s_taint_announces_what_its_events_say(facts: dict[str, Any], on_spot: bool, on_demand: bool) -> None:
    node = NodeFacts(**(KARPENTER | facts))
    assert [bool(announcement(node, on_spot=spot)) for spot in (True, False)] == [on_spot, on_demand]


def test_events_are_asked_for_once_karpenter_deletes_the_node() -> None:
    assert needs_events(NodeFacts(**KARPENTER))
    assert not needs_events(NodeFacts(**(KARPENTER | {"deleting": False})))
    assert not needs_events(NodeFacts(**KARPENTER, events=()))
    assert not needs_events(TAINTED)
