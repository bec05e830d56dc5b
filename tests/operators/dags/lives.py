"""Fleets that never end by themselves: their application stays suspended, so no Spark is started for them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG

from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator

APPLICATION: dict[str, Any] = {
    "apiVersion": "sparkoperator.k8s.io/v1beta2",
    "kind": "SparkApplication",
    "metadata": {"name": "life", "namespace": "spark"},
    "spec": {
        "suspend": True,
        "type": "Python",
        "mode": "cluster",
        "sparkVersion": "4.0.4",
        "mainApplicationFile": "local:///opt/app/none.py",
        "driver": {},
        "executor": {"instances": 3},
    },
}

for where, deferrable in (("triggerer", True), ("worker", False)):
    for limit, seconds in (("endless", None), ("limited", 20)):
        with DAG(dag_id=f"life_{where}_{limit}", schedule=None):
            SparkFleetOperator(
                task_id="fleet",
                template_spec=APPLICATION,
                deferrable=deferrable,
                execution_timeout=dt.timedelta(seconds=seconds) if seconds else None,
            )
