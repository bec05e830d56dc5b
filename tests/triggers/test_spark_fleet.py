"""`SparkFleetTrigger`: what Airflow stores of it, and what it does when it ends. No cluster."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from airflow.sdk import DAG

from airflow_provider_spotmix.core.cost import Price, Prices
from airflow_provider_spotmix.core.pools import PRESETS
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from airflow_provider_spotmix.triggers.spark_fleet import SparkFleetTrigger
from tests.fleet.test_plan import application, plan
from tests.support.running_task import running
from tests.support.triggerer import PlayedSupervisor
from tests.support.versions import deserialize, serialize

SECRET = "correct-horse-battery-staple"


def trigger(**arguments: Any) -> SparkFleetTrigger:
    spec = msgspec.to_builtins(plan(application()).spec)
    return SparkFleetTrigger(**{"spec": spec, "spotmix_conn_id": "spotmix_default", **arguments})


def stored(original: SparkFleetTrigger) -> SparkFleetTrigger:
    """What comes back out of Airflow's database."""
    path, arguments = original.serialize()
    assert path == "airflow_provider_spotmix.triggers.spark_fleet.SparkFleetTrigger"
    there: Any = deserialize(json.loads(json.dumps(serialize(arguments))))
    return SparkFleetTrigger(**there)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_stored_comes_back(preset: str) -> None:
    prices = Prices(by_pool={"spot": Price(core_hour=Decimal("0.0120"))}, currency="EUR")
    spec = plan(application(), pools=PRESETS[preset], prices=prices).spec
    where = {"in_cluster": False, "config_file": "/etc/kube", "cluster_context": "prod"}
    original = trigger(spec=msgspec.to_builtins(spec), kubernetes_conn_id="k8s", **where)
    again = stored(original)
    assert again.serialize() == original.serialize()
    assert {name: getattr(again, name) for name in where} == where
    assert msgspec.convert(again.spec, FleetSpec) == spec


def test_no_secret_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.dumps({"users": [{"name": "u", "user": {"token": SECRET}}]})
    monkeypatch.setenv("AIRFLOW_CONN_K8S", json.dumps({"conn_type": "kubernetes", "extra": {"kube_config": config}}))
    manifest = application(env=[{"name": "PASSWORD", "value": SECRET}])
    with DAG("etl", schedule=None):
        task = SparkFleetOperator(task_id="daily", template_spec=manifest, namespace="spark", kubernetes_conn_id="k8s")
    planned = task._plan(running(task)[1], lambda *_: None)
    assert SECRET in json.dumps(planned.applications)
    assert SECRET not in json.dumps(task._trigger(planned.spec).serialize())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"spotmix_conn_id": "team"}, "in the triggerer, there is no connection 'team' here", id="missing"),
        pytest.param({"kubernetes_conn_id": "broken"}, "connection 'broken': its extra is no JSON object", id="broken"),
        pytest.param({"kubernetes_conn_id": "nowhere"}, "no kubeconfig at '/nowhere'", id="no-kubeconfig"),
    ],
)
async def test_what_is_wrong_with_a_connection_is_told_to_the_task(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], error: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", '{"conn_type": "kubernetes", "extra": "{"}')
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", "kubernetes://?kube_config_path=/nowhere")
    one = trigger(**arguments)
    events = [event.payload async for event in one.run()]
    assert [(event["spec"], error in event["error"]) for event in events] == [(one.spec, True)]


def task_instance(map_index: int = -1) -> Any:
    with DAG("etl", schedule=None):
        task = SparkFleetOperator(task_id="daily", template_spec=application())
    return running(task, map_index=map_index)[0]


@pytest.mark.parametrize(
    ("map_index", "states", "deferred"),
    [
        pytest.param(-1, {"daily": "deferred"}, True, id="moved-to-another-triggerer"),
        pytest.param(-1, {"daily": "failed"}, False, id="marked-failed"),
        pytest.param(-1, {"daily": "success"}, False, id="marked-success"),
        pytest.param(-1, {"daily": None}, False, id="cleared"),
        pytest.param(-1, {}, False, id="deleted"),
        pytest.param(-1, {"daily": "up_for_retry"}, False, id="failed-and-tried-again"),
        pytest.param(3, {"daily_3": "deferred"}, True, id="mapped-and-moved"),
        pytest.param(3, {"daily_3": "failed", "daily_4": "deferred"}, False, id="mapped-and-failed"),
        pytest.param(-1, RuntimeError("no answer"), True, id="without-an-answer-nothing-is-deleted"),
    ],
)
async def test_whether_the_task_still_waits(
    monkeypatch: pytest.MonkeyPatch, map_index: int, states: dict[str, str | None] | Exception, deferred: bool
) -> None:
    supervisor = PlayedSupervisor(states).install(monkeypatch)
    one = trigger()
    one.task_instance = task_instance(map_index)
    assert await one._is_deferred() is deferred
    assert [(a.dag_id, a.task_ids, a.map_index) for a in supervisor.asked] == [("etl", ["daily"], map_index)]


async def test_a_trigger_of_no_task_deletes_nothing() -> None:
    assert await trigger()._is_deferred()
