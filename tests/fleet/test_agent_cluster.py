"""A namespace agent on a real API server: with the documented permissions, through its own and Airflow's absence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_spotmix.core.errors import ClusterNotReadyError
from airflow_provider_spotmix.fleet import preflight
from airflow_provider_spotmix.fleet.agent import Agent
from airflow_provider_spotmix.fleet.follow import follow_agent
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.permissions import RECORDS, agent_grants, grants
from airflow_provider_spotmix.fleet.submit import delete_fleet, submit
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES, custom
from airflow_provider_spotmix.lab.config import LabConfig, nodes_of
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.pools import DEFAULT_POOLS
from tests.docs.pages import ROOT
from tests.fleet.scene import Scene, staged
from tests.fleet.test_rbac import RBAC, Listener, bind, rights
from tests.kube.test_client_cluster import limited
from tests.support.agent import agent, leases
from tests.support.played_spark import APPLICATIONS

# What the preflight asks about.
REVIEWS = {("create", "selfsubjectrulesreviews"), ("create", "selfsubjectaccessreviews"), ("get", "namespaces")}
PAGE = ROOT / "docs" / "agent.md"


def manifests() -> list[dict[str, Any]]:
    """What the page tells to install."""
    blocks = PAGE.read_text("utf-8").split("```yaml\n")[1:]
    return [each for block in blocks for each in yaml.safe_load_all(block.partition("```")[0])]


def role(name: str) -> dict[str, Any]:
    return next(each for each in manifests() if each["kind"] == "Role" and each["metadata"]["name"] == name)


def test_the_page_shows_what_is_asked_for() -> None:
    def asked(*wanted: Any) -> set[tuple[str, str]]:
        return {
            (verb, each.resource.rbac_name(each.subresource).partition(".")[0])
            for each in wanted
            if each.resource.namespaced
            for verb in each.verbs
        }

    assert rights(role("spotmix-airflow")) == asked(*grants(controller="agent"))
    assert rights(role("spotmix-agent")) == asked(*agent_grants(), RECORDS)


@pytest.fixture
async def scene(lab: Lab) -> AsyncIterator[Scene]:
    """A fleet for an agent; nobody looks after it yet."""
    async with staged(lab, controller="agent") as found:
        await asked(found)
        yield found
        assert await left(found) == []


async def asked(scene: Scene) -> None:
    """Play the driver's first request."""
    await scene.spark.state("RUNNING")
    await scene.spark.request_missing()


async def left(scene: Scene) -> list[str]:
    """What is there of the fleet that no application takes with it."""
    await delete_fleet(scene.kube, scene.plan.spec)
    found = await scene.kube.list(CONFIG_MAPS, scene.spark.namespace, label_selector="spotmix.io/record")
    return [each.metadata.name for each in found.items]


@asynccontextmanager
async def working(scene: Scene, cluster: Any = None) -> AsyncIterator[Agent]:
    """An agent in this process, until the block ends."""
    hub = Hub()
    found = Agent(hub, cluster or scene.cluster, scene.spark.namespace, tell=lambda said, _: scene.told.append(said))
    work = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await hub.close()


def following(scene: Scene, told: list[str], cluster: Any = None) -> asyncio.Task[dict[str, Any]]:
    """Wait for the fleet as a trigger does."""
    work = follow_agent(
        scene.hub,
        cluster or scene.cluster,
        scene.plan.spec,
        tell=lambda said, _: told.append(said),
        look_seconds=0.5,
    )
    return asyncio.create_task(work)


