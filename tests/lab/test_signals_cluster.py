"""Every signal that the lab plays, on a real API server: what a fleet makes of it, by which evidence, and what it does.

All rows are played side by side, each with a spot node and a namespace of its own; Spark is played, too.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

from airflow_provider_spotmix.core.interruption import SIGNS, Where
from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import CapacityType, Pool
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.plan import plan_fleet
from airflow_provider_spotmix.fleet.report import Report
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.fleet.submit import delete_fleet, submit
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.resources import custom
from airflow_provider_spotmix.lab.config import LabConfig, nodes_of
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.pools import ON_DEMAND, SPOT, PoolConfig
from airflow_provider_spotmix.lab.signals import SIGNALS
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.identity import Identity
from tests.fleet.test_plan import application
from tests.fleet.test_rbac import RBAC, documented
from tests.kube.test_client_cluster import limited
from tests.support.played_spark import PlayedSpark

pytestmark = pytest.mark.cluster

POOL = "lab.spotmix.io/pool"
LEAD = 3.0
MARKET, OTHER, APPLICATION, UNKNOWN = "spot-interruption", "infrastructure", "application", "unknown"
NTH = "taint aws-node-termination-handler/"
KARPENTER = "taint karpenter.sh/disrupted"


class Row(NamedTuple):
    """A signal, and what is to come of it: no cause where nobody is lost."""

    signal: str
    cause: str = ""
    evidence: str = ""
    replaced_on: str = ON_DEMAND
    hits: str = SPOT  # the pool whose node is hit
    reads: str = "all"  # what the controller may read: "namespace", "nodes" as well, or all, Events of nodes too


ROWS = (
    Row("karpenter", MARKET, "Event SpotInterrupted of node"),
    Row("karpenter", MARKET, "Event SpotInterrupted of node", reads="nodes"),  # its pods are told, too
    Row("karpenter-consolidation", OTHER, "Event DisruptionTerminating of node"),
    Row("karpenter-consolidation", MARKET, KARPENTER, reads="nodes"),  # nothing says that it is not
    Row("karpenter-consolidation", MARKET, "EvictionByEvictionAPI", reads="namespace"),
    Row("karpenter-drift", OTHER, "Event DisruptionTerminating of node"),
    Row("karpenter-expiry", UNKNOWN, KARPENTER),
    Row("karpenter-withdrawn"),
    Row("karpenter-rebalance"),
    Row("nth", MARKET, f"{NTH}spot-itn"),
    Row("nth", OTHER, f"{NTH}spot-itn", hits=ON_DEMAND),
    Row("nth-untainted", MARKET, "EvictionByEvictionAPI"),
    Row("nth-maintenance", OTHER, f"{NTH}scheduled-maintenance"),
    Row("nth-asg", OTHER, f"{NTH}asg-lifecycle-termination"),
    Row("nth-rebalance"),
    Row("nth-withdrawn", OTHER, f"{NTH}scheduled-maintenance"),
    Row("gke", MARKET, "is shutting down"),
    Row("gke-termination", MARKET, "taint cloud.google.com/impending-node-termination"),
    Row("aks", MARKET, "taint remediator.kubernetes.azure.com/unschedulable"),
    Row("cluster-autoscaler", OTHER, "taint ToBeDeletedByClusterAutoscaler"),
    Row("cluster-autoscaler-candidate"),
    Row("drain", MARKET, "EvictionByEvictionAPI"),
    Row("no-execute", MARKET, "DeletionByTaintManager"),
    Row("node-death", MARKET, "is not ready"),
    Row("node-freeze", MARKET, "is not ready"),
    Row("node-deletion", MARKET, "is gone"),
    Row("node-stopped", MARKET, "taint node.cloudprovider.kubernetes.io/shutdown"),
    Row("out-of-service", MARKET, "taint node.kubernetes.io/out-of-service"),
    Row("preemption", OTHER, "PreemptionByScheduler"),
    Row("node-pressure", OTHER, "pod reason Evicted"),
    Row("oom", APPLICATION, "OOMKilled", replaced_on=SPOT),
    Row("pod-deletion", UNKNOWN, "deleted without a disruption signal"),
)


class Played(NamedTuple):
    """What came of a row."""

    report: Report
    hit: str  # name of the executor on the node
    left_behind: list[str]  # executors that stayed on the node


@pytest.fixture(scope="module")
def played() -> Iterator[dict[Row, Played | BaseException]]:
    """All rows, side by side in a lab of their own."""
    spots = (PoolConfig(name(SPOT, row), SPOT, provider="plain", nodes=1) for row in ROWS)
    others = (PoolConfig(name(ON_DEMAND, row), ON_DEMAND, provider="plain") for row in ROWS if row.hits != SPOT)
    common = PoolConfig(ON_DEMAND, ON_DEMAND, provider="plain", nodes=1, cpu="200", memory="200Gi")
    with Lab.ephemeral(LabConfig(nodes=nodes_of(*spots, *others, common))) as lab:
        yield dict(zip(ROWS, asyncio.run(play_all(lab)), strict=True))


def name(pool: str, row: Row) -> str:
    """Name of a pool of the row's own."""
    return f"{pool[:2]}-{ROWS.index(row)}"


