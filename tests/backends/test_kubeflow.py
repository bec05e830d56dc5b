"""The Kubeflow backend: what is refused, what is rendered, what is read. No cluster."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.kube.objects import Raw, convert
from airflow_provider_spotmix.manifests.executor_request import ExecutorRequest
from airflow_provider_spotmix.manifests.overlay import Overlay
from airflow_provider_spotmix.manifests.part import ExecutorCount
from airflow_provider_spotmix.manifests.spark_conf import GRACE_PERIOD, KILL, for_spot

BACKEND = Kubeflow()
SPOT, ON_DEMAND = KARPENTER
CAPACITY = "karpenter.sh/capacity-type"


def application(**executor: Any) -> dict[str, Any]:
    return {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": "etl", "labels": {"team": "data"}},
        "spec": {
            "type": "Python",
            "mode": "cluster",
            "sparkConf": {"spark.task.maxFailures": "4"},
            "driver": {"cores": 1, "memory": "512m"},
            "executor": {"cores": 1, "memory": "512m", "instances": 5, **executor},
        },
    }


def overlay() -> Overlay:
    return Overlay(
        name="etl-1a2b3c4d",
        namespace="spark",
        labels={"spotmix.io/fleet": "1a2b3c4d"},
        annotations={"spotmix.io/identity": "airflow/uuid"},
        executor_gates=("spotmix.io/placement",),
        driver_pool=ON_DEMAND,
        spark_conf={"spark.decommission.enabled": "true", "spark.task.maxFailures": "8"},
    )


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        pytest.param({}, ExecutorCount(5, dynamic=False), id="instances"),
        pytest.param(
            {"dynamicAllocation": {"enabled": False, "minExecutors": 9}}, ExecutorCount(5, dynamic=False), id="off"
        ),
        pytest.param(
            {"dynamicAllocation": {"enabled": True, "initialExecutors": 7, "minExecutors": 2}},
            ExecutorCount(7, dynamic=True),
            id="largest-of-three",
        ),
        pytest.param(
            {"dynamicAllocation": {"enabled": True, "minExecutors": 2, "maxExecutors": 9}},
            ExecutorCount(5, dynamic=True, maximum=9),
            id="up-to",
        ),
        pytest.param(
            {
                "dynamicAllocation": {"enabled": False, "minExecutors": 9},
                "sparkConf": {"spark.dynamicAllocation.enabled": "True", "spark.dynamicAllocation.maxExecutors": " 8 "},
            },
            ExecutorCount(5, dynamic=True, maximum=8),
            id="dynamic-by-conf-only",
        ),
        pytest.param(
            {"sparkConf": {"spark.dynamicAllocation.enabled": "true", "spark.dynamicAllocation.minExecutors": "6"}},
            ExecutorCount(6, dynamic=True),
            id="dynamic-by-conf",
        ),
    ],
)
def test_executors_are_counted_as_spark_does(spec: dict[str, Any], count: ExecutorCount) -> None:
    manifest = application()
    manifest["spec"].update(spec)
    assert BACKEND.executor_count(manifest) == count


def test_rendering_keeps_everything_that_the_person_wrote() -> None:
    manifest = application(template={"metadata": {"labels": {"a": "b"}}, "spec": {"priorityClassName": "low"}})
    before = copy.deepcopy(manifest)
    rendered = BACKEND.render(manifest, overlay())
    assert manifest == before
    assert rendered["metadata"] == {
        "name": "etl-1a2b3c4d",
        "namespace": "spark",
        "labels": {"team": "data", "spotmix.io/fleet": "1a2b3c4d"},
        "annotations": {"spotmix.io/identity": "airflow/uuid"},
    }
    assert rendered["spec"]["sparkConf"] == {"spark.decommission.enabled": "true", "spark.task.maxFailures": "4"}
    assert rendered["spec"]["executor"]["template"] == {
        "metadata": {
            "labels": {"a": "b", "spotmix.io/fleet": "1a2b3c4d"},
            "annotations": {"spotmix.io/managed-by": "airflow-provider-spotmix"},
        },
        "spec": {
            "priorityClassName": "low",
            "schedulingGates": [{"name": "spotmix.io/placement"}],
            "containers": [{"name": "spark-kubernetes-executor"}],
        },
    }


def test_the_driver_is_pinned_to_on_demand_and_never_gated() -> None:
    template = BACKEND.render(application(), overlay())["spec"]["driver"]["template"]
    assert template["spec"] == {
        "nodeSelector": {"karpenter.sh/capacity-type": "on-demand"},
        "containers": [{"name": "spark-kubernetes-driver"}],
    }


@pytest.mark.parametrize(
    ("executor", "conf", "expected"),
    [
        pytest.param({}, {}, (100, "100s"), id="default"),
        pytest.param({"template": {"spec": {"terminationGracePeriodSeconds": 40}}}, {}, (40, "40s"), id="of-template"),
        pytest.param({}, {GRACE_PERIOD: "2m"}, (120, "2m"), id="of-conf"),
        pytest.param({"terminationGracePeriodSeconds": 7}, {}, (7, "7s"), id="of-the-cr"),
        pytest.param(
            {"template": {"spec": {"terminationGracePeriodSeconds": 40}}},
            {GRACE_PERIOD: "50"},
            (40, "50"),
            id="both-stay",
        ),
        pytest.param({}, {GRACE_PERIOD: "1d"}, (None, "1d"), id="a-form-that-is-not-read"),
    ],
)
def test_a_grace_period_holds_for_every_spark_version(executor: Any, conf: Any, expected: tuple[Any, Any]) -> None:
    manifest = application(**executor)
    manifest["spec"]["sparkConf"] = conf
    spec = BACKEND.render(manifest, msgspec.structs.replace(overlay(), grace_seconds=100))["spec"]
    in_template = spec["executor"]["template"]["spec"].get("terminationGracePeriodSeconds")
    assert (in_template, spec["sparkConf"][GRACE_PERIOD]) == expected


@pytest.mark.parametrize(("grace", "seconds"), [(None, "100s"), (40, "40s"), (600, "100s")])
def test_tasks_are_given_what_is_less_of_the_clouds_time_and_the_persons(grace: int | None, seconds: str) -> None:
    manifest = application(terminationGracePeriodSeconds=grace)
    ours = msgspec.structs.replace(overlay(), grace_seconds=100, spark_conf={KILL: "100s"})
    assert BACKEND.render(manifest, ours)["spec"]["sparkConf"][KILL] == seconds


def test_a_spark_without_what_interruptions_need_is_warned_of() -> None:
    manifest = application()
    manifest["spec"] |= {"sparkVersion": "3.3.4", "sparkConf": for_spot(5, spark_version="3.3.4")}
    (said,) = BACKEND.warnings(manifest)
    assert said.startswith("Spark 3.3.4 does not know")


def test_null_fields_are_as_good_as_not_written() -> None:
    manifest = application(template=None, nodeSelector=None, instances=None)
    manifest["metadata"] = {"name": "etl", "labels": None, "annotations": None}
    manifest["spec"] |= {"mode": None, "nodeSelector": None, "dynamicAllocation": None}
    manifest["spec"]["sparkConf"] = {"spark.executor.instances": "4"}
    manifest["spec"]["driver"] |= {"template": None, "nodeSelector": None}
    BACKEND.check(manifest)
    BACKEND.check_selectors(manifest, KARPENTER)
    assert BACKEND.executor_count(manifest) == ExecutorCount(4, dynamic=False)
    assert BACKEND.render(manifest, overlay())["metadata"]["name"] == "etl-1a2b3c4d"


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        pytest.param({}, ApplicationPhase.PENDING, id="new"),
        pytest.param({"applicationState": {"state": "SUBMITTED"}}, ApplicationPhase.PENDING, id="submitted"),
        pytest.param({"applicationState": {"state": "PENDING_RERUN"}}, ApplicationPhase.RUNNING, id="will-rerun"),
        pytest.param({"applicationState": {"state": "SUBMISSION_FAILED"}}, ApplicationPhase.PENDING, id="may-retry"),
        pytest.param({"applicationState": {"state": "COMPLETED"}}, ApplicationPhase.SUCCEEDED, id="completed"),
        pytest.param({"applicationState": {"state": "FAILED"}}, ApplicationPhase.FAILED, id="failed"),
        pytest.param({"applicationState": {"state": "SOMETHING_NEW"}}, ApplicationPhase.RUNNING, id="unknown-state"),
    ],
)
def test_only_what_the_operator_calls_terminal_is_over(status: dict[str, Any], phase: ApplicationPhase) -> None:
    raw = convert({"metadata": {"name": "etl"}, "status": status}, Raw)
    found = BACKEND.status(raw)
    assert (found.phase, found.driver_pod) == (phase, "etl-driver")


@pytest.mark.parametrize(
    ("status", "started"),
    [
        pytest.param({}, False, id="new"),
        pytest.param({"applicationState": {"state": "SUBMITTED"}, "executionAttempts": 1}, False, id="first-attempt"),
        pytest.param({"applicationState": {"state": "SUBMITTED"}, "executionAttempts": 2}, True, id="second-attempt"),
        pytest.param({"applicationState": {"state": "SUBMISSION_FAILED"}}, False, id="refused"),
        pytest.param({"applicationState": {"state": "SUSPENDED"}}, False, id="suspended"),
        pytest.param({"applicationState": {"state": "PENDING_RERUN"}, "executionAttempts": 1}, True, id="to-be-rerun"),
        pytest.param({"applicationState": {"state": "RUNNING"}, "executionAttempts": 1}, True, id="running"),
    ],
)
def test_whether_its_driver_has_run(status: dict[str, Any], started: bool) -> None:
    raw = convert({"metadata": {"name": "etl"}, "status": status}, Raw)
    assert BACKEND.status(raw).started is started


@pytest.mark.parametrize(
    ("changes", "executor", "expected"),
    [
        pytest.param({}, {}, ExecutorRequest(cores=1, memory_gib=(512 + 384) / 1024), id="python-by-its-file"),
        pytest.param({}, {"memory": "2g"}, ExecutorRequest(cores=1, memory_gib=(2048 + 819) / 1024), id="two-fifths"),
        pytest.param(
            {"mainApplicationFile": "local:///app.jar", "type": "Scala"},
            {"memory": "10g"},
            ExecutorRequest(cores=1, memory_gib=11),
            id="a-tenth-for-a-jvm",
        ),
        pytest.param(
            {"sparkConf": {"spark.executor.memory": "8g", "spark.executor.memoryOverhead": "1g"}},
            {"memory": "2g"},
            ExecutorRequest(cores=1, memory_gib=3),
            id="the-crs-own-fields-win",
        ),
        pytest.param(
            {"memoryOverheadFactor": "0.5"}, {"memory": "2g"}, ExecutorRequest(cores=1, memory_gib=3), id="factor"
        ),
        pytest.param(
            {}, {"coreRequest": "1500m", "cores": 2}, ExecutorRequest(cores=1.5, memory_gib=0.875), id="core-request"
        ),
    ],
)
def test_what_executors_request(changes: dict[str, Any], executor: dict[str, Any], expected: ExecutorRequest) -> None:
    manifest = application(**executor)
    manifest["spec"].update(changes)
    assert Kubeflow().executor_request(manifest) == expected
