"""`SparkFleetSensor` on a real API server, by the permissions that its page lists. Spark is played."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.resources import custom
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.operators.announcement import announcement
from airflow_provider_spotmix.sensors.spark_fleet import SparkFleetSensor
from airflow_provider_spotmix.triggers.spark_fleet_sensor import SparkFleetSensorTrigger
from tests.kube.test_client_cluster import limited
from tests.support.fleet_task import FleetTask
from tests.support.running_task import running

pytestmark = pytest.mark.cluster

PAGE = Path(__file__).parents[2] / "docs" / "sensor.md"
RBAC = "rbac.authorization.k8s.io"

Sensor = Callable[..., tuple[SparkFleetSensor, Any]]


@pytest.fixture
def fleet(lab: Lab, namespace: str, monkeypatch: pytest.MonkeyPatch) -> FleetTask:
    monkeypatch.setenv("AIRFLOW_CONN_SPOTMIX_DEFAULT", f"spotmix://?kube_config_path={lab.kubeconfig}")
    task = FleetTask(lab.kubeconfig, namespace)
    with pytest.raises(TaskDeferred):
        task.operator.execute(task.context)
    return task


@pytest.fixture
def sensor(namespace: str) -> Sensor:
    """A sensor of the DAG that the fleet's task is in."""

    def new(**arguments: Any) -> tuple[SparkFleetSensor, Any]:
        with DAG("etl", schedule=None):
            operator = SparkFleetSensor(**{"task_id": "wait", "namespace": namespace, **arguments})
        return operator, running(operator)[1]

    return new


def trigger_of(sensor: SparkFleetSensor, context: Any) -> SparkFleetSensorTrigger:
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(context)
    _, arguments = caught.value.trigger.serialize()
    return SparkFleetSensorTrigger(**arguments)


def event_of(trigger: SparkFleetSensorTrigger, fleet: FleetTask) -> dict[str, Any]:
    async def run(_: Kube) -> dict[str, Any]:
        events = [event.payload async for event in trigger.run()]
        await Hub.shared().close()
        (found,) = events
        return dict(found)

    return fleet.on_cluster(run)


def test_every_way_to_name_a_fleet_finds_it(fleet: FleetTask, sensor: Sensor) -> None:
    spec = fleet.plan().spec
    fleet.play("COMPLETED")
    for named in (
        {"fleet_task_id": "daily"},
        {"fleet": announcement(spec)},
        {"fleet": spec.fleet_id},
        {"name": spec.applications[0].name},
        {"label_selector": f"spotmix.io/fleet={spec.fleet_id}"},
    ):
        operator, context = sensor(**named)
        seen = {
            "applications": [{"name": spec.applications[0].name, "state": "COMPLETED"}],
            "running": {},
            "fallen_back": {},
        }
        poked = operator.poke(context)
        assert (poked.is_done, poked.xcom_value) == (True, seen), named
        deferrable, context = sensor(deferrable=True, **named)
        assert deferrable.execute(context) == seen, named


def test_it_waits_in_the_triggerer(fleet: FleetTask, sensor: Sensor) -> None:
    operator, context = sensor(fleet_task_id="daily", deferrable=True)
    trigger = trigger_of(operator, context)
    with fleet.meanwhile(lambda: fleet.play("COMPLETED")):
        event = event_of(trigger, fleet)
    assert operator.execute_complete(context, event)["applications"][0]["state"] == "COMPLETED"


def test_a_failed_fleet_and_a_missing_one_are_told_apart(fleet: FleetTask, sensor: Sensor) -> None:
    missing, context = sensor(name="not-there", missing_timeout=0, deferrable=True)
    event = event_of(trigger_of(missing, context), fleet)
    with pytest.raises(AirflowException, match=r"there is no SparkApplication 'not-there' in namespace .* after 0 s"):
        missing.execute_complete(context, event)
    poking, context = sensor(name="not-there", missing_timeout=0)
    with pytest.raises(AirflowException, match="there is no SparkApplication 'not-there'"):
        poking.poke(context)
    fleet.play("FAILED", "driver exited with 3")
    failed, context = sensor(fleet_task_id="daily")
    with pytest.raises(AirflowException, match="is FAILED: driver exited with 3"):
        failed.poke(context)
    over, context = sensor(fleet_task_id="daily", wait_for="over")
    assert over.poke(context).is_done


def test_the_documented_permissions_are_enough(
    fleet: FleetTask, sensor: Sensor, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    user, role = f"reader-{namespace}", yaml.safe_load(PAGE.read_text().split("```yaml\n")[1].partition("```")[0])

    async def grant(kube: Kube) -> None:
        name = role["metadata"]["name"]
        reference = {"apiGroup": RBAC, "kind": "Role", "name": name}
        subjects = [{"apiGroup": RBAC, "kind": "User", "name": user}]
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": subjects}
        await kube.create(custom(RBAC, "v1", "roles", "Role"), role, namespace)
        await kube.create(custom(RBAC, "v1", "rolebindings", "RoleBinding"), binding, namespace)

    fleet.on_cluster(grant)
    content = limited(fleet.cluster, user).kube_config
    assert isinstance(content, str)
    (tmp_path / "reader.yaml").write_text(content)
    monkeypatch.setenv("AIRFLOW_CONN_SPOTMIX_DEFAULT", f"spotmix://?kube_config_path={tmp_path / 'reader.yaml'}")
    operator, context = sensor(fleet_task_id="daily", executors_running=0, mix="40:60", tolerance=5, deferrable=True)
    assert operator.execute(context)["running"] == {}
    operator, context = sensor(fleet_task_id="daily", executors_running=1, deferrable=True, missing_timeout=5)
    trigger = trigger_of(operator, context)
    with fleet.meanwhile(lambda: fleet.play("FAILED", "enough")):
        assert event_of(trigger, fleet)["why"].endswith("is FAILED: enough")
