"""A driver whose node dies: the operator takes it for running until somebody removes it, and then starts another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.kube.client import Kube, PatchType
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import NODES, PODS
from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.applications import application, run_as_fleet, with_memory

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.timeout(600)]

RETRY = {"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": 1}


async def test_a_lost_driver_is_started_again_with_fresh_seats(lab: Lab, namespace: str, tmp_path: Path) -> None:
    job = application("/opt/tests/lost_once.py", ("/memory/begun",), restartPolicy=RETRY)
    seen: list[Pod] = []
    try:
        work = kill_its_node(lab, namespace, tmp_path, seen)
        report = await run_as_fleet(lab.kubeconfig, with_memory(job, str(tmp_path)), namespace, work)
    finally:
        await asyncio.to_thread(lab.restore, seen[0].spec.node_name)
    assert report.succeeded, report.message
    (lost, *old), (driver, *new) = of_submission(seen, seen[0]), of_submission(seen, seen[-1])
    assert lost.spec.node_name != driver.spec.node_name
    for executors in (old, new):
        assert sorted(pod.metadata.labels["spotmix.io/seat"] for pod in executors) == ["0", "1"]


async def kill_its_node(lab: Lab, namespace: str, memory: Path, seen: list[Pod]) -> None:
    """Once the first driver's executors have worked, its machine dies, and the node says no more than that.

    Notes the pods of the first submission, then those of the second, each with its driver first.
    """
    cluster, hub = ClusterConfig(config_file=str(lab.kubeconfig)), Hub()
    async with hub.client(cluster) as kube, asyncio.timeout(200):
        while not (memory / "begun").exists():  # noqa: ASYNC110 - a poll
            await asyncio.sleep(0.2)
        seen += await pods_of(kube, namespace)
        node = seen[0].spec.node_name
        await asyncio.to_thread(lab.interrupt, node, "node-death", 0)
        status = {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}
        await kube.patch(NODES, node, {"status": status}, kind=PatchType.STRATEGIC, subresource="status")
        first = seen[0].metadata.uid
        while True:
            pods = await pods_of(kube, namespace)
            placed = [pod for pod in pods[1:] if pod.metadata.labels.get("spotmix.io/seat")]
            if pods and pods[0].metadata.uid != first and len(placed) == 2:
                seen += [pods[0], *placed]
                break
            await asyncio.sleep(0.2)
    await hub.close()


async def pods_of(kube: Kube, namespace: str) -> list[Pod]:
    """Driver and executors of the newest submission, the driver first."""
    pods = sorted((await kube.list(PODS, namespace)).items, key=lambda pod: pod.metadata.creation_timestamp or 0)
    drivers = [pod for pod in pods if pod.metadata.labels.get("spark-role") == "driver"]
    return of_submission(pods, drivers[-1]) if drivers else []


def of_submission(pods: list[Pod], driver: Pod) -> list[Pod]:
    name = driver.metadata.labels["spark-app-selector"]
    found = [pod for pod in pods if pod.metadata.labels.get("spark-app-selector") == name]
    return sorted(found, key=lambda pod: pod.metadata.labels["spark-role"] != "driver")
