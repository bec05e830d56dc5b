"""What others can do to a running fleet: each has a defined end, and a person is told what to do."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from airflow_provider_spotmix.core.checkpoint import Checkpoint
from airflow_provider_spotmix.core.errors import CheckpointError
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.lease import DURATION_SECONDS
from airflow_provider_spotmix.kube.errors import Forbidden
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES, NAMESPACES, custom
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.lab import Lab
from tests.fleet.scene import Scene, controlled, staged
from tests.fleet.test_rbac import bind, user
from tests.kube.test_client_cluster import limited

__all__ = ["user"]  # fixtures

pytestmark = pytest.mark.cluster

QUOTAS = custom("", "v1", "resourcequotas", "ResourceQuota")


async def test_a_namespace_that_is_deleted_ends_the_fleet(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.kube.delete(NAMESPACES, scene.spark.namespace)
        await scene.spark.delete_all()  # Kubernetes waits for the pods before it deletes anything else
        async with asyncio.timeout(60):
            report = await run
    assert (report.result, report.initial) == ("failed", {"spot": 2, "on-demand": 3})
    assert "deleted" in report.message


async def test_an_exhausted_quota_delays_executors_and_nothing_else(scene: Scene) -> None:
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        quota = {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
        await scene.kube.create(QUOTAS, quota, scene.spark.namespace)
        await scene.spark.evict(await scene.one_on("spot"))
        with pytest.raises(Forbidden, match="exceeded quota"):
            await until_refused(scene)
        await scene.kube.delete(QUOTAS, "full", scene.spark.namespace)
        await until_permitted(scene)
        await scene.until(lambda pods: len(pods) == 5 and not any(p.spec.scheduling_gates for p in pods), "all placed")
        await scene.spark.complete()
        assert (await run).result == "succeeded"


async def until_refused(scene: Scene) -> None:
    """A quota takes a moment to count."""
    async with asyncio.timeout(30):
        while True:
            for name in await scene.spark.request_missing():
                await scene.spark.evict(name)


async def until_permitted(scene: Scene) -> None:
    """So does its end; meanwhile Spark asks again, too."""
    async with asyncio.timeout(30):
        while True:
            try:
                await scene.spark.request_missing()
            except Forbidden:
                await asyncio.sleep(0.2)
            else:
                return


async def test_a_placement_that_a_policy_refuses_is_told_and_tried_until_it_is_permitted(scene: Scene) -> None:
    admission = "admissionregistration.k8s.io"
    policies = custom(admission, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False)
    bindings = custom(
        admission, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespaced=False
    )
    name = f"no-toleration-{scene.spark.namespace}"
    here = {"matchLabels": {"kubernetes.io/metadata.name": scene.spark.namespace}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods"]}
    spec = {
        "matchConstraints": {"namespaceSelector": here, "resourceRules": [rule]},
        "validations": [
            {
                "expression": "!('karpenter.sh/capacity-type' in object.spec.?nodeSelector.orValue({}))"
                " || object.spec.nodeSelector['karpenter.sh/capacity-type'] != 'spot'",
                "message": "no spot here",
            }
        ],
    }
    await scene.kube.create(policies, {"metadata": {"name": name}, "spec": spec})
    binding = {"policyName": name, "validationActions": ["Deny"]}
    await scene.kube.create(bindings, {"metadata": {"name": name}, "spec": binding})
    await asyncio.sleep(2)  # until the API server has taken notice of it
    try:
        async with controlled(scene) as run:
            await scene.heard("no spot here", seconds=30)
            await scene.until(lambda pods: sum(not p.spec.scheduling_gates for p in pods) == 3, "the others are placed")
            await scene.kube.delete(bindings, name)
            await scene.placed(spot=2, on_demand=3)
            await scene.spark.complete()
            assert (await run).result == "succeeded"
    finally:
        for resource in (bindings, policies):
            if name in {each.metadata.name for each in (await scene.kube.list(resource)).items}:
                await scene.kube.delete(resource, name)
    refusals = [said for said in scene.told if "no spot here" in said]
    assert len(refusals) == 2  # once for each executor, however often it was tried


async def test_a_permission_that_is_taken_away_and_given_back_loses_nothing(scene: Scene, user: str) -> None:
    roles = custom("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
    await bind(scene, "Role", user)
    hub = Hub()
    try:
        async with controlled(scene, hub=hub, cluster=limited(scene.cluster, user)) as run:
            await scene.placed(spot=2, on_demand=3)
            await scene.running()
            await scene.kube.delete(roles, "spotmix", scene.spark.namespace)
            await asyncio.sleep(2)  # until the API server has taken notice of it
            await scene.spark.evict(await scene.one_on("spot"))
            await scene.spark.request_missing()
            await scene.heard("grant the verb", seconds=30)
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "spotmix"}
            subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
            again = {"metadata": {"name": "spotmix"}, "roleRef": role, "subjects": [subject]}
            await scene.kube.create(roles, again, scene.spark.namespace)
            await scene.placed(spot=1, on_demand=4)
            await scene.spark.complete()
            assert (await run).result == "succeeded"
    finally:
        await hub.close()


@pytest.mark.parametrize("content", ["", "{", '{"schema": 1}', "zlib+base64:?"])
async def test_a_checkpoint_that_somebody_has_spoilt_is_done_without(scene: Scene, content: str) -> None:
    """Also by the controller that is at work: what it knows is written anew."""
    async with controlled(scene):
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        await scene.written(lambda checkpoint: checkpoint.initial is not None)
    await spoil(scene, content)
    async with controlled(scene) as run:
        await scene.heard("cannot be read")
        await spoil(scene, content)
        await scene.spark.evict(await scene.one_on("spot"))
        await scene.spark.request_missing()
        await scene.placed(spot=1, on_demand=4)
        await scene.written(lambda checkpoint: bool(checkpoint.replacements))
        await scene.spark.complete()
        report = await run
    assert (report.result, report.losses_by_cause) == ("succeeded", {"spot-interruption": 1})


async def spoil(scene: Scene, content: str) -> None:
    (found,) = (await scene.kube.list(CONFIG_MAPS, scene.spark.namespace, label_selector="spotmix.io/fleet")).items
    spoilt = {"data": {"checkpoint": content}}
    await scene.kube.patch(CONFIG_MAPS, found.metadata.name, spoilt, scene.spark.namespace)


async def test_a_checkpoint_of_a_newer_version_is_left_alone(scene: Scene) -> None:
    async with controlled(scene):
        await scene.placed(spot=2, on_demand=3)
        await scene.written(lambda checkpoint: checkpoint.initial is not None)
    await spoil(scene, '{"schema": 99}')
    async with controlled(scene) as run:
        with pytest.raises(CheckpointError, match="upgrade airflow-provider-spotmix"):
            await run


async def test_a_controller_that_has_nothing_to_do_notices_that_it_was_away(scene: Scene) -> None:
    """Who was stopped for a while, as a process in a debugger or a paused machine, is nobody's controller any more."""
    async with controlled(scene) as run:
        await scene.placed(spot=2, on_demand=3)
        await scene.running()
        (lease,) = (await scene.kube.list(LEASES, scene.spark.namespace)).items
        await scene.kube.delete(LEASES, lease.metadata.name, scene.spark.namespace)
        await scene.heard("lost hold of the fleet", seconds=30)
        await scene.spark.complete()
        assert (await run).result == "succeeded"


