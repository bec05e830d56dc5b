"""Spark properties against interruptions: which, for which Spark, and what a person had better not set."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import pytest

from airflow_provider_spotmix.core.pools import AKS, EKS, GKE, KARPENTER, Pool
from airflow_provider_spotmix.manifests import spark_conf


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
        pytest.param({"spark.stage.maxAttempts": "5"}, ["spark.stage.maxAttempts is 5: a stage is"], id="all-attempts"),
        pytest.param(
            {"spark.kubernetes.allocation.maximum": "12"},
            ["spark.kubernetes.allocation.maximum is 12: after so many executors"],
            id="all-executors",
        ),
        pytest.param({"spark.stage.maxAttempts": "2147483647"}, [], id="no-limit"),
        pytest.param({"spark.task.maxFailures": "many"}, [], id="nothing-that-spark-reads"),
    ],
)
def test_what_makes_interruptions_dangerous_is_told(properties: dict[str, str], said: list[str]) -> None:
    found = spark_conf.dangers(properties)
    assert len(found) == len(said)
    assert all(each.startswith(start) for each, start in zip(found, said, strict=True))


@pytest.mark.parametrize(
    ("version", "unknown"),
    [
        pytest.param("", [], id="not-told"),
        pytest.param("newest", [], id="not-read"),
        pytest.param("4.1.1", [], id="4.1"),
        pytest.param("4.0.4", [spark_conf.GRACE_PERIOD], id="4.0"),
        pytest.param("3.5", [spark_conf.GRACE_PERIOD], id="3.5"),
        pytest.param("v3.4.1-amzn-0", [spark_conf.VALIDITY, spark_conf.FAILURES, spark_conf.GRACE_PERIOD], id="3.4"),
    ],
)
def test_a_version_does_not_know_what_is_newer(version: str, unknown: list[str]) -> None:
    assert spark_conf.unheeded(spark_conf.SINCE, version) == sorted(unknown)


def test_where_announced_losses_count_as_failures_stages_are_tried_more_often() -> None:
    attempts = {v: spark_conf.for_spot(5, spark_version=v)[spark_conf.STAGE_ATTEMPTS] for v in ("", "3.3.4", "3.4.0")}
    assert attempts == {"": "10", "3.3.4": "20", "3.4.0": "10"}


def test_a_spark_that_is_too_old_is_told_once() -> None:
    said = [spark_conf.missed(spark_conf.for_spot(5), version) for version in ("", "3.3.4", "3.5.6")]
    assert [len(each) for each in said] == [0, 1, 0]
    assert "Spark 3.3.4 does not know spark.scheduler.maxRetained" in said[1][0]
    assert spark_conf.missed({}, "3.3.4") == []


def test_every_property_is_one_that_spark_reads() -> None:
    """By the names in Spark's own classes; the grace period's is newer than the Spark here."""
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    (jar,) = (Path(spec.origin).parent / "jars").glob("spark-core_*.jar")
    names = zipfile.ZipFile(jar).read("org/apache/spark/internal/config/package$.class")
    ours = {*spark_conf.for_spot(5), spark_conf.SHUFFLE_BLOCKS, spark_conf.ALL_ATTEMPTS}
    assert [name for name in sorted(ours) if name.encode() not in names] == []
    assert set(spark_conf.for_spot(5)) == set(spark_conf.SINCE) - {spark_conf.GRACE_PERIOD}
