"""From a person's application to what is submitted. No cluster."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.core.spec import ApplicationSpec, FleetSpec
from airflow_provider_spotmix.fleet.plan import FleetPlan, plan_fleet
from airflow_provider_spotmix.manifests.identity import Identity, TaskRef

MIX = Mix(
    shares=(Share(pool="spot", weight=2, on_demand=False), Share(pool="on-demand", weight=3, on_demand=True)),
    base_pool="on-demand",
)
IDENTITY = Identity(instance="airflow", task_instance="0190-uuid")


def application(name: str = "daily-etl", **executor: Any) -> dict[str, Any]:
    return {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": name},
        "spec": {"driver": {}, "executor": {"instances": 5, **executor}},
    }


def plan(manifest: dict[str, Any], **arguments: Any) -> FleetPlan:
    return plan_fleet(
        manifest, **{"identity": IDENTITY, "mix": MIX, "pools": KARPENTER, "namespace": "spark", **arguments}
    )


def test_the_same_try_is_the_same_fleet_and_no_other_is() -> None:
    first, again = plan(application()), plan(application())
    other = plan(application(), identity=Identity(instance="airflow", task_instance="0191-uuid"))
    assert first == again
    assert first.spec.fleet_id != other.spec.fleet_id
    assert first.spec.applications[0].name != other.spec.applications[0].name


def test_what_is_submitted_and_what_is_looked_after_agree() -> None:
    found = plan(application(), object_labels={"dag_id": "etl"})
    name = f"daily-etl-{IDENTITY.fleet_id[:8]}"
    assert found.spec.applications == (ApplicationSpec(name=name, executors=5),)
    (manifest,) = found.applications
    expected = {"dag_id": "etl", "spotmix.io/fleet": IDENTITY.fleet_id, "spotmix.io/application": name}
    assert manifest["metadata"]["labels"] == expected
    assert manifest["metadata"]["annotations"]["spotmix.io/identity"] == "airflow/0190-uuid"
    for role in ("driver", "executor"):
        assert manifest["spec"][role]["template"]["metadata"]["labels"] == expected


def test_the_spec_survives_the_way_into_a_trigger_and_back() -> None:
    spec = plan(application()).spec
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(spec)), FleetSpec) == spec


@pytest.mark.parametrize("length", [1, 36, 37, 63, 200])
def test_long_names_stay_within_what_spark_appends_to(length: int) -> None:
    (app,) = plan(application("a" * length)).spec.applications
    assert len(app.name) <= 45
    assert app.name.endswith(IDENTITY.fleet_id[:8])


@pytest.mark.parametrize(
    ("manifest", "arguments", "message"),
    [
        pytest.param(
            application(), {"placement": "magic"}, "unknown placement 'magic'; known: template", id="placement"
        ),
        pytest.param(application(), {"placement": [1]}, r"unknown placement \[1\]; known", id="placement-is-a-list"),
        pytest.param(application(), {"backend": "magic"}, "unknown backend 'magic'; known: kubeflow", id="backend"),
        pytest.param(
            application(),
            {"mix": msgspec.structs.replace(MIX, base_pool="metal")},
            "unknown pool 'metal'",
            id="unknown-base-pool",
        ),
        pytest.param(
            application(nodeSelector={"karpenter.sh/capacity-type": "spot"}),
            {},
            "spec.executor.nodeSelector has karpenter.sh/capacity-type: 'spot'",
            id="executor-selects-capacity",
        ),
        pytest.param(
            application(template={"spec": {"nodeSelector": {"karpenter.sh/capacity-type": "spot"}}}),
            {},
            "spec.executor.template.spec.nodeSelector has",
            id="template-selects-capacity",
        ),
    ],
)
def test_bad_input_names_field_value_and_remedy(
    manifest: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        plan(manifest, **arguments)


ODD = TaskRef(dag_id="täglich", task_id="group.daily etl", run_id="manual__2026-11-23T07:00:00+00:00", map_index=3)


@pytest.mark.parametrize("keep", [False, True])
def test_the_application_says_exactly_whose_it_is(keep: bool) -> None:
    identity = Identity(instance="airflow", task_instance="0190-uuid", task=ODD)
    (manifest,) = plan(application(), identity=identity, keep=keep).applications
    written = manifest["metadata"]["annotations"]
    assert TaskRef.read(written["spotmix.io/task"]) == ODD
    assert str(ODD) == "täglich.group.daily etl of run manual__2026-11-23T07:00:00+00:00 map index 3, try 1"
    assert written.get("spotmix.io/keep") == ("true" if keep else None)
    assert identity.fleet_id == IDENTITY.fleet_id


@pytest.mark.parametrize("text", ["", "etl", "[]", '{"dag_id": "etl"}', '{"dag_id": 1, "task_id": "a", "run_id": "b"}'])
def test_what_somebody_else_has_written_is_nobodys_task(text: str) -> None:
    assert TaskRef.read(text) is None


def test_spark_properties_are_added_and_a_persons_own_are_kept() -> None:
    manifest = application()
    manifest["spec"]["sparkConf"] = {"spark.task.maxFailures": "3", "spark.eventLog.enabled": "true"}
    found = plan(manifest)
    assert found.kept == {"spark.task.maxFailures": "3"}
    assert found.added["spark.executor.maxNumFailures"] == "50"
    assert not found.added.keys() & manifest["spec"]["sparkConf"].keys()
    assert found.applications[0]["spec"]["sparkConf"] == {**found.added, **manifest["spec"]["sparkConf"]}


def test_the_budget_of_failures_counts_the_executors_that_there_may_be() -> None:
    manifest = application()
    dynamic = {"spark.dynamicAllocation.enabled": "true", "spark.dynamicAllocation.initialExecutors": "2"}
    manifest["spec"]["sparkConf"] = {**dynamic, "spark.dynamicAllocation.maxExecutors": "30"}
    assert plan(manifest).added["spark.executor.maxNumFailures"] == "300"
    manifest["spec"]["sparkConf"] = dynamic
    assert "spark.executor.maxNumFailures" not in plan(manifest).added