@pytest.mark.cluster
async def test_the_documented_permissions_are_enough_for_both_and_all_of_them_are_used(lab: Lab) -> None:
    async with staged(lab, controller="agent") as scene:
        users = {name: f"{name}-{scene.spark.namespace}" for name in ("spotmix-agent", "spotmix-airflow")}
        for name, user in users.items():
            await bind(scene, "Role", user, role(name))
        for_agent, for_airflow = (Listener(limited(scene.cluster, user)) for user in users.values())
        told: list[str] = []
        async with working(scene, for_agent), scene.hub.client(for_airflow) as kube:
            await preflight.require(kube, scene.plan.spec, tell=lambda said, _: told.append(said))
            await submit(kube, scene.plan, tell=lambda *_: None)
            await asked(scene)
            follower = following(scene, told, for_airflow)
            await scene.placed(spot=2, on_demand=3)
            await scene.running()
            await scene.spark.evict(await scene.one_on("spot"))
            await scene.spark.request_missing()
            await scene.placed(spot=1, on_demand=4)
            await scene.spark.complete()
            report = (await follower)["report"]
            await delete_fleet(kube, scene.plan.spec)
        assert await left(scene) == []
    assert (report["result"], report["losses_by_cause"]) == ("succeeded", {"spot-interruption": 1})
    assert any("nodes may not be read" in said for said in told)
    assert any("executors are placed" in said for said in told)
    assert for_agent.calls - rights(role("spotmix-agent")) <= {("list", "nodes")}
    asked_for = {(verb, kind) for verb, kind in for_airflow.calls if not kind.startswith("/")}
    assert asked_for - rights(role("spotmix-airflow")) <= REVIEWS


@pytest.mark.cluster
async def test_a_killed_agent_is_told_of_and_another_one_goes_on(scene: Scene, lab: Lab) -> None:
    told: list[str] = []
    follower = following(scene, told)
    with agent(lab, scene.spark.namespace) as killed:
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        killed.kill()
        await scene.spark.evict(await scene.one_on("on-demand"))
        (new,) = await scene.spark.request_missing()
        await until(lambda: any("is gone: until another takes over" in said for said in told), told)
        assert [pod.metadata.name for pod in await scene.spark.pods() if pod.spec.scheduling_gates] == [new]
    async with working(scene):
        await scene.placed(spot=2, on_demand=3)
        await until(lambda: any("looks after the fleet" in said for said in told), told)
        await scene.spark.complete()
        report = (await follower)["report"]
    assert (report["result"], [each["pool"] for each in report["replacements"]]) == ("succeeded", ["on-demand"])


@pytest.mark.cluster
async def test_an_agent_that_is_told_to_end_leaves_its_fleets_to_the_next_at_once(scene: Scene, lab: Lab) -> None:
    with agent(lab, scene.spark.namespace) as first:
        await scene.placed(spot=2, on_demand=3)
        first.terminate()
        assert first.wait(30) == 0
        assert (await scene.kube.list(LEASES, scene.spark.namespace)).items == ()
    await scene.spark.evict(await scene.one_on("spot"))
    await scene.spark.request_missing()
    with agent(lab, scene.spark.namespace):
        await scene.placed(spot=1, on_demand=4)


@pytest.mark.cluster
async def test_the_report_is_there_however_late_airflow_comes(scene: Scene) -> None:
    """Meanwhile the application has been removed, as by its own time to live."""
    told: list[str] = []
    async with working(scene) as works:
        await scene.placed(spot=2, on_demand=3)
        await scene.spark.complete()
        await until(lambda: works.fleets == 0, scene.told)
        await scene.kube.delete(APPLICATIONS, scene.spark.name, scene.spark.namespace)
    async with working(scene) as another:
        await until(lambda: another.ready, scene.told)
        assert (await following(scene, told))["report"]["initial"] == {"spot": 2, "on-demand": 3}
        assert another.fleets == 0
    assert any("executors are placed" in said for said in told)


@pytest.mark.cluster
async def test_what_ends_while_no_agent_runs_is_reported_by_the_next(scene: Scene) -> None:
    async with working(scene):
        await scene.placed(spot=2, on_demand=3)
    await scene.kube.delete(APPLICATIONS, scene.spark.name, scene.spark.namespace)
    async with working(scene):
        report = (await following(scene, []))["report"]
    assert report["result"] == "failed"
    assert "its object was deleted" in report["message"]