async def play_all(lab: Lab) -> list[Played | BaseException]:
    return await asyncio.gather(*(play(lab, row) for row in ROWS), return_exceptions=True)


async def play(lab: Lab, row: Row) -> Played:
    """A fleet of one executor on spot and one on on-demand; one of the two is hit."""
    own = Lab.attach(lab.name)  # its client is for one thread
    namespace = f"signal-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(own.create_namespace, namespace)
    ours = {SPOT: name(SPOT, row), ON_DEMAND: ON_DEMAND if row.hits == SPOT else name(ON_DEMAND, row)}
    pools = tuple(
        Pool(name=pool, capacity_type=CapacityType(pool), node_selector={POOL: selected})
        for pool, selected in ours.items()
    )
    manifest: dict[str, Any] = application(instances=2)
    manifest["spec"] |= {
        "suspend": True,  # the lab's operator leaves it alone
        "type": "Python",
        "mode": "cluster",
        "sparkVersion": "4.0.4",
        "mainApplicationFile": "local:///opt/app/none.py",
    }
    manifest["spec"]["executor"]["template"] = {"spec": {"terminationGracePeriodSeconds": 1}}
    plan = plan_fleet(
        manifest,
        identity=Identity(instance="tests", task_instance=str(uuid.uuid4())),
        namespace=namespace,
        mix=Mix(shares=(Share(pool=SPOT, weight=1, on_demand=False), Share(pool=ON_DEMAND, weight=1, on_demand=True))),
        pools=pools,
        policy=Policy(node_lost_after_seconds=3.0),
    )
    cluster, hub = ClusterConfig(config_file=str(lab.kubeconfig)), Hub()
    async with hub.client(cluster) as kube:
        spark = PlayedSpark(kube, plan.applications[0], executors=2)
        await submit(kube, plan, tell=lambda *_: None)
        await spark.state("RUNNING")
        reader = cluster if row.reads == "all" else await permit(kube, cluster, namespace, nodes=row.reads == "nodes")
        controller = asyncio.create_task(run_fleet(hub, reader, plan.spec, tell=lambda *_: None))
        driver = asyncio.create_task(keep_asking(spark))
        await running(spark)
        hit, node = await one_on(spark, row.hits)
        lead = LEAD if SIGNALS[row.signal].lead_seconds else 0.0
        await asyncio.to_thread(own.interrupt, node, row.signal, lead)
        if row.cause:
            await replaced(spark, hit)
        await running(spark)
        stayed = [p.metadata.name for p in await spark.pods() if p.spec.node_name == node]
        driver.cancel()
        await spark.complete()
        report = await asyncio.wait_for(controller, 60)
        await delete_fleet(kube, plan.spec)
    await hub.close()
    return Played(report, hit, stayed)


