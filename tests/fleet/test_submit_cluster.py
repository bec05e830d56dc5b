"""Submitting and deleting on a real API server, when it is stopped in the middle or only half succeeds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow_provider_spotmix.core.errors import FleetConflictError
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.fleet.plan import FleetPlan, plan_fleet
from airflow_provider_spotmix.fleet.submit import delete_fleet, submit
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import ApiError
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.identity import Identity
from tests.fleet.test_plan import MIX, application
from tests.support.played_spark import APPLICATIONS

pytestmark = pytest.mark.cluster


def two_applications(namespace: str) -> FleetPlan:
    """A fleet of two, as placement `groups` makes them."""
    manifest = application()
    manifest["spec"] |= {
        "suspend": True,
        "type": "Python",
        "mode": "cluster",
        "sparkVersion": "4.0.4",
        "mainApplicationFile": "local:///opt/app/none.py",
    }
    identity = Identity(instance="tests", task_instance=str(uuid.uuid4()))
    plan = plan_fleet(manifest, identity=identity, mix=MIX, pools=KARPENTER, namespace=namespace)
    (first,), (app,) = plan.applications, plan.spec.applications
    second = {**first, "metadata": {**first["metadata"], "name": f"{app.name}-2"}}
    spec = type(plan.spec)(
        fleet_id=plan.spec.fleet_id,
        namespace=namespace,
        applications=(app, type(app)(name=f"{app.name}-2", executors=5)),
        mix=MIX,
        pools=KARPENTER,
    )
    return FleetPlan(spec=spec, applications=(first, second))


@pytest.fixture
async def admin(lab: Lab) -> AsyncIterator[Kube]:
    client = await ClusterConfig(config_file=str(lab.kubeconfig)).connect()
    yield client
    await client.close()


async def names(kube: Kube, namespace: str) -> list[str]:
    return [each.metadata.name for each in (await kube.list(APPLICATIONS, namespace)).items]


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 6, 10, 20])
async def test_a_submission_that_is_cancelled_leaves_nothing(
    admin: Kube,
    namespace: str,
    milliseconds: int,
) -> None:
    task = asyncio.create_task(submit(admin, two_applications(namespace), tell=lambda *_: None))
    await asyncio.sleep(milliseconds / 1000)
    was_over = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert was_over or await names(admin, namespace) == []


async def test_what_fails_half_way_is_taken_back_and_says_why(admin: Kube, namespace: str) -> None:
    plan = two_applications(namespace)
    plan.applications[1]["spec"] = {}
    with pytest.raises(ApiError, match="Required value"):
        await submit(admin, plan, tell=lambda *_: None)
    assert await names(admin, namespace) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"driver": {"coers": 1}}, 'unknown field "spec.driver.coers"', id="a-field-spelled-wrong"),
        pytest.param({"type": "Perl"}, 'spec.type: Unsupported value: "Perl"', id="a-value-that-the-crd-does-not-take"),
        pytest.param({"image": 4}, "spec.image: Invalid value", id="a-type-that-the-crd-does-not-take"),
    ],
)
async def test_what_only_the_crd_knows_is_refused_by_its_field(
    admin: Kube, namespace: str, change: dict[str, Any], message: str
) -> None:
    plan = two_applications(namespace)
    plan.applications[0]["spec"] |= change
    with pytest.raises(ApiError, match=message):
        await submit(admin, plan, tell=lambda *_: None)
    assert await names(admin, namespace) == []


async def test_what_an_earlier_attempt_made_is_not_taken_back(admin: Kube, namespace: str) -> None:
    plan = two_applications(namespace)
    first, second = plan.applications
    await submit(admin, FleetPlan(spec=plan.spec, applications=(first,)), tell=lambda *_: None)
    stranger: dict[str, Any] = {**second["metadata"], "annotations": {labels.IDENTITY: "tests/another"}, "labels": {}}
    await admin.create(APPLICATIONS, {**second, "metadata": stranger}, namespace)
    with pytest.raises(FleetConflictError, match="belongs to tests/another"):
        await submit(admin, plan, tell=lambda *_: None)
    assert len(await names(admin, namespace)) == 2


async def test_a_deletion_spares_what_is_not_the_fleets(admin: Kube, namespace: str) -> None:
    plan = two_applications(namespace)
    await submit(admin, plan, tell=lambda *_: None)
    taken = plan.spec.applications[0].name
    await admin.patch(APPLICATIONS, taken, {"metadata": {"labels": {labels.FLEET: "another"}}}, namespace)
    await delete_fleet(admin, plan.spec)
    await delete_fleet(admin, plan.spec)
    assert await names(admin, namespace) == [taken]
