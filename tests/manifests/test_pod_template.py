"""Pod templates as people write them, empty keys included. No cluster."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.core.pools import GKE
from airflow_provider_spotmix.manifests.pod_template import driver_template, executor_template

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
ABSENT = {"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}


def executor(template: dict[str, Any] | None) -> dict[str, Any]:
    return executor_template(template, pod_labels={"a": "b"}, gates=["gate"], grace_seconds=100)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(None, id="none"),
        pytest.param({}, id="empty"),
        pytest.param({"metadata": None, "spec": None}, id="null-sections"),
        pytest.param({"metadata": {"labels": None, "annotations": None}, "spec": {"containers": None}}, id="null-maps"),
        pytest.param({"spec": {"schedulingGates": None, "terminationGracePeriodSeconds": None}}, id="null-fields"),
    ],
)
def test_what_is_left_empty_is_as_good_as_not_written(template: dict[str, Any] | None) -> None:
    found = executor(template)
    assert found["metadata"]["labels"] == {"a": "b"}
    assert found["spec"] == {
        "schedulingGates": [{"name": "gate"}],
        "terminationGracePeriodSeconds": 100,
        "containers": [{"name": "spark-kubernetes-executor"}],
    }


def test_another_gate_and_a_grace_period_of_ones_own_stay() -> None:
    found = executor({"spec": {"schedulingGates": [{"name": "kueue"}], "terminationGracePeriodSeconds": 0}})
    assert found["spec"]["schedulingGates"] == [{"name": "kueue"}, {"name": "gate"}]
    assert found["spec"]["terminationGracePeriodSeconds"] == 0


@pytest.mark.parametrize(
    "affinity",
    [
        pytest.param({}, id="no-key"),
        pytest.param({"affinity": None}, id="null"),
        pytest.param({"affinity": {"nodeAffinity": None}}, id="null-node-affinity"),
        pytest.param({"affinity": {"nodeAffinity": {REQUIRED: None}}}, id="null-terms"),
    ],
)
def test_a_driver_is_kept_off_spot_where_only_spot_has_a_label(affinity: dict[str, Any]) -> None:
    found = driver_template({"spec": affinity}, pod_labels={}, pool=GKE[1])
    terms = found["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [ABSENT]}]
