"""The permissions that docs/rbac.md lists are enough for a fleet's whole life, and none of them is for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_spotmix.fleet.driver_log import tell_driver_logs
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.permissions import NODE_EVENTS, grants
from airflow_provider_spotmix.fleet.submit import delete_fleet, submit
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, NODES, PODS, custom
from airflow_provider_spotmix.lab.lab import Lab
from tests.fleet.scene import Scene, controlled
from tests.kube.test_client_cluster import limited
from tests.support.played_spark import PlayedSpark

RBAC = "rbac.authorization.k8s.io"
PAGE = Path(__file__).parents[2] / "docs" / "rbac.md"
# Asked only when a call got no answer, to see what it did, or when an application is gone, to see how it had ended;
# by a later try, to take a fleet over (tests/operators/test_reattach_cluster.py); to see that a controller which left
# no last word is dead (tests/fleet/test_faults_cluster.py).
_AFTER_A_FAULT = {
    ("get", "pods"),
    ("get", "leases"),
    ("list", "leases"),
    ("list", "events"),
    ("patch", "sparkapplications"),
}
Rights = set[tuple[str, str]]


def documented() -> dict[str, Any]:
    """The page's Role, ClusterRole, and Role in `default`."""
    blocks = PAGE.read_text().split("```yaml\n")[1:]
    found = [yaml.safe_load(block.partition("```")[0]) for block in blocks]
    return {each["metadata"].get("namespace", each["kind"]): each for each in found}


def test_the_page_shows_what_the_preflight_asks_for() -> None:
    asked = {
        (verb, each.resource.rbac_name(each.subresource).partition(".")[0]): each.resource.namespaced
        for each in grants()
        for verb in each.verbs
    }
    shown = documented()
    assert {right for right, namespaced in asked.items() if namespaced} == rights(shown["Role"])
    assert {right for right, namespaced in asked.items() if not namespaced} == rights(shown["ClusterRole"])
    assert {(verb, NODE_EVENTS.resource.rbac_name()) for verb in NODE_EVENTS.verbs} == rights(shown["default"])


def rights(role: dict[str, Any]) -> Rights:
    return {(verb, name) for rule in role["rules"] for name in rule["resources"] for verb in rule["verbs"]}


@dataclass
class Listener:
    """A cluster whose clients note every call on the way."""

    config: ClusterConfig
    calls: Rights = field(default_factory=set)

    def identity(self) -> str:
        return self.config.identity()

    async def connect(self) -> Kube:
        kube = await self.config.connect()
        session: Any = vars(kube)["_session"]
        send = session.send

        async def noting(request: Any) -> Any:
            self.calls.add((request.call.verb, request.call.resource.partition(".")[0]))
            return await send(request)

        session.send = noting
        return kube


async def bind(scene: Scene, kind: str, user: str, shown: dict[str, Any] | None = None) -> None:
    """Grant what a page shows (by default the permissions page), and nothing else."""
    namespace, shown = scene.spark.namespace if kind == "Role" else None, shown or documented()[kind]
    name = user if kind == "ClusterRole" else shown["metadata"]["name"]
    role = {"metadata": {"name": name}, "rules": shown["rules"]}
    subject = {"apiGroup": RBAC, "kind": "User", "name": user}
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
        "subjects": [subject],
    }
    of_namespace = namespace is not None
    roles = custom(RBAC, "v1", f"{kind.lower()}s", kind, namespaced=of_namespace)
    bindings = custom(RBAC, "v1", f"{kind.lower()}bindings", f"{kind}Binding", namespaced=of_namespace)
    await scene.kube.create(roles, role, namespace)
    await scene.kube.create(bindings, binding, namespace)


@pytest.fixture
async def user(scene: Scene) -> AsyncIterator[str]:
    """A user without any permission; what is granted to it cluster-wide is taken back."""
    name = f"airflow-{scene.spark.namespace}"
    yield name
    for plural, kind in (("clusterrolebindings", "ClusterRoleBinding"), ("clusterroles", "ClusterRole")):
        resource = custom(RBAC, "v1", plural, kind, namespaced=False)
        if name in {each.metadata.name for each in (await scene.kube.list(resource)).items}:
            await scene.kube.delete(resource, name)