@pytest.mark.cluster
async def test_without_any_agent_nothing_is_submitted_and_nothing_waits_for_ever(scene: Scene) -> None:
    told: list[str] = []
    with pytest.raises(ClusterNotReadyError, match=r"no agent runs in namespace .*docs/agent.md"):
        await preflight.require(scene.kube, scene.plan.spec, tell=lambda said, _: told.append(said), agent_seconds=1)
    follower = following(scene, told)
    await until(lambda: any("no agent has taken fleet" in said for said in told), told)
    await scene.kube.delete(APPLICATIONS, scene.spark.name, scene.spark.namespace)
    assert "no agent has said how it ended" in (await follower)["error"]


@pytest.mark.cluster
async def test_a_fleet_that_is_gone_with_its_record_is_not_waited_for(scene: Scene) -> None:
    """As in a namespace that somebody deletes, where no agent can write any more."""
    told: list[str] = []
    async with working(scene):
        await scene.placed(spot=2, on_demand=3)
        follower = following(scene, told)
        await until(lambda: any("executors are placed" in said for said in told), told)
    await scene.kube.delete(APPLICATIONS, scene.spark.name, scene.spark.namespace)
    assert await left(scene) == []
    assert "no agent has said how it ended" in (await follower)["error"]


@pytest.mark.cluster
async def test_a_plan_that_is_not_the_applications_own_is_not_followed(scene: Scene) -> None:
    """Who may annotate an application must not make the agent work elsewhere."""
    plan = scene.plan.applications[0]["metadata"]["annotations"]["spotmix.io/plan"]
    forged = {"metadata": {"annotations": {"spotmix.io/plan": plan.replace(scene.spark.namespace, "default")}}}
    await scene.kube.patch(APPLICATIONS, scene.spark.name, forged, scene.spark.namespace)
    async with working(scene) as works:
        await until(lambda: any("is not its own" in said for said in scene.told), scene.told)
        assert works.fleets == 0
        garbage = {"metadata": {"annotations": {"spotmix.io/plan": "{"}}}
        await scene.kube.patch(APPLICATIONS, scene.spark.name, garbage, scene.spark.namespace)
        await until(lambda: any("none that this version reads" in said for said in scene.told), scene.told)


async def until(check: Callable[[], bool], told: list[str]) -> None:
    """Wait until something is so."""
    try:
        async with asyncio.timeout(40):
            while not check():  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never; told: {told}") from None


@pytest.mark.cluster
async def test_what_the_page_tells_to_install_works() -> None:
    """In a lab of its own, whose pods see this environment in the place of an image."""
    here = {str(path): path for path in (Path(sys.prefix), ROOT / "airflow_provider_spotmix")}
    config = LabConfig(nodes=nodes_of(*(replace(pool, nodes=1) for pool in DEFAULT_POOLS)), mounts=here)
    with Lab.ephemeral(config) as lab:
        async with staged(lab, controller="agent") as scene:
            await install(scene)
            await until(lambda: len(leases(lab, scene.spark.namespace)) == 2, scene.told)
            await asked(scene)
            follower = following(scene, scene.told)
            await scene.placed(spot=2, on_demand=3)
            await scene.spark.complete()
            assert (await follower)["report"]["result"] == "succeeded"
            await delete_fleet(scene.kube, scene.plan.spec)


async def install(scene: Scene) -> None:
    """Apply what the page shows for the agent, with what a person has to fill in: the image."""
    kinds = {
        "ServiceAccount": custom("", "v1", "serviceaccounts", "ServiceAccount"),
        "Role": custom(RBAC, "v1", "roles", "Role"),
        "RoleBinding": custom(RBAC, "v1", "rolebindings", "RoleBinding"),
        "Deployment": custom("apps", "v1", "deployments", "Deployment"),
    }
    for manifest in manifests():
        if manifest["kind"] == "Deployment":
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            command, *arguments = container["command"]
            spotmix = str(Path(sys.executable).with_name(command))
            container |= {"image": "spark", "command": [sys.executable, spotmix, *arguments]}
        if manifest["kind"] == "RoleBinding":
            manifest["subjects"][0]["namespace"] = scene.spark.namespace
        await scene.kube.create(kinds[manifest["kind"]], manifest, scene.spark.namespace)
