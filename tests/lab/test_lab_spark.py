"""Real Spark through the real operator on the lab: a manifest with nothing in it that is the lab's."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
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


SPOT = {"key": "karpenter.sh/capacity-type", "operator": "Equal", "value": "spot", "effect": "NoSchedule"}


def test_a_pyspark_job_shuffles_on_two_executors_and_completes(lab: Lab, namespace: str) -> None:
    application = Application(lab, namespace, APPLICATION)
    executors: set[str] = set()
    for _ in application.until_over():
        executors |= {name for name, pod in application.executors() if pod["status"].get("phase") == "Running"}
    assert application.state == "COMPLETED", application.driver_log()[-3000:]
    assert "RESULT ok after 1 rounds" in application.driver_log()
    assert len(executors) == 2


def test_an_evicted_executor_moves_its_blocks_away_and_the_result_is_right(lab: Lab, namespace: str) -> None:
    """The image's preStop script, the nodes' grace period and Spark's decommissioning work together."""
    manifest = copy.deepcopy(APPLICATION)
    manifest["spec"]["arguments"] = ["20", "0.5"]
    manifest["spec"]["sparkConf"] = {
        "spark.decommission.enabled": "true",
        "spark.storage.decommission.enabled": "true",
        "spark.storage.decommission.replicationReattemptInterval": "2s",
    }
    # One executor on each spot node.
    manifest["spec"]["executor"]["template"] = {
        "spec": {
            "terminationGracePeriodSeconds": 60,
            "nodeSelector": {"karpenter.sh/capacity-type": "spot"},
            "tolerations": [SPOT],
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {"matchLabels": {"spark-role": "executor"}},
                }
            ],
            "containers": [{"name": "spark-kubernetes-executor"}],
        }
    }
    application = Application(lab, namespace, manifest)
    interrupted = False
    try:
        for _ in application.until_over():
            if not interrupted and "ROUND 3 ok" in application.driver_log():
                interrupted = True
                started = time.monotonic()
                lab.interrupt("spot-1", "karpenter", lead_seconds=60)
                assert time.monotonic() - started < 50  # it ended by itself
    finally:
        if interrupted:
            lab.restore("spot-1")
    log = application.driver_log()
    assert application.state == "COMPLETED", log[-3000:]
    assert "is decommissioned after" in log
    assert "RESULT ok after 20 rounds" in log


class Application:
    """A SparkApplication of this test."""

    def __init__(self, lab: Lab, namespace: str, manifest: Json) -> None:
        self.api, self.namespace, self.state = lab.api, namespace, ""
        base = f"/apis/sparkoperator.k8s.io/v1beta2/namespaces/{namespace}/sparkapplications"
        self.api.create(base, manifest)
        self.path = f"{base}/{manifest['metadata']['name']}"

    def until_over(self) -> Iterator[None]:
        """Give the test a turn now and then until the application has ended."""
        deadline = time.monotonic() + 180
        while self.state not in {"COMPLETED", "FAILED", "SUBMISSION_FAILED"}:
            assert time.monotonic() < deadline, f"the application is still {self.state!r}: {self.driver_log()[-3000:]}"
            status = self.api.get(self.path).get("status", {})
            self.state = status.get("applicationState", {}).get("state", "")
            yield
            time.sleep(0.2)

    def executors(self) -> list[tuple[str, Json]]:
        pods = self.api.items(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector="spark-role=executor")
        return [(str(pod["metadata"]["name"]), pod) for pod in pods]

    def driver_log(self) -> str:
        try:
            return self.api.text(f"/api/v1/namespaces/{self.namespace}/pods/shuffle-driver/log")
        except ApiError as error:
            return str(error)