async def permit(kube: Kube, cluster: ClusterConfig, namespace: str, *, nodes: bool) -> ClusterConfig:
    """The same cluster, as somebody sees it who has the Role of docs/rbac.md, and perhaps the ClusterRole."""
    kinds = ["Role", *(["ClusterRole"] if nodes else [])]
    for kind in kinds:
        where = namespace if kind == "Role" else None
        roles = custom(RBAC, "v1", f"{kind.lower()}s", kind, namespaced=where is not None)
        bindings = custom(RBAC, "v1", f"{kind.lower()}bindings", f"{kind}Binding", namespaced=where is not None)
        named = {"metadata": {"name": namespace}}
        subject = {"apiGroup": RBAC, "kind": "User", "name": namespace}
        bound = {"roleRef": {"apiGroup": RBAC, "kind": kind, "name": namespace}, "subjects": [subject]}
        await kube.create(roles, {**named, "rules": documented()[kind]["rules"]}, where)
        await kube.create(bindings, {**named, **bound}, where)
    return limited(cluster, namespace)


async def keep_asking(spark: PlayedSpark) -> None:
    """As the driver does: ask for what is missing, and remove what has failed."""
    while True:
        await spark.request_missing()
        for pod in await spark.pods():
            if pod.status.phase == "Failed" and pod.metadata.deletion_timestamp is None:
                with suppress(Exception):
                    await spark.remove(pod.metadata.name)
        await asyncio.sleep(0.3)


async def running(spark: PlayedSpark) -> None:
    """Wait until two executors run and none leaves."""

    async def check() -> bool:
        pods = await spark.pods()
        return [(p.status.phase, p.metadata.deletion_timestamp) for p in pods] == [("Running", None)] * 2

    await until(check, spark, "two running executors")


async def replaced(spark: PlayedSpark, lost: str) -> None:
    async def check() -> bool:
        return lost not in [pod.metadata.name for pod in await spark.pods()]

    await until(check, spark, f"an end of {lost}")


async def until(check: Any, spark: PlayedSpark, what: str) -> None:
    give_up = time.monotonic() + 120
    while not await check():
        if time.monotonic() > give_up:
            here = [(p.metadata.name, p.spec.node_name, p.status.phase, p.metadata.labels) for p in await spark.pods()]
            raise AssertionError(f"never: {what}; there are {here}")
        await asyncio.sleep(0.2)


async def one_on(spark: PlayedSpark, pool: str) -> tuple[str, str]:
    """Name and node of the executor on a pool."""
    (pod,) = [pod for pod in await spark.pods() if pod.metadata.labels[labels.PLACED_POOL] == pool]
    return pod.metadata.name, pod.spec.node_name


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.signal}-{row.hits}-{row.reads}") for row in ROWS])
def test_a_signal_is_understood(played: dict[Row, Played | BaseException], row: Row) -> None:
    found = played[row]
    if isinstance(found, BaseException):
        raise found
    report, hit, left = found
    losses = [*report.interruptions, *report.failures]
    if not row.cause:
        assert (losses, left) == ([], [hit])
        return
    (loss,) = losses
    (replacement,) = report.replacements
    assert (loss["executor"], loss["cause"], loss["pool"]) == (hit, row.cause, row.hits)
    assert row.evidence in "; ".join(loss["evidence"])
    assert (replacement["replaces"], replacement["pool"], replacement["cause"]) == (hit, row.replaced_on, row.cause)


def test_every_signal_has_its_row() -> None:
    partitions = {signal for signal in SIGNALS if signal.endswith("-partition")}  # tests/lab/test_partition_cluster.py
    assert {row.signal for row in ROWS} == SIGNALS.keys() - partitions


def test_every_sign_of_a_node_is_played() -> None:
    """But those that only say what another row shows, and old names."""
    shown = " ".join(row.evidence for row in ROWS)
    taints = {sign.key for sign in SIGNS if sign.where is Where.TAINT and (sign.announces or sign.proves_gone)}
    assert {key for key in taints if key not in shown} == {"remediator.aks.microsoft.com/unschedulable"}
