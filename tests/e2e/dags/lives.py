"""DAGs of `test_life.py`. Most applications stay suspended: the test plays Spark. Where each runs comes with the run.

``{"namespace": where, "first_connection": connection of type kubernetes that only the first try uses}``
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from airflow_provider_spotmix.sensors.spark_fleet import SparkFleetSensor

PLAYED: dict[str, Any] = {
    "apiVersion": "sparkoperator.k8s.io/v1beta2",
    "kind": "SparkApplication",
    "metadata": {"name": "life"},
    "spec": {
        "suspend": True,
        "type": "Python",
        "mode": "cluster",
        "sparkVersion": "4.0.4",
        "mainApplicationFile": "local:///opt/app/none.py",
        "driver": {"cores": 1, "memory": "512m", "serviceAccount": "spark"},
        "executor": {"instances": 3, "cores": 1, "memory": "512m"},
    },
}
REAL = {**PLAYED["spec"], "suspend": False, "image": "spark:4.0.4", "restartPolicy": {"type": "Never"}}
SUCCEEDING = {
    **REAL,
    "mainApplicationFile": "local:///opt/app/checked_shuffle.py",
    "arguments": ["--executors=3", "--partitions=6", "--task-seconds=0.2"],
}
# Over while there is no triggerer, and then the operator deletes it.
SHORT_LIVED = {
    **SUCCEEDING,
    "arguments": ["--executors=3", "--partitions=6", "--task-seconds=5"],
    "timeToLiveSeconds": 1,
}
FAILING = {**REAL, "mainApplicationFile": "local:///opt/tests/failing.py"}

# No node has what its spot pool asks for.
SOLD_OUT = [
    {"name": "spot", "capacity_type": "spot", "node_selector": {"karpenter.sh/capacity-type": "sold-out"}},
    {"name": "on-demand", "capacity_type": "on-demand", "node_selector": {"karpenter.sh/capacity-type": "on-demand"}},
]
ANYWHERE: dict[str, Any] = {
    "task_id": "fleet",
    "namespace": "{{ dag_run.conf['namespace'] }}",
    "kubernetes_conn_id": "{{ dag_run.conf.get('first_connection', 'lab') if ti.try_number == 1 else 'lab' }}",
}
# As long as Airflow's own log files can be named after them, in bytes; the run's id is the test's.
ODD_DAG = "life_" + "ünï" + "d" * 230
ODD_TASK = "タスク." + "t" * 220


def life(dag_id: str, spec: dict[str, Any] = PLAYED["spec"], **arguments: Any) -> None:
    """Make a DAG with one fleet."""
    with DAG(dag_id=dag_id, schedule=None):
        SparkFleetOperator(**{**ANYWHERE, "template_spec": {**PLAYED, "spec": spec}, **arguments})


for where, deferrable in (("triggerer", True), ("worker", False)):
    life(f"life_{where}", deferrable=deferrable)
    life(f"life_{where}_limited", deferrable=deferrable, execution_timeout=dt.timedelta(minutes=1))
    life(f"life_{where}_retried", deferrable=deferrable, retries=1, retry_delay=dt.timedelta(0))
life("life_agent", controller="agent")
life("life_agent_groups", controller="agent", placement="groups")
life("life_fallback", pools=SOLD_OUT, spot_pending_timeout_seconds=5)
life("life_impatient", startup_timeout_seconds=10)
life("life_succeeding", SUCCEEDING)
life("life_short_lived", SHORT_LIVED)
life("life_failing", FAILING, driver_log_lines=20, log_events_on_failure=True)
life(ODD_DAG, task_id=ODD_TASK)
with DAG(dag_id="life_mapped", schedule=None):
    SparkFleetOperator.partial(template_spec=PLAYED, **ANYWHERE).expand(name=["a", "b", "c"])
with DAG(dag_id="life_sensor", schedule=None):
    SparkFleetSensor(
        task_id="sensor",
        fleet="{{ dag_run.conf['fleet'] }}",
        namespace=ANYWHERE["namespace"],
        kubernetes_conn_id="lab",
        executors_running=3,
        mix="1:2",
        deferrable=True,
    )
with DAG(dag_id="life_sensor_rescheduled", schedule=None):
    SparkFleetSensor(
        task_id="sensor",
        name="life",
        namespace=ANYWHERE["namespace"],
        kubernetes_conn_id="lab",
        mode="reschedule",
        poke_interval=1,
    )
