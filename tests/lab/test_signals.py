"""What Karpenter evicts, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.lab.signals.karpenter import eviction_order, is_drainable

TAINT = "karpenter.sh/disrupted"


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **spec.pop("metadata", {})}, "spec": spec, "status": {"phase": "Running"}}


def owned_by(kind: str) -> dict[str, Any]:
    return {"ownerReferences": [{"kind": kind}]}


@pytest.mark.parametrize(
    ("given", "drainable"),
    [
        pytest.param(pod(), True, id="ordinary"),
        pytest.param(pod(metadata=owned_by("DaemonSet")), True, id="daemon-set"),
        pytest.param(pod(metadata=owned_by("Node")), False, id="static"),
        pytest.param(pod(tolerations=[{"key": TAINT, "operator": "Exists"}]), False, id="tolerates"),
        pytest.param(pod(tolerations=[{"operator": "Exists"}]), False, id="tolerates-everything"),
        pytest.param(pod(tolerations=[{"key": TAINT, "effect": "NoExecute"}]), True, id="other-effect"),
        pytest.param(pod(tolerations=[{"key": "x", "operator": "Exists"}]), True, id="other-key"),
        pytest.param(pod() | {"status": {"phase": "Failed"}}, False, id="ended"),
    ],
)
def test_what_a_drain_waits_for(given: dict[str, Any], *, drainable: bool) -> None:
    assert is_drainable(given) is drainable


def test_ordinary_pods_go_first_critical_daemons_last() -> None:
    daemon, critical = owned_by("DaemonSet"), "system-node-critical"
    pods = [
        pod(metadata=daemon, priorityClassName=critical),
        pod(priorityClassName=critical),
        pod(metadata=daemon),
        pod(),
    ]
    assert [eviction_order(p) for p in pods] == [3, 2, 1, 0]