async def a_whole_life(scene: Scene, listener: Listener, hub: Hub, lab: Lab, *, node_dies: bool) -> Any:
    """Submit, place, lose a node or a pod, replace, take over, end, delete: by the user alone."""
    async with hub.client(listener) as kube:
        await delete_fleet(kube, scene.plan.spec)
        await scene.spark.delete_all()
        scene.spark = PlayedSpark(scene.kube, scene.plan.applications[0], executors=5)
        await submit(kube, scene.plan, tell=lambda *_: None)
        await submit(kube, scene.plan, tell=lambda *_: None)
        await scene.spark.state("RUNNING")
        await scene.spark.request_missing()
        async with controlled(scene, hub=hub, cluster=listener):
            await scene.placed(spot=2, on_demand=3)
            await scene.running()
            await scene.written(lambda checkpoint: checkpoint.initial is not None)
            lost = await scene.one_on("spot")
            if node_dies:
                await _die(scene, lab, lost)
            else:
                await scene.spark.evict(lost)
            await scene.until(lambda pods: lost not in {pod.metadata.name for pod in pods}, f"{lost} is gone")
            await scene.spark.request_missing()
            await scene.until(lambda pods: not any(pod.spec.scheduling_gates for pod in pods), "all are placed")
        async with controlled(scene, hub=hub, cluster=listener) as run:
            async with asyncio.timeout(10):
                while ("patch", "leases") not in listener.calls:  # noqa: ASYNC110 - renewed every few seconds
                    await asyncio.sleep(0.1)
            await scene.spark.complete()
            report = await run
        await tell_driver_logs(kube, scene.plan.spec, lines=5, tell=lambda *_: None)
        await delete_fleet(kube, scene.plan.spec)
    return report


async def _die(scene: Scene, lab: Lab, executor: str) -> None:
    node = (await scene.kube.get(PODS, executor, scene.spark.namespace)).spec.node_name
    await asyncio.to_thread(lab.interrupt, node, "node-death", 0)
    await scene.kube.delete(NODES, node)


@pytest.mark.cluster
async def test_the_documented_permissions_are_enough_and_all_of_them_are_used(
    scene: Scene, user: str, lab: Lab
) -> None:
    await bind(scene, "Role", user)
    await bind(scene, "ClusterRole", user)
    listener, hub = Listener(limited(scene.cluster, user)), Hub()
    try:
        report = await a_whole_life(scene, listener, hub, lab, node_dies=True)
    finally:
        await hub.close()
        for node, alive in (await asyncio.to_thread(lab.nodes.alive)).items():
            if not alive:
                await asyncio.to_thread(lab.restore, node)
    assert (report.result, {each["cause"] for each in report.interruptions}) == ("succeeded", {"spot-interruption"})
    assert [message for message in scene.told if "may not be read" in message or "cannot" in message] == []
    granted = rights(documented()["Role"]) | rights(documented()["ClusterRole"])
    assert listener.calls - granted == set()
    assert granted - listener.calls - _AFTER_A_FAULT == set()


@pytest.mark.cluster
async def test_without_the_nodes_losses_are_explained_by_pods_and_that_is_said_once(
    scene: Scene, user: str, lab: Lab
) -> None:
    await bind(scene, "Role", user)
    hub = Hub()
    try:
        report = await a_whole_life(scene, Listener(limited(scene.cluster, user)), hub, lab, node_dies=False)
    finally:
        await hub.close()
    assert (report.result, {each["cause"] for each in report.interruptions}) == ("succeeded", {"spot-interruption"})
    # Two controllers looked after it, one after the other.
    assert len([message for message in scene.told if "nodes may not be read" in message]) == 2


@pytest.mark.cluster
async def test_what_a_fleet_cannot_do_without_is_told_with_the_remedy(scene: Scene, user: str) -> None:
    hub = Hub()
    with pytest.raises(Exception, match=r"grant the verb 'create' on 'leases.*Role in namespace"):
        async with controlled(scene, hub=hub, cluster=limited(scene.cluster, user)) as run:
            await run
    await hub.close()
    assert (await scene.kube.list(CONFIG_MAPS, scene.spark.namespace, label_selector="spotmix.io/fleet")).items == ()
