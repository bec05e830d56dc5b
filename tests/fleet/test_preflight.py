"""The checklist before a submission: what is missing is told at once, by verb, resource and namespace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.errors import ClusterNotReadyError
from airflow_provider_spotmix.fleet.permissions import grants
from airflow_provider_spotmix.fleet.preflight import Level, examine, require
from airflow_provider_spotmix.kube.access import Rules, read_rules
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import Unauthorized
from airflow_provider_spotmix.kube.resources import NAMESPACES, NODES, PODS, custom
from airflow_provider_spotmix.lab.lab import Lab
from tests.docs.pages import ROOT
from tests.fleet.test_plan import application, plan
from tests.kube.memory import MemoryKube, MemoryServer
from tests.kube.test_client_cluster import ROLE_BINDINGS, ROLES, limited

SPEC = plan(application()).spec
NODES_TOLD = (
    "no permission in the whole cluster: {} on nodes (see why executors are lost); docs/rbac.md has the ClusterRole"
    " that grants it; without it losses are explained by pods alone, no notice is seen, executors of dead"
    " nodes are not rescued"
)


async def refused(kube: Kube) -> list[str]:
    """What the refusal lists."""
    with pytest.raises(ClusterNotReadyError) as caught:
        await require(kube, SPEC, tell=lambda *_: None)
    head, *lines = str(caught.value).split("\n- ")
    assert head == "nothing was submitted, the cluster is not ready for it:"
    return lines


async def test_a_cluster_that_has_everything_is_told_nothing_of() -> None:
    told: list[str] = []
    await require(MemoryServer().client(), SPEC, tell=lambda message, _: told.append(message))
    assert told == []


async def test_all_that_is_missing_is_told_at_once() -> None:
    server = MemoryServer()
    server.git_version = "v1.26.9"
    server.absent = {Kubeflow.resource.path(), NAMESPACES.path(name="spark")}
    server.denied = {("patch", "pods/status"), ("get", "configmaps"), ("patch", "configmaps"), ("watch", "nodes")}
    assert await refused(server.client()) == [
        "missing: Kubernetes v1.26.9 has no scheduling gates, placement 'template' needs 1.27, better 1.30: upgrade",
        (
            "missing: the cluster does not serve SparkApplication (sparkoperator.k8s.io/v1beta2): install the Kubeflow"
            " spark-operator, 2.1 or later, with its CRDs"
            " (https://www.kubeflow.org/docs/components/spark-operator/getting-started/)"
        ),
        (
            "missing: there is no namespace 'spark': create it, or correct 'namespace' of the task, its application or"
            " the connection"
        ),
        (
            "missing: permission in namespace 'spark': patch on pods/status (tell Spark that a dead node's executor is"
            " gone); docs/rbac.md has the Role that grants it"
        ),
        (
            "missing: permission in namespace 'spark': get, patch on configmaps (the checkpoint); docs/rbac.md has the"
            " Role that grants it"
        ),
        f"warning: {NODES_TOLD.format('watch')}",
    ]


@pytest.mark.parametrize("grant", [pytest.param(g, id=g.resource.rbac_name(g.subresource)) for g in grants()])
async def test_every_verb_is_asked_for(grant: Any) -> None:
    for verb in grant.verbs:
        server = MemoryServer()
        server.denied = {(verb, grant.resource.rbac_name(grant.subresource))}
        findings = [each for each in await examine(server.client(), "spark") if each.level is not Level.GOOD]
        assert [each.level for each in findings] == [Level.WARNING if grant.without else Level.MISSING]
        assert f": {verb} on {grant.resource.rbac_name(grant.subresource)} (" in findings[0].text


@pytest.mark.parametrize(
    ("version", "told"),
    [
        pytest.param("v1.30.0", [], id="stable"),
        pytest.param(
            "v1.29.3",
            ["Kubernetes v1.29.3: placement 'template' is tested from 1.30 on; upgrade"],
            id="beta",
        ),
    ],
)
async def test_what_works_but_not_well_is_a_warning(version: str, told: list[str]) -> None:
    server, heard = MemoryServer(), []
    server.git_version = version
    await require(server.client(), SPEC, tell=lambda message, _: heard.append(message))
    assert heard == told


async def test_missing_nodes_are_a_warning() -> None:
    server, heard = MemoryServer(), []
    server.denied = {(verb, "nodes") for verb in ("get", "list", "watch")}
    await require(server.client(), SPEC, tell=lambda message, _: heard.append(message))
    assert heard == [NODES_TOLD.format("get, list, watch")]


async def test_a_namespace_that_may_not_be_read_is_not_missed() -> None:
    server = MemoryServer()
    server.fail("get", code=403, reason="Forbidden")
    await require(server.client(), SPEC, tell=lambda *_: None)
    server.denied = {("create", "leases.coordination.k8s.io")}
    assert (await refused(server.client()))[0] == (
        "not seen: whether there is a namespace 'spark' (these credentials may not read it)"
    )


async def test_what_the_server_does_not_show_is_not_missed() -> None:
    server = MemoryServer()
    server.fail("version", code=403, reason="Forbidden")
    server.fail("discover", code=403, reason="Forbidden")
    await require(server.client(), SPEC, tell=lambda *_: None)


async def test_credentials_that_are_not_accepted_are_no_missing_permission() -> None:
    server = MemoryServer()
    server.fail(code=401, reason="Unauthorized")
    with pytest.raises(Unauthorized):
        await require(server.client(), SPEC, tell=lambda *_: None)


class Listing(MemoryKube):
    """It lists its rules, all of them or some."""

    listed = Rules(())

    async def rules(self, namespace: str) -> Rules:
        await super().rules(namespace)
        return self.listed


def rule(*verbs: str, group: str = "", resources: tuple[str, ...], names: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"verbs": verbs, "apiGroups": [group], "resources": resources, "resourceNames": names}


def reviewed(*rules: dict[str, Any], incomplete: bool = False) -> Rules:
    return read_rules({"status": {"resourceRules": rules, "incomplete": incomplete}})


ALL = rule("*", group="*", resources=("*",))


async def test_where_rules_permit_everything_four_requests_are_enough() -> None:
    server = MemoryServer()
    kube = Listing(server)
    kube.listed = reviewed(ALL)
    await require(kube, SPEC, tell=lambda *_: None)
    assert server.calls == {"version": 1, "discover": 1, "get": 1, "rules": 1}


async def test_only_what_no_rule_lists_is_asked_for_one_by_one() -> None:
    server = MemoryServer()
    kube = Listing(server)
    kube.listed = reviewed(rule("*", group="*", resources=("sparkapplications", "configmaps", "leases", "nodes")))
    await require(kube, SPEC, tell=lambda *_: None)
    assert server.calls["review"] == 7, "five verbs of pods, pods/status, pods/log"


@pytest.mark.parametrize(
    ("permits", "subresource", "expected"),
    [
        pytest.param(rule("get", resources=("pods",)), None, True, id="named"),
        pytest.param(rule("*", resources=("pods",)), None, True, id="every-verb"),
        pytest.param(rule("get", group="*", resources=("*",)), None, True, id="everything"),
        pytest.param(rule("list", resources=("pods",)), None, False, id="another-verb"),
        pytest.param(rule("get", group="apps", resources=("pods",)), None, False, id="another-group"),
        pytest.param(rule("get", resources=("pods",)), "log", False, id="subresources-are-not-included"),
        pytest.param(rule("get", resources=("pods/log",)), "log", True, id="subresource"),
        pytest.param(rule("get", resources=("*/log",)), "log", True, id="of-every-kind"),
        pytest.param(rule("get", resources=("*",)), "log", True, id="a-star-includes-subresources"),
        pytest.param(rule("get", resources=("pods",), names=("a",)), None, False, id="one-object-only"),
    ],
)
def test_rules_are_read_as_the_authorizer_reads_them(
    permits: dict[str, Any], subresource: str | None, expected: bool
) -> None:
    assert reviewed(permits).permit("get", PODS, subresource) is expected


def test_no_rules_at_all() -> None:
    assert read_rules({}) == Rules((), complete=True)


@pytest.mark.cluster
async def test_a_real_cluster_tells_each_missing_verb(lab: Lab, namespace: str) -> None:
    """A Role that lacks one verb and one resource, by a user who has nothing else."""
    cluster = ClusterConfig(config_file=str(lab.kubeconfig))
    user = f"user-{namespace}"
    admin = await cluster.connect()
    kube = await limited(cluster, user).connect()
    rules = [
        rule("get", "list", "watch", "create", "patch", group="sparkoperator.k8s.io", resources=("sparkapplications",)),
        rule("get", "list", "watch", "patch", "delete", resources=("pods",)),
        rule("patch", resources=("pods/status",)),
        rule("get", resources=("pods/log",)),
        rule("get", "create", "patch", resources=("configmaps",)),
    ]
    try:
        await admin.create(ROLES, {"metadata": {"name": user}, "rules": rules}, namespace)
        binding = {
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
        await admin.create(ROLE_BINDINGS, binding, namespace)
        async with asyncio.timeout(30):
            while not await kube.can_i("get", PODS, namespace, subresource="log"):  # noqa: ASYNC110 - it comes later
                await asyncio.sleep(0.1)
        found = {each.text.partition(" (")[0]: each.level for each in await examine(kube, namespace)}
        everything = await examine(admin, namespace)
        nowhere = await examine(admin, f"not-{namespace}")
        assert not await admin.serves(custom("spark.apache.org", "v1", "sparkapplications", "SparkApplication"))
        assert not await admin.serves(custom("sparkoperator.k8s.io", "v1beta2", "sparkles", "Sparkle"))
        assert (await kube.rules(namespace)).complete
        assert not (await kube.rules(namespace)).permit("get", NODES)
    finally:
        await kube.close()
        await admin.close()
    assert {text: level for text, level in found.items() if level is not Level.GOOD} == {
        f"whether there is a namespace '{namespace}'": Level.UNSEEN,
        f"permission in namespace '{namespace}': delete on sparkapplications.sparkoperator.k8s.io": Level.MISSING,
        f"no permission in namespace '{namespace}': list, watch on configmaps": Level.WARNING,
        f"no permission in namespace '{namespace}': list, create on events": Level.WARNING,
        f"permission in namespace '{namespace}': get, list, create, patch, delete on leases.coordination.k8s.io": (
            Level.MISSING
        ),
        "no permission in the whole cluster: get, list, watch on nodes": Level.WARNING,
    }
    assert [each.level for each in everything] == [Level.GOOD] * 4
    assert [each.text.partition(":")[0] for each in nowhere if each.level is Level.MISSING] == [
        f"there is no namespace 'not-{namespace}'"
    ]


async def test_the_page_of_errors_shows_what_is_told() -> None:
    server = MemoryServer()
    server.absent = {Kubeflow.resource.path(), NAMESPACES.path(name="spark")}
    server.denied = {("patch", "pods/status")}
    with pytest.raises(ClusterNotReadyError) as caught:
        await require(server.client(), SPEC, tell=lambda *_: None)
    assert str(caught.value) in (ROOT / "docs" / "errors.md").read_text("utf-8")
