"""Following what drivers write, on a real API server and a real kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from airflow_provider_spotmix.fleet import driver_follow
from airflow_provider_spotmix.fleet.driver_follow import DriverLogs
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.lab.lab import Lab
from tests.core.vocabulary import fleet

pytestmark = pytest.mark.cluster


@pytest.fixture
async def kube(lab: Lab) -> AsyncIterator[Kube]:
    client = await ClusterConfig(config_file=str(lab.kubeconfig)).connect()
    yield client
    await client.close()


@pytest.fixture
def told() -> list[str]:
    return []


async def _driver(kube: Kube, namespace: str, script: str) -> Progress:
    """A pod that writes; a picture says that it is a driver's."""
    container = {"name": "spark-kubernetes-driver", "image": "lab/host", "command": ["sh", "-c", script]}
    spec = {"containers": [container], "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a-driver"}, "spec": spec}
    await kube.create(PODS, pod, namespace)
    progress = Progress(fleet())
    progress.relay({"drivers": [{"pod": "a-driver"}, {"pod": ""}, {"pod": "no-such-driver"}]})
    return progress


async def _until(wanted: Callable[[], bool], logs: DriverLogs) -> None:
    async with asyncio.timeout(60):
        while not wanted():
            await logs.tell_news()
            await asyncio.sleep(0.2)


async def test_each_line_is_told_once(kube: Kube, namespace: str, told: list[str]) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; sleep 0.4; done; echo; echo the end"
    progress = await _driver(kube, namespace, script)
    logs = DriverLogs(kube, namespace, progress, lambda line, warning: told.append(line))
    await _until(lambda: "[a-driver] the end" in told, logs)
    assert told == [*(f"[a-driver] line {number}" for number in range(1, 10)), "[a-driver] ", "[a-driver] the end"]


async def test_a_driver_that_writes_much_is_cut_and_the_next_controller_begins_near_its_end(
    kube: Kube, namespace: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_follow, "MAX_LINES", 3)
    script = "echo first; sleep 3; for i in 1 2 3 4 5 6 7; do echo line $i; done; sleep 600"
    progress = await _driver(kube, namespace, script)

    def tell(line: str, warning: Any) -> None:
        told.append(line.removeprefix("[a-driver] "))

    logs = DriverLogs(kube, namespace, progress, tell)
    await _until(lambda: "first" in told, logs)
    await asyncio.sleep(4)
    await _until(lambda: "line 7" in told, logs)
    assert told == [
        "first",
        "... 4 lines left out: the driver writes more than is followed",
        "line 5",
        "line 6",
        "line 7",
    ]
    told.clear()
    await DriverLogs(kube, namespace, progress, tell).tell_news()
    assert told == ["line 5", "line 6", "line 7"]
