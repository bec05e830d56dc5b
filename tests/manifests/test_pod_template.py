"""Pod templates as people write them, empty keys included. No cluster."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_spotmix.core.pools import AKS, EKS, GKE, KARPENTER, Pool
from airflow_provider_spotmix.manifests import spark_conf
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


@pytest.mark.parametrize(
    ("pools", "seconds"),
    [
        pytest.param(KARPENTER, 100, id="karpenter"),
        pytest.param(EKS, 100, id="eks"),
        pytest.param(AKS, 25, id="aks"),
        pytest.param(GKE, 15, id="gke"),
        pytest.param((*AKS, *GKE), 15, id="the-hastiest"),
    ],
)
def test_an_executor_may_take_as_long_to_leave_as_its_cloud_grants(pools: tuple[Pool, ...], seconds: int) -> None:
    assert spark_conf.grace_seconds(pools) == seconds
    conf = spark_conf.for_spot(5, seconds)
    assert conf["spark.executor.decommission.killInterval"] == f"{seconds}s"


def test_the_budget_of_failures_is_never_less_than_spark_gives() -> None:
    """Where nothing limits dynamic allocation, Spark's own is without limit."""
    budgets = {most: spark_conf.for_spot(most).get(spark_conf.FAILURES) for most in (1, 5, 100, None)}
    assert budgets == {1: "20", 5: "50", 100: "1000", None: None}


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        pytest.param({}, [], id="nothing-set"),
        pytest.param(spark_conf.for_spot(5), [], id="ours"),
        pytest.param({"spark.task.maxFailures": "4"}, [], id="spark's-own"),
        pytest.param({"spark.task.maxFailures": "1"}, ["spark.task.maxFailures is 1: fewer"], id="tasks"),
        pytest.param(
            {"spark.executor.maxNumFailures": "1"}, ["spark.executor.maxNumFailures is 1: fewer"], id="losses"
        ),
        pytest.param(
            {"spark.stage.maxConsecutiveAttempts": "2"}, ["spark.stage.maxConsecutiveAttempts is 2"], id="stages"
        ),
        pytest.param(
            {"spark.decommission.enabled": "False"}, ["spark.decommission.enabled is False"], id="decommission"
        ),
        pytest.param({"spark.task.maxFailures": "many"}, [], id="nothing-that-spark-reads"),
    ],
)
def test_what_makes_interruptions_dangerous_is_told(properties: dict[str, str], said: list[str]) -> None:
    found = spark_conf.dangers(properties)
    assert len(found) == len(said)
    assert all(each.startswith(start) for each, start in zip(found, said, strict=True))
