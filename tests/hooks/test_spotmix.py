"""The hook with Airflow's own connections, from environment variables in each form that Airflow knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from airflow.models.connection import Connection as StoredConnection
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.hooks.settings import SpotmixExtra
from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import ConfigError
from airflow_provider_spotmix.lab.lab import Lab

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
    assert SpotmixHook().settings() == expected
    assert await SpotmixHook().asettings() == expected


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
    with pytest.raises(ConfigError, match="in_cluster and config_file are both set"):
        SpotmixHook().cluster()


def test_airflows_configuration_comes_after_the_connection(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SPOTMIX__RATIO", "1:9")
    monkeypatch.setenv("AIRFLOW__SPOTMIX__ON_DEMAND_BASE", "3")
    monkeypatch.setenv("AIRFLOW__SPOTMIX__PLACEMENT", "")
    connect("spotmix_default", "spotmix://?ratio=40:60")
    assert SpotmixHook().defaults({"pools": "eks"}) == {
        "ratio": ("40:60", "connection"),
        "on_demand_base": ("3", "[spotmix] config"),
        "placement": ("template", "default"),
        "pools": ("eks", "argument"),
    }


def kubeconfig(path: Path, server: str, **cluster: Any) -> Path:
    content = {
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": "very-secret-token"}}],
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
    assert (passed, said[:12]) == (True, "Kubernetes v"), said


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
