"""Real Spark grows, shrinks and grows again: the seat mix holds for the executors that there are. They are paid for."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_spotmix.core.cost import Costs, Price, Prices
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.plan import plan_fleet
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.fleet.submit import submit
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.resources import PODS, custom
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests.identity import Identity
from tests.fleet.test_plan import MIX
from tests.lab.applications import APPLICATION

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.timeout(600)]

FEWEST, MOST = 2, 6
PRICES = Prices(by_pool={"spot": Price(executor_hour=Decimal(3600)), "on-demand": Price(executor_hour=Decimal(7200))})


def application() -> dict[str, Any]:
    manifest = copy.deepcopy(APPLICATION)
    manifest["metadata"]["name"] = "waves"
    spec = manifest["spec"]
    spec["mainApplicationFile"] = "local:///opt/tests/waves.py"
    spec["arguments"] = [str(FEWEST), str(MOST)]
    del spec["executor"]["instances"]
    # With Python, overhead is two fifths of this, more than the least that Spark takes.
    spec["executor"] |= {"memory": "1g", "coreRequest": "500m"}
    spec["dynamicAllocation"] = {
        "enabled": True,
        "initialExecutors": FEWEST,
        "minExecutors": FEWEST,
        "maxExecutors": MOST,
    }
    spec["sparkConf"] = {
        "spark.dynamicAllocation.executorIdleTimeout": "2s",
        "spark.dynamicAllocation.schedulerBacklogTimeout": "1s",
        "spark.kubernetes.dynamicAllocation.deleteGracePeriod": "1s",
    }
    return manifest


async def test_the_seat_mix_holds_while_a_fleet_grows_and_shrinks(lab: Lab, namespace: str) -> None:
    plan = plan_fleet(
        application(),
        identity=Identity(instance="tests", task_instance=str(uuid.uuid4())),
        mix=MIX,
        pools=KARPENTER,
        namespace=namespace,
        prices=PRICES,
    )
    cluster, hub = ClusterConfig(config_file=str(lab.kubeconfig)), Hub.shared()
    told: list[str] = []
    seen: list[dict[str, int]] = []
    requests: set[tuple[str, str]] = set()
    async with hub.client(cluster) as kube:
        await submit(kube, plan, tell=lambda message, _: told.append(message))
        fleet = asyncio.create_task(run_fleet(hub, cluster, plan.spec, tell=lambda message, _: told.append(message)))
        while not fleet.done():
            requests |= await requested(kube, namespace)
            seats = await seats_by_pool(kube, namespace)
            if seats and (not seen or seen[-1] != seats):
                seen.append(seats)
            await asyncio.wait([fleet], timeout=0.2)
    await hub.close()
    report = fleet.result()
    assert report.succeeded, (report.message, told)
    peaks = [number for number, seats in enumerate(seen) if sum(seats.values()) == MOST]
    valleys = [number for number, seats in enumerate(seen) if sum(seats.values()) == FEWEST]
    assert min(peaks) < max(n for n in valleys if n < max(peaks)), f"it never shrank in between: {seen}"
    # While it grows for the first time, and whenever it is whole again.
    growing = seen[: min(peaks) + 1]
    assert [seats for seats in [*growing, *(seen[n] for n in peaks)] if not within_one(seats)] == []
    assert (report.interruptions, report.failures) == ([], []), "leaving when idle is no loss"
    (planned,) = plan.spec.applications
    assert requests == {(f"{planned.cores * 1000:g}m", f"{planned.memory_gib * 1024:g}Mi")}
    assert report.costs == costs_of(report.ledger)


def costs_of(ledger: dict[str, dict[str, Any]]) -> Costs:
    """A second costs 1 on spot and 2 on on-demand."""
    spot, on_demand = (Decimal(str(ledger[pool]["executor_seconds"])) for pool in ("spot", "on-demand"))
    return Costs(
        currency="USD",
        by_pool={"on-demand": 2 * on_demand, "spot": spot},
        total=spot + 2 * on_demand,
        all_on_demand=2 * (spot + on_demand),
        saved=spot,
        estimated=False,
    )


async def requested(kube: Kube, namespace: str) -> set[tuple[str, str]]:
    """Cores and memory that executors request."""
    pods = await kube.list(custom("", "v1", "pods", "Pod"), namespace, label_selector="spark-role=executor")
    containers = [container["resources"]["requests"] for pod in pods.items for container in pod.spec["containers"]]
    return {(each["cpu"], each["memory"]) for each in containers}


async def seats_by_pool(kube: Kube, namespace: str) -> dict[str, int]:
    """Executors that are not on their way out, by the pool that their seat asks for; nothing while one waits for it."""
    pods = (await kube.list(PODS, namespace, label_selector="spark-role=executor")).items
    here = [
        pod for pod in pods if pod.metadata.deletion_timestamp is None and pod.status.phase in ("Pending", "Running")
    ]
    if any(pod.spec.scheduling_gates for pod in here):
        return {}
    return dict(Counter(pod.metadata.labels["spotmix.io/seat-pool"] for pod in here))


def within_one(seats: dict[str, int]) -> bool:
    executors, weights = sum(seats.values()), {share.pool: share.weight for share in MIX.shares}
    return all(
        abs(seats.get(pool, 0) - executors * weight / sum(weights.values())) < 1 for pool, weight in weights.items()
    )
