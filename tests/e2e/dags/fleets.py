"""DAGs of the end-to-end tests: the same job, looked after in the triggerer and in the worker.

What a test varies comes with the run: ``{"seconds": of each task, "partitions": tasks}``.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator

APPLICATION: dict[str, Any] = {
    "apiVersion": "sparkoperator.k8s.io/v1beta2",
    "kind": "SparkApplication",
    "metadata": {"name": "e2e", "namespace": "spark"},
    "spec": {
        "type": "Python",
        "mode": "cluster",
        "sparkVersion": "4.0.4",
        "image": "spark:4.0.4",
        "mainApplicationFile": "local:///opt/app/checked_shuffle.py",
        "arguments": [
            "--executors=3",
            "--partitions={{ dag_run.conf['partitions'] }}",
            "--task-seconds={{ dag_run.conf['seconds'] }}",
        ],
        "sparkConf": {
            # A lost executor is noticed by its missing heartbeats: quickly, for a test.
            "spark.network.timeout": "20s",
            "spark.network.timeoutInterval": "5s",
            "spark.executor.heartbeatInterval": "4s",
        },
        "restartPolicy": {"type": "Never"},
        "driver": {"cores": 1, "memory": "512m", "serviceAccount": "spark"},
        "executor": {"instances": 3, "cores": 1, "memory": "512m"},
    },
}

for dag_id, deferrable in (("e2e_triggerer", True), ("e2e_worker", False)):
    with DAG(dag_id=dag_id, schedule=None):
        SparkFleetOperator(
            task_id="fleet",
            template_spec=APPLICATION,
            ratio="1:2",
            follow_driver_log=True,
            deferrable=deferrable,
        )
