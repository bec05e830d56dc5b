"""A real operator removes a real application when its time to live is over, and nobody is connected meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.plan import plan_fleet
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.resources import PODS, Resource
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests.identity import Identity
from tests.fleet.test_plan import MIX
from tests.lab.applications import APPLICATION
from tests.support.played_spark import APPLICATIONS

pytestmark = [pytest.mark.cluster, pytest.mark.spark]

TTL = "spec.timeToLiveSeconds is 1: when no triggerer runs for longer than that after the application's end"


async def test_its_outcome_is_read_from_what_the_operator_recorded(lab: Lab, namespace: str) -> None:
    cluster, hub = ClusterConfig(config_file=str(lab.kubeconfig)), Hub.shared()
    results = await asyncio.gather(*(one(hub, cluster, namespace, code) for code in (0, 1)))
    await hub.close()
    assert [(result, said) for result, said in results] == [
        ("succeeded", "it had succeeded before its object was deleted (Event SparkDriverCompleted: "),
        ("failed", "it had failed before its object was deleted (Event SparkDriverFailed: "),
    ]


async def one(hub: Hub, cluster: ClusterConfig, namespace: str, exit_code: int) -> tuple[str, str]:
    """Result, and the beginning of what is said about the application."""
    spec = APPLICATION["spec"] | {
        "mainApplicationFile": "local:///opt/tests/ends.py",
        "arguments": [str(exit_code)],
        "timeToLiveSeconds": 1,
    }
    plan = plan_fleet(
        APPLICATION | {"spec": spec},
        identity=Identity(instance="tests", task_instance=str(uuid.uuid4())),
        mix=MIX,
        pools=KARPENTER,
        namespace=namespace,
    )
    told: list[str] = []
    async with hub.client(cluster) as kube:
        await submit(kube, plan, tell=lambda message, _: told.append(message))
        of_fleet = f"spotmix.io/fleet={plan.spec.fleet_id}"
        both: tuple[Resource[Any], ...] = (APPLICATIONS, PODS)  # a driver's pod would tell, too
        async with asyncio.timeout(200):
            for resource in both:
                while (await kube.list(resource, namespace, label_selector=of_fleet)).items:  # noqa: ASYNC110 - a poll
                    await asyncio.sleep(0.5)
    assert told[0].startswith(TTL)
    report = await asyncio.wait_for(run_fleet(hub, cluster, plan.spec, tell=lambda *_: None), 60)
    (application,) = report.applications
    assert application["state"] == "DELETED"
    return report.result, application["message"].partition("Driver ")[0]
