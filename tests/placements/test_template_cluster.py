"""The one patch, on a real API server: every preset, every shape of a live pod, and what must not happen twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.pools import PRESETS, Pool
from airflow_provider_spotmix.kube.client import Kube, PatchType
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import Invalid
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests.labels import GATE, PLACED_POOL
from airflow_provider_spotmix.placements.template import Template

pytestmark = pytest.mark.cluster

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_ZONE = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "selector": {"nodeSelector": {"disk": "ssd"}},
    "tolerations": {"tolerations": [{"key": "gpu", "operator": "Exists"}]},
    "pod-affinity": {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
    "node-affinity": {
        "affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [_ZONE]}]}}}
    },
    "another-gate": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}, {"name": GATE}]},
}
POOLS = [pytest.param(pool, id=f"{preset}-{pool.name}") for preset, pools in PRESETS.items() for pool in pools]


@pytest.fixture
async def kube(lab: Lab) -> AsyncIterator[Kube]:
    client = await ClusterConfig(config_file=str(lab.kubeconfig)).connect()
    yield client
    await client.close()


async def gated(kube: Kube, namespace: str, shape: str) -> Pod:
    spec = {
        "schedulingGates": [{"name": GATE}],
        "containers": [{"name": "spark-kubernetes-executor", "image": "spark:4.0.4"}],
        "terminationGracePeriodSeconds": 0,
        **SHAPES[shape],
    }
    return await kube.create(PODS, {"metadata": {"generateName": "exec-"}, "spec": spec}, namespace)


async def place(kube: Kube, pod: Pod, pool: Pool, avoid: tuple[str, ...] = ()) -> Pod:
    action = Place(
        cause="e", uid=pod.metadata.uid, pod=pod.metadata.name, seat=0, seat_pool="spot", pool=pool.name, reason="why"
    )
    patch = Template().patch(pod, replace(action, avoid=avoid), pool)
    return await kube.patch(PODS, pod.metadata.name, patch, pod.metadata.namespace, kind=PatchType.JSON)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pool", POOLS)
async def test_one_patch_tightens_and_ungates(kube: Kube, namespace: str, pool: Pool, shape: str) -> None:
    before = await gated(kube, namespace, shape)
    after = await place(kube, before, pool)
    assert GATE not in [gate.name for gate in after.spec.scheduling_gates]
    assert len(after.spec.scheduling_gates) == len(before.spec.scheduling_gates) - 1
    assert after.metadata.labels[PLACED_POOL] == pool.name
    assert after.spec.node_selector == {**before.spec.node_selector, **pool.node_selector}
    assert len(after.spec.tolerations) == len(before.spec.tolerations) + len(pool.tolerations)
    required = after.spec.affinity.get("nodeAffinity", {}).get(_REQUIRED, {}).get("nodeSelectorTerms", [])
    wanted = {requirement.key for requirement in pool.node_requirements}
    assert all(wanted <= {each["key"] for each in term["matchExpressions"]} for term in required)
    assert bool(required) or not wanted


@pytest.mark.parametrize("shape", SHAPES)
async def test_nodes_that_go_are_avoided(kube: Kube, namespace: str, shape: str) -> None:
    spot, away = PRESETS["karpenter"][0], ("spot-1", "spot-2")
    after = await place(kube, await gated(kube, namespace, shape), spot, away)
    terms = after.spec.affinity["nodeAffinity"][_REQUIRED]["nodeSelectorTerms"]
    assert [[field["values"] for field in term["matchFields"]] for term in terms] == [[["spot-1"], ["spot-2"]]]


async def test_a_patch_that_comes_twice_changes_nothing(kube: Kube, namespace: str) -> None:
    spot, on_demand = PRESETS["karpenter"]
    before = await gated(kube, namespace, "plain")
    after = await place(kube, before, spot)
    with pytest.raises(Invalid):
        await place(kube, before, on_demand)
    assert (await kube.get(PODS, before.metadata.name, namespace)).spec.node_selector == after.spec.node_selector


async def test_a_pod_of_the_same_name_is_not_mistaken(kube: Kube, namespace: str) -> None:
    before = await gated(kube, namespace, "plain")
    await kube.delete(PODS, before.metadata.name, namespace, grace_period_seconds=0)
    spec = {"schedulingGates": [{"name": GATE}], "containers": [{"name": "c", "image": "spark:4.0.4"}]}
    await kube.create(PODS, {"metadata": {"name": before.metadata.name}, "spec": spec}, namespace)
    with pytest.raises(Invalid):
        await place(kube, before, PRESETS["karpenter"][0])
