"""A fleet in the worker, which stays suspended, so that no Spark is started for it; with a second try."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator

with DAG(dag_id="reattach", schedule=None):
    SparkFleetOperator(
        task_id="fleet",
        template_spec={
            "apiVersion": "sparkoperator.k8s.io/v1beta2",
            "kind": "SparkApplication",
            "metadata": {"name": "reattach", "namespace": "spark"},
            "spec": {
                "suspend": True,
                "type": "Python",
                "mode": "cluster",
                "sparkVersion": "4.0.4",
                "mainApplicationFile": "local:///opt/app/none.py",
                "driver": {},
                "executor": {"instances": 3},
            },
        },
        deferrable=False,
        retries=1,
        retry_delay=dt.timedelta(0),
    )
