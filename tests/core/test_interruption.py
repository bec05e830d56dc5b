"""Why an executor is gone: every sign, alone and against the others."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.core.events import NodeFacts
from airflow_provider_spotmix.core.history import Cause
from airflow_provider_spotmix.core.interruption import DISRUPTION_TAINTS, KUBELET_REASONS, attribute, node_evidence
from tests.core.vocabulary import pod

SPOT, INFRASTRUCTURE, APPLICATION = Cause.SPOT_INTERRUPTION, Cause.INFRASTRUCTURE, Cause.APPLICATION
SCALE_DOWN, UNKNOWN = Cause.SCALE_DOWN, Cause.UNKNOWN
EVICTED: dict[str, Any] = {"deleting": True, "disruption": "EvictionByEvictionAPI"}
FAILED: dict[str, Any] = {"phase": "Failed", "exit_code": 1, "exit_reason": "Error"}
OOM: dict[str, Any] = {"phase": "Failed", "exit_code": 137, "exit_reason": "OOMKilled"}
TAINTED = NodeFacts(name="n", taints=("karpenter.sh/disrupted",))


@pytest.mark.parametrize(
    ("facts", "node", "on_spot", "on_demand"),
    [
        pytest.param(EVICTED, None, SPOT, INFRASTRUCTURE, id="evicted"),
        pytest.param(
            {"deleting": True, "disruption": "DeletionByTaintManager"}, None, SPOT, INFRASTRUCTURE, id="taint"
        ),
        pytest.param({"deleting": True, "disruption": "DeletionByPodGC"}, None, SPOT, INFRASTRUCTURE, id="pod-gc"),
        pytest.param(
            {"deleting": True, "disruption": "PreemptionByScheduler"},
            None,
            INFRASTRUCTURE,
            INFRASTRUCTURE,
            id="preempted-by-a-pod-of-higher-priority-is-no-spot-interruption",
        ),
        *(
            pytest.param({"phase": "Failed", "reason": reason}, None, SPOT, INFRASTRUCTURE, id=f"kubelet-says-{reason}")
            for reason in KUBELET_REASONS
        ),
        *(
            pytest.param({"deleting": True}, NodeFacts(name="n", taints=(taint,)), SPOT, INFRASTRUCTURE, id=taint)
            for taint in DISRUPTION_TAINTS
        ),
        pytest.param({"deleting": True}, NodeFacts(name="n", ready=False), SPOT, INFRASTRUCTURE, id="node-not-ready"),
        pytest.param(FAILED, TAINTED, SPOT, INFRASTRUCTURE, id="failed-on-a-node-that-goes"),
        pytest.param(
            {"deleting": True}, NodeFacts(name="n", taints=("dedicated",)), UNKNOWN, UNKNOWN, id="any-other-taint"
        ),
        pytest.param(
            {"deleting": True},
            NodeFacts(name="n", taints=("ToBeDeletedByClusterAutoscaler",)),
            UNKNOWN,
            UNKNOWN,
            id="autoscaler-scales-down",
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
    of_node = node_evidence("n", node, gone=False)
    found = [attribute(pod(1, **facts), on_spot=spot, dynamic=False, of_node=of_node)[0] for spot in (True, False)]
    assert found == [on_spot, on_demand]


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
            "node n has taint karpenter.sh/disrupted",
            "node n is not ready",
        ),
    )


def test_a_node_that_is_gone_says_only_that() -> None:
    assert node_evidence("n", TAINTED, gone=True) == ("node n is gone",)


def test_a_node_that_we_may_not_read_says_nothing() -> None:
    assert node_evidence("n", None, gone=False) == ()
