"""Real Spark through the real operator on the lab: a manifest with nothing in it that is the lab's."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_spotmix.lab.api import ApiError, Json
from airflow_provider_spotmix.lab.lab import Lab

pytestmark = [pytest.mark.cluster, pytest.mark.spark]

APPLICATION: dict[str, Any] = {
    "apiVersion": "sparkoperator.k8s.io/v1beta2",
    "kind": "SparkApplication",
    "metadata": {"name": "shuffle"},
    "spec": {
        "type": "Python",
        "mode": "cluster",
        "image": "apache/spark:4.0.4",
        "sparkVersion": "4.0.4",
        "mainApplicationFile": "local:///opt/tests/shuffle.py",
        "restartPolicy": {"type": "Never"},
        "driver": {"cores": 1, "memory": "512m", "serviceAccount": "spark"},
        "executor": {"cores": 1, "instances": 2, "memory": "512m"},
    },
}


def test_a_pyspark_job_shuffles_on_two_executors_and_completes(lab: Lab, namespace: str) -> None:
    base = f"/apis/sparkoperator.k8s.io/v1beta2/namespaces/{namespace}/sparkapplications"
    lab.api.create(base, APPLICATION)
    executors: set[str] = set()
    deadline = time.monotonic() + 120
    state = ""
    while state not in {"COMPLETED", "FAILED", "SUBMISSION_FAILED"}:
        assert time.monotonic() < deadline, f"the application is still {state!r}"
        application = lab.api.get(f"{base}/shuffle")
        state = application.get("status", {}).get("applicationState", {}).get("state", "")
        executors |= {name for name, pod in _executors(lab, namespace) if pod["status"].get("phase") == "Running"}
        time.sleep(0.2)
    log = _driver_log(lab, namespace)
    assert state == "COMPLETED", log[-3000:]
    assert "RESULT ok after 1 rounds" in log
    assert len(executors) == 2


def _executors(lab: Lab, namespace: str) -> list[tuple[str, Json]]:
    pods = lab.api.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector="spark-role=executor")
    return [(str(pod["metadata"]["name"]), pod) for pod in pods]


def _driver_log(lab: Lab, namespace: str) -> str:
    try:
        return lab.api.text(f"/api/v1/namespaces/{namespace}/pods/shuffle-driver/log")
    except ApiError as error:
        return str(error)
