"""What only a real API server can show: pods, their gates and JSON patches, paging, permissions, old versions."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_spotmix.kube.client import Kube, PatchType
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import AlreadyExists, ApiUnavailable, Forbidden, Gone, Invalid, NotFound
from airflow_provider_spotmix.kube.objects import SchedulingGate, Toleration
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, NODES, PODS, custom
from airflow_provider_spotmix.kube.retry import Limits
from airflow_provider_spotmix.kube.watch import Pace, Reflector, Synced

pytestmark = pytest.mark.cluster

GATE = "spotmix.io/placement"
ROLES = custom("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = custom("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
SERVICE_ACCOUNTS = custom("", "v1", "serviceaccounts", "ServiceAccount")


async def gated_pod(kube: Kube, namespace: str, name: str) -> None:
    # A cluster without a controller-manager has no default service account, one with it makes it a little later.
    with suppress(AlreadyExists):
        await kube.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, namespace)
    spec: dict[str, Any] = {
        "schedulingGates": [{"name": GATE}, {"name": "example.com/other"}],
        "containers": [{"name": "main", "image": "none"}],
        "automountServiceAccountToken": False,
    }
    await kube.create(PODS, {"metadata": {"name": name}, "spec": spec}, namespace)


async def test_one_json_patch_tightens_and_ungates_and_its_repetition_is_refused(admin: Kube, namespace: str) -> None:
    await gated_pod(admin, namespace, "p")
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/spec/schedulingGates/0/name", "value": GATE},
        {"op": "remove", "path": "/spec/schedulingGates/0"},
        {"op": "add", "path": "/spec/nodeSelector", "value": {"karpenter.sh/capacity-type": "spot"}},
        {"op": "add", "path": "/spec/tolerations/-", "value": {"key": "spot", "operator": "Exists"}},
        {"op": "add", "path": "/metadata/labels", "value": {"spotmix.io/pool": "spot"}},
    ]
    pod = await admin.patch(PODS, "p", patch, namespace, kind=PatchType.JSON)
    assert pod.spec.scheduling_gates == (SchedulingGate("example.com/other"),)
    assert pod.spec.node_selector == {"karpenter.sh/capacity-type": "spot"}
    assert Toleration(key="spot", operator="Exists") in pod.spec.tolerations
    assert pod.metadata.labels == {"spotmix.io/pool": "spot"}
    assert pod.status.conditions[0].reason == "SchedulingGated"
    with pytest.raises(Invalid):
        await admin.patch(PODS, "p", patch, namespace, kind=PatchType.JSON)


async def test_the_status_of_a_pod_is_a_subresource(admin: Kube, namespace: str) -> None:
    await gated_pod(admin, namespace, "p")
    status = {"status": {"phase": "Failed", "reason": "SpotmixRescue"}}
    pod = await admin.patch(PODS, "p", status, namespace, kind=PatchType.STRATEGIC, subresource="status")
    assert (pod.status.phase, pod.status.reason) == ("Failed", "SpotmixRescue")
    await admin.delete(PODS, "p", namespace, grace_period_seconds=0, uid=pod.metadata.uid)
    with pytest.raises(NotFound):
        await admin.get(PODS, "p", namespace)


async def test_long_lists_come_page_by_page(admin: Kube, namespace: str) -> None:
    names = [f"m{number:02}" for number in range(25)]
    await asyncio.gather(*(admin.create(CONFIG_MAPS, {"metadata": {"name": name}}, namespace) for name in names))
    listing = await admin.list(CONFIG_MAPS, namespace, page_size=10)
    found = {each.metadata.name for each in listing.items}
    assert found >= set(names)


async def test_the_version_is_known(admin: Kube) -> None:
    assert (await admin.server_version()).at_least(1, 27)


async def test_a_kind_that_is_not_installed_is_not_found(admin: Kube, namespace: str) -> None:
    with pytest.raises(NotFound, match="is its CRD installed"):
        await admin.list(custom("example.com", "v1", "nothings", "Nothing"), namespace)


async def test_a_version_from_long_ago_is_gone_or_served(admin: Kube, namespace: str) -> None:
    """An API server may still hold version 1; then it tells the history. Either way, no silence and no other error."""
    await admin.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, namespace)
    try:
        async with (
            asyncio.timeout(10),
            admin.watch(CONFIG_MAPS, namespace, resource_version="1", field_selector="metadata.name=a") as events,
        ):
            assert (await anext(events)).object.metadata.name == "a"
    except Gone:
        pass


def limited(cluster: ClusterConfig, user: str) -> ClusterConfig:
    """The same cluster seen by a user without any permission, by impersonation."""
    chosen = cluster.select()
    content = {
        "current-context": "limited",
        "clusters": [{"name": "c", "cluster": {**chosen.cluster, "server": chosen.server}}],
        "users": [{"name": "u", "user": {**chosen.user, "as": user}}],
        "contexts": [{"name": "limited", "context": {"cluster": "c", "user": "u"}}],
    }
    return ClusterConfig(kube_config=str(content))


async def grant(admin: Kube, namespace: str, user: str, *verbs: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": list(verbs)}]
    await admin.create(ROLES, {"metadata": {"name": user}, "rules": rules}, namespace)
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    await admin.create(ROLE_BINDINGS, binding, namespace)


async def test_a_certificate_that_cannot_be_verified_is_told(cluster: ClusterConfig) -> None:
    chosen = cluster.select()
    unverified = {key: value for key, value in chosen.cluster.items() if not key.startswith("certificate-authority")}
    content = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": unverified}],
        "users": [{"name": "u", "user": dict(chosen.user)}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    strict = await ClusterConfig(kube_config=str(content)).connect(Limits(attempts=1))
    with pytest.raises(ApiUnavailable, match=r"certificate verify failed.*the CA certificate are right"):
        await strict.server_version()
    await strict.close()
    lax = await ClusterConfig(kube_config=str(content), verify_tls=False).connect()
    assert (await lax.server_version()).major == 1
    await lax.close()


async def test_permissions_are_asked_for_and_refusals_name_what_to_grant(
    cluster: ClusterConfig, admin: Kube, namespace: str
) -> None:
    kube = await limited(cluster, "jane").connect()
    try:
        assert await admin.can_i("patch", PODS, namespace, subresource="status")
        assert not await kube.can_i("list", PODS, namespace)
        with pytest.raises(Forbidden, match="grant the verb 'list' on 'nodes' to this user with a ClusterRole"):
            await kube.list(NODES)
        with pytest.raises(Forbidden, match=f"with a Role in namespace {namespace}"):
            await kube.list(PODS, namespace)
    finally:
        await kube.close()


async def test_where_watching_is_forbidden_a_reflector_polls(
    cluster: ClusterConfig, admin: Kube, namespace: str
) -> None:
    await grant(admin, namespace, "jane", "list")
    kube = await limited(cluster, "jane").connect()
    async with asyncio.timeout(10):
        # RBAC reaches the authorizer a little later.
        while not await kube.can_i("list", CONFIG_MAPS, namespace):
            pass
        stream = Reflector(kube, CONFIG_MAPS, namespace, label_selector="x", pace=Pace(poll_seconds=0.05)).stream()
        assert await anext(stream) == Synced(())
        assert await anext(stream) == Synced(())
        made = await admin.create(CONFIG_MAPS, {"metadata": {"name": "a", "labels": {"x": "1"}}}, namespace)
        change = await anext(stream)
    assert not isinstance(change, Synced)
    assert change.type == "ADDED"  # type: ignore[union-attr]
    assert change.object == made  # type: ignore[union-attr]
    await stream.aclose()
    await kube.close()
