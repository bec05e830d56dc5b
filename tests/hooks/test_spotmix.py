"""The hook with Airflow's own connections, from environment variables in each form that Airflow knows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from airflow.models.connection import Connection as StoredConnection
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import Connection

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import EKS
from airflow_provider_spotmix.hooks.settings import SpotmixExtra
from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import ConfigError
from airflow_provider_spotmix.kube.resources import custom
from airflow_provider_spotmix.lab.lab import Lab
from tests.docs.pages import blocks
from tests.kube.test_client_cluster import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS

EXTRA = {
    "kube_config_path": "/etc/kube config",
    "cluster_context": "team",
    "disable_verify_ssl": "false",
    "namespace": "spark",
    "ratio": "40:60",
    "on_demand_base": "1",
    "placement": "template",
    "pools": '[{"name": "spot"}]',
}
Connect = Callable[[str, Any], None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    def add(conn_id: str, value: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value if isinstance(value, str) else json.dumps(value))

    return add


FORMS = [
    pytest.param({"conn_type": "spotmix", "extra": EXTRA}, id="json"),
    pytest.param({"conn_type": "spotmix", "extra": json.dumps(EXTRA)}, id="json-with-text-inside"),
    pytest.param(f"spotmix://?{urlencode(EXTRA)}", id="uri"),
    pytest.param(f"spotmix://?{urlencode({'__extra__': json.dumps(EXTRA)})}", id="uri-as-airflow-writes-it"),
    pytest.param(StoredConnection(conn_type="spotmix", extra=EXTRA).get_uri(), id="uri-of-a-stored-one"),
]


@pytest.mark.parametrize("form", FORMS)
async def test_it_reads_every_form_of_a_connection(connect: Connect, form: Any) -> None:
    connect("spotmix_default", form)
    expected = SpotmixExtra(
        kube_config_path="/etc/kube config",
        cluster_context="team",
        disable_verify_ssl=False,
        namespace="spark",
        ratio="40:60",
        on_demand_base=1,
        placement="template",
        pools='[{"name": "spot"}]',
    )
    assert as_text(SpotmixHook().settings()) == expected
    assert as_text(await SpotmixHook().asettings()) == expected


def as_text(found: SpotmixExtra) -> SpotmixExtra:
    """Airflow 3.1 itself reads what is JSON inside a URI; both forms of a nested value are the same to us."""
    return found if isinstance(found.pools, str) else found.model_copy(update={"pools": json.dumps(found.pools)})


async def both(hook: SpotmixHook) -> ClusterConfig:
    """Where the cluster is; the worker and the triggerer must agree."""
    assert hook.cluster() == await hook.acluster()
    return hook.cluster()


async def test_the_cluster_from_its_own_fields(connect: Connect) -> None:
    connect("spotmix_default", "spotmix://?in_cluster=true&namespace=spark&disable_verify_ssl=True")
    assert await both(SpotmixHook()) == ClusterConfig(in_cluster=True, namespace="spark", verify_tls=False)


async def test_a_kubeconfig_as_mapping(connect: Connect) -> None:
    connect("spotmix_default", {"conn_type": "spotmix", "extra": {"kube_config": {"contexts": []}}})
    assert await both(SpotmixHook()) == ClusterConfig(kube_config='{"contexts": []}')


async def test_the_cluster_of_the_kubernetes_connection_it_names(connect: Connect) -> None:
    connect("k8s", {"conn_type": "kubernetes", "extra": {"kube_config_path": "/k8s", "namespace": "theirs"}})
    connect("team", {"conn_type": "spotmix", "extra": {"kubernetes_conn_id": "k8s", "kube_config_path": "/own"}})
    assert await both(SpotmixHook("team")) == ClusterConfig(config_file="/k8s", namespace="theirs")


async def test_its_own_namespace_wins(connect: Connect) -> None:
    connect("k8s", {"conn_type": "kubernetes", "extra": {"namespace": "theirs"}})
    connect("team", {"conn_type": "spotmix", "extra": {"kubernetes_conn_id": "k8s", "namespace": "ours"}})
    assert (await both(SpotmixHook("team"))).namespace == "ours"


async def test_the_tasks_kubernetes_connection_wins(connect: Connect) -> None:
    connect("mine", "kubernetes://?extra__kubernetes__kube_config_path=/mine&in_cluster=False")
    connect("team", {"conn_type": "spotmix", "extra": {"kubernetes_conn_id": "not_there"}})
    assert await both(SpotmixHook("team", "mine")) == ClusterConfig(config_file="/mine")


async def test_the_default_connection_need_not_exist() -> None:
    assert await both(SpotmixHook()) == ClusterConfig()


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        pytest.param(SpotmixHook("team"), r"no connection 'team' here; add it \(type spotmix\)", id="spotmix"),
        pytest.param(SpotmixHook(kubernetes_conn_id="k8s"), r"no connection 'k8s' .*type kubernetes", id="kubernetes"),
    ],
)
async def test_a_connection_that_was_named_must_exist(hook: SpotmixHook, message: str) -> None:
    with pytest.raises(AirflowNotFoundException, match=message) as caught:
        hook.cluster()
    assert caught.value.__suppress_context__, "a traceback would show Airflow's own error before it"
    with pytest.raises(AirflowNotFoundException, match=message):
        await hook.acluster()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        pytest.param({"conn_type": "spotmix", "extra": "{ratio"}, "extra is no JSON object; correct it", id="no-json"),
        pytest.param({"conn_type": "spotmix", "extra": "[1]"}, "extra is no JSON object; correct it", id="list"),
        pytest.param("spotmix://?ratoi=1", "ratoi: Extra inputs are not permitted", id="unknown-field"),
        pytest.param(
            "kubernetes://?in_cluster=true", "has type 'kubernetes', not 'spotmix'; .*kubernetes_conn_id", id="mistaken"
        ),
    ],
)
async def test_a_broken_connection_is_no_empty_one(connect: Connect, form: Any, message: str) -> None:
    connect("team", form)
    with pytest.raises(InvalidInputError, match=f"connection 'team'.*{message}"):
        SpotmixHook("team").settings()
    with pytest.raises(InvalidInputError, match=f"connection 'team'.*{message}"):
        await SpotmixHook("team").asettings()


def test_two_sources_of_credentials_are_refused(connect: Connect) -> None:
    connect("spotmix_default", "spotmix://?in_cluster=true&kube_config_path=/own")
    with pytest.raises(ConfigError, match="in_cluster and kube_config_path are both set"):
        SpotmixHook().cluster()


def test_airflows_configuration_comes_after_the_connection(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SPOTMIX__RATIO", "1:9")
    monkeypatch.setenv("AIRFLOW__SPOTMIX__ON_DEMAND_BASE", "3")
    monkeypatch.setenv("AIRFLOW__SPOTMIX__PLACEMENT", "")
    connect("spotmix_default", "spotmix://?ratio=40:60")
    monkeypatch.setenv("AIRFLOW__SPOTMIX__POLICY", '{"vacant_seat_seconds": 5}')
    found = SpotmixHook().choose({"pools": "eks"})
    told = {
        "ratio": ("40:60", "connection"),
        "on_demand_base": ("3", "[spotmix] config"),
        "placement": ("template", "default"),
        "pools": ("eks", "argument"),
        "policy.vacant_seat_seconds": (5.0, "[spotmix] config"),
    }
    assert {name: found.origins[name] for name in told} == told
    assert (found.mix.on_demand_base, found.pools, found.policy) == (3, EKS, Policy(vacant_seat_seconds=5))


def kubeconfig(path: Path, server: str, token: str = "very-secret-token", **cluster: Any) -> Path:
    content = {
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("form", "message"),
    [
        pytest.param("spotmix://?kube_config_path=/nowhere", "no kubeconfig at '/nowhere'; set", id="no-kubeconfig"),
        pytest.param("spotmix://?ratio=140%25", "ratio '140%' is more than the whole", id="ratio"),
        pytest.param("spotmix://?pools=azure", "pools is 'azure'; presets: karpenter", id="pools"),
        pytest.param("spotmix://?ratoi=1", "connection 'spotmix_default': ratoi: Extra inputs", id="unknown-field"),
        pytest.param("spotmix://?kubernetes_conn_id=k8s", "no connection 'k8s'", id="missing-kubernetes-connection"),
    ],
)
def test_the_test_button_tells_what_is_wrong(connect: Connect, form: str, message: str) -> None:
    connect("spotmix_default", form)
    passed, said = SpotmixHook().test_connection()
    assert (passed, message in said) == (False, True), said


def test_the_test_button_tells_that_nobody_answers(connect: Connect, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "https://127.0.0.1:1")
    connect("spotmix_default", f"spotmix://?kube_config_path={path}")
    passed, said = SpotmixHook().test_connection()
    assert not passed
    assert "no answer from https://127.0.0.1:1" in said
    assert "check that the API server is up" in said
    assert "very-secret-token" not in said


@pytest.mark.cluster
def test_the_test_button_works_through_airflow(connect: Connect, lab: Lab) -> None:
    extra = {"kube_config_path": str(lab.kubeconfig), "ratio": "40:60"}
    passed, said = Connection(conn_id="team", conn_type="spotmix", extra=json.dumps(extra)).test_connection()
    assert passed, said
    assert said.splitlines()[1:] == [
        "ok: SparkApplication (sparkoperator.k8s.io/v1beta2) is served",
        "ok: namespace 'spark' is there",
        "ok: all permissions are granted in namespace 'spark'",
    ]


def account_of(lab: Lab, namespace: str, path: Path, rules: list[dict[str, Any]]) -> tuple[Path, str]:
    """A kubeconfig of a service account that has these rights only, and its token."""

    async def make() -> str:
        kube = await ClusterConfig(config_file=str(lab.kubeconfig)).connect()
        try:
            await kube.create(SERVICE_ACCOUNTS, {"metadata": {"name": "airflow"}}, namespace)
            await kube.create(ROLES, {"metadata": {"name": "airflow"}, "rules": rules}, namespace)
            binding = {
                "metadata": {"name": "airflow"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "airflow"},
                "subjects": [{"kind": "ServiceAccount", "name": "airflow", "namespace": namespace}],
            }
            await kube.create(ROLE_BINDINGS, binding, namespace)
            tokens = custom("", "v1", "serviceaccounts/airflow/token", "TokenRequest")
            request = {"apiVersion": "authentication.k8s.io/v1", "spec": {}}
            token: str = (await kube.create(tokens, request, namespace)).status["token"]
            return token
        finally:
            await kube.close()

    token = asyncio.run(make())
    chosen = ClusterConfig(config_file=str(lab.kubeconfig)).select()
    verified = {key: value for key, value in chosen.cluster.items() if key.startswith("certificate")}
    return kubeconfig(path, chosen.server, token=token, **verified), token


def documented_rules() -> list[dict[str, Any]]:
    """Those of the Role in docs/rbac.md."""
    shown = [yaml.safe_load(b.text) for b in blocks("yaml") if b.page == "docs/rbac.md"]
    return next(each["rules"] for each in shown if each["kind"] == "Role")


def pressed(connect: Connect, path: Path, namespace: str) -> tuple[bool, str]:
    """Press "Test" until the permissions have reached the authorizer, which takes a moment."""
    connect(
        "spotmix_default", {"conn_type": "spotmix", "extra": {"kube_config_path": str(path), "namespace": namespace}}
    )
    give_up = time.monotonic() + 30
    while True:
        passed, said = SpotmixHook().test_connection()
        if "get, list, watch, patch, delete on pods" not in said or time.monotonic() > give_up:
            return passed, said
        time.sleep(0.2)


@pytest.mark.cluster
def test_the_documented_role_passes_and_what_is_seen_without_nodes_is_told(
    connect: Connect, lab: Lab, namespace: str, tmp_path: Path
) -> None:
    path, token = account_of(lab, namespace, tmp_path / "config", documented_rules())
    passed, said = pressed(connect, path, namespace)
    assert passed, said
    assert [line.partition(":")[0] for line in said.splitlines()] == ["ok", "ok", "not seen", "warning"]
    assert "without it losses are explained by pods alone" in said
    assert token not in said


@pytest.mark.cluster
def test_a_service_account_that_may_not_do_it_all_is_told_each_verb(
    connect: Connect, lab: Lab, namespace: str, tmp_path: Path
) -> None:
    rules = [rule for rule in documented_rules() if rule["resources"] != ["leases"]]
    rules[0] = {**rules[0], "verbs": ["get", "list", "watch"]}
    path, token = account_of(lab, namespace, tmp_path / "config", rules)
    passed, said = pressed(connect, path, namespace)
    assert not passed
    missing = [line.partition(" (")[0] for line in said.splitlines() if line.startswith("missing")]
    there = f"missing: permission in namespace '{namespace}'"
    assert missing == [
        f"{there}: create, delete on sparkapplications.sparkoperator.k8s.io",
        f"{there}: get, list, create, patch, delete on leases.coordination.k8s.io",
    ]
    assert token not in said


@pytest.mark.cluster
def test_a_namespace_that_is_not_there_is_told(connect: Connect, lab: Lab) -> None:
    extra = {"kube_config_path": str(lab.kubeconfig), "namespace": "not-there"}
    connect("spotmix_default", {"conn_type": "spotmix", "extra": extra})
    passed, said = SpotmixHook().test_connection()
    assert not passed
    assert "missing: there is no namespace 'not-there': create it, or correct 'namespace'" in said


@pytest.mark.cluster
def test_the_test_button_tells_that_credentials_are_refused(connect: Connect, lab: Lab, tmp_path: Path) -> None:
    selected = ClusterConfig(config_file=str(lab.kubeconfig)).select()
    cluster = {key: value for key, value in selected.cluster.items() if key.startswith("certificate")}
    path = kubeconfig(tmp_path / "config", selected.server, **cluster)
    connect("spotmix_default", f"spotmix://?kube_config_path={path}")
    passed, said = SpotmixHook().test_connection()
    assert not passed
    assert "check the token" in said
    assert "very-secret-token" not in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({}, ClusterConfig(config_file="/conn", context="dev"), id="none"),
        pytest.param({"in_cluster": True}, ClusterConfig(in_cluster=True), id="in-cluster"),
        pytest.param(
            {"in_cluster": False}, ClusterConfig(in_cluster=False, config_file="/conn", context="dev"), id="out"
        ),
        pytest.param({"config_file": "/own"}, ClusterConfig(config_file="/own", context="dev"), id="file"),
        pytest.param({"cluster_context": "prod"}, ClusterConfig(config_file="/conn", context="prod"), id="context"),
    ],
)
async def test_arguments_that_say_where_the_cluster_is_come_before_the_connection(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], expected: ClusterConfig
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPOTMIX_DEFAULT", "spotmix://?kube_config_path=/conn&cluster_context=dev")
    assert SpotmixHook(**arguments).cluster() == await SpotmixHook(**arguments).acluster() == expected


@pytest.mark.parametrize("extra", ["in_cluster=true", "kube_config=%7B%7D"])
def test_an_argument_takes_the_place_of_any_source_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPOTMIX_DEFAULT", f"spotmix://?{extra}")
    assert SpotmixHook(config_file="/own").cluster() == ClusterConfig(config_file="/own")
