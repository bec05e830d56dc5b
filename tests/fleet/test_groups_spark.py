"""Real Spark: a group loses its only spot node in mid-work; the output of all groups is complete, nothing is twice."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.plan import plan_fleet
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.pools import ZONE
from airflow_provider_spotmix.manifests.identity import Identity

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "applications" / "sharded_numbers.yaml"
NUMBERS = 3000
NODE = "spot-1"
MIX = Mix(
    shares=(Share(pool="spot", weight=1, on_demand=False), Share(pool="on-demand", weight=2, on_demand=True)),
    base_pool="on-demand",
)
# Its zone has no other spot node: nothing takes the place of what is lost there.
SPOT = replace(KARPENTER[0], node_selector={**KARPENTER[0].node_selector, ZONE: "lab-a"})


def application(output: Path, namespace: str) -> dict[str, Any]:
    """The example's, with its storage in a directory of this test's own."""
    manifest: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    manifest["metadata"]["namespace"] = namespace
    spec = manifest["spec"]
    spec["sparkConf"] = {
        name: str(output) if name.endswith("options.path") else value for name, value in spec["sparkConf"].items()
    }
    spec["arguments"][1] = "--output=/output"
    return manifest


def written(output: Path) -> dict[int, list[dict[str, int]]]:
    """What is in each complete shard."""
    return {
        int(marker.parent.name.removeprefix("shard=")): [
            json.loads(line) for part in marker.parent.glob("part-*.json") for line in part.read_text().splitlines()
        ]
        for marker in output.glob("shard=*/_SUCCESS")
    }


def is_half_done(output: Path, shard: int) -> bool:
    """Whether some of the shard's tasks have written their part, none of which is complete yet."""
    return len(list(output.glob(f"shard={shard}/_temporary/**/part-*"))) >= 3


@pytest.fixture
def _whole_node(lab: Lab) -> Iterator[None]:
    yield
    lab.restore(NODE)


@pytest.mark.usefixtures("_whole_node")
async def test_a_group_that_is_lost_in_mid_work_leaves_nothing_twice_and_nothing_out(
    lab: Lab, namespace: str, tmp_path: Path
) -> None:
    plan = plan_fleet(
        application(tmp_path, namespace),
        identity=Identity(instance="tests", task_instance=str(uuid.uuid4())),
        mix=MIX,
        pools=(SPOT, KARPENTER[1]),
        namespace=namespace,
        placement="groups",
        groups=3,
        policy=Policy(group_lost_seconds=3),
    )
    (lost,) = [app for app in plan.spec.first_attempts if app.pool == "spot"]
    shard = plan.spec.first_attempts.index(lost)
    cluster, hub = ClusterConfig(config_file=str(lab.kubeconfig)), Hub.shared()
    told: list[str] = []
    async with hub.client(cluster) as kube:
        await submit(kube, plan, tell=lambda message, _: told.append(message))
        fleet = asyncio.create_task(run_fleet(hub, cluster, plan.spec, tell=lambda message, _: told.append(message)))
        while not fleet.done() and not is_half_done(tmp_path, shard):  # noqa: ASYNC110 - a poll
            await asyncio.sleep(0.2)
        assert not fleet.done(), told
        await asyncio.to_thread(lab.interrupt, NODE, "karpenter", 5)
        report = await fleet
    await hub.close()
    assert report.succeeded, (report.message, told)
    assert [(each["group"], each["cause"]) for each in report.resubmissions] == [(lost.group, "starved")]
    shards = written(tmp_path)
    assert sorted(row["number"] for rows in shards.values() for row in rows) == list(range(NUMBERS))
    attempts = {index: dict(Counter(row["attempt"] for row in rows)) for index, rows in shards.items()}
    assert attempts == {index: {2 if index == shard else 1: NUMBERS // 3} for index in range(3)}