async def test_time_without_a_controller_is_in_the_report(scene: Scene) -> None:
    """After an orderly end as after a sudden one: since its last sign of life."""
    async with controlled(scene):
        await scene.placed(spot=2, on_demand=3)
    assert (await scene.checkpoint() or Checkpoint(schema=1, fleet_id="")).holder == ""
    await asyncio.sleep(4)
    async with controlled(scene) as run:
        await scene.heard("the fleet was not looked after")
        assert not any("waiting for controller" in said for said in scene.told)
        await scene.spark.complete()
        report = await run
    (outage,) = report.outages
    since, until = (dt.datetime.fromisoformat(outage[key]) for key in ("since", "until"))
    assert outage["why"] == "its controller was told to end"
    assert dt.timedelta(seconds=3) < until - since < dt.timedelta(seconds=60)


async def test_an_api_server_that_is_restarted_and_one_that_stays_away() -> None:
    """Longer than the Lease: in a lab of its own."""
    with Lab.ephemeral() as lab:
        async with staged(lab) as scene, controlled(scene) as run:
            await scene.placed(spot=2, on_demand=3)
            await scene.running()
            lost = await scene.one_on("spot")
            await asyncio.to_thread(lab.stop_component, "apiserver")
            await scene.heard("changes may go unseen", seconds=60)
            await asyncio.sleep(DURATION_SECONDS + 1)
            await asyncio.to_thread(lab.start_component, "apiserver")
            await scene.heard("the fleet was not looked after", seconds=60)
            await scene.heard("lost hold of the fleet", seconds=60)  # the outage was longer than the Lease
            await asyncio.sleep(3)  # what happens before it is held again can only be inferred
            await scene.spark.evict(lost)
            await scene.spark.request_missing()
            await scene.placed(spot=1, on_demand=4)
            await scene.spark.complete()
            report = await run
    assert (report.result, report.losses_by_cause) == ("succeeded", {"spot-interruption": 1}), scene.told
    assert [outage["why"] != "" for outage in report.outages] == [True] * len(report.outages)
    assert report.outages


async def test_without_an_operator_the_startup_timeout_says_so() -> None:
    """In a lab without one: the application never gets a state."""
    config = LabConfig(without=("spark-operator",))
    with Lab.ephemeral(config) as lab:
        async with staged(lab, policy=Policy(startup_timeout_seconds=3)) as scene:
            report = await asyncio.wait_for(scene.control(), 60)
    assert report.result == "failed"
    assert "the operator has not taken it up" in report.message
