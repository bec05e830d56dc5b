"""Settings: which source wins, what a connection may hold, what pools may be. Secrets are not repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.pools import PRESETS
from airflow_provider_spotmix.hooks.settings import (
    DEFAULTS,
    KubernetesExtra,
    SpotmixExtra,
    read_extra,
    read_kubernetes_extra,
    read_pools,
    resolve,
)

SECRET = "correct-horse-battery-staple"


@pytest.mark.parametrize(
    ("argument", "connection", "config", "expected"),
    [
        pytest.param("1:1", "1:2", "1:3", ("1:1", "argument"), id="argument"),
        pytest.param(None, "1:2", "1:3", ("1:2", "connection"), id="connection"),
        pytest.param(None, None, "1:3", ("1:3", "[spotmix] config"), id="config"),
        pytest.param(None, None, None, (DEFAULTS["ratio"], "default"), id="default"),
        pytest.param(0, "1:2", "1:3", (0, "argument"), id="zero-is-a-value"),
        pytest.param({}, "1:2", "1:3", ({}, "argument"), id="nonsense-is-not-skipped"),
    ],
)
def test_the_first_source_that_has_a_value_wins(
    argument: Any, connection: Any, config: Any, expected: tuple[Any, str]
) -> None:
    assert resolve({"ratio": argument}, {"ratio": connection}, {"ratio": config})["ratio"] == expected


def test_each_setting_is_resolved_by_itself() -> None:
    found = resolve({"ratio": "1:1"}, {"on_demand_base": 1}, {"pools": "eks"})
    assert {name: origin for name, (_, origin) in found.items()} == {
        "ratio": "argument",
        "on_demand_base": "connection",
        "placement": "default",
        "controller": "default",
        "pools": "[spotmix] config",
    }


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        pytest.param({}, SpotmixExtra(), id="nothing"),
        pytest.param({"ratio": "", "namespace": None}, SpotmixExtra(), id="empty-form-fields"),
        pytest.param({"in_cluster": "true"}, SpotmixExtra(in_cluster=True), id="flag-as-text"),
        pytest.param({"disable_verify_ssl": "False"}, SpotmixExtra(disable_verify_ssl=False), id="false-as-text"),
        pytest.param({"on_demand_base": "2"}, SpotmixExtra(on_demand_base=2), id="number-as-text"),
        pytest.param({"on_demand_base": 0}, SpotmixExtra(on_demand_base=0), id="zero-is-a-value"),
        pytest.param({"ratio": 0.4}, SpotmixExtra(ratio=0.4), id="ratio-as-number"),
        pytest.param({"kube_config": {"a": 1}}, SpotmixExtra(kube_config={"a": 1}), id="kubeconfig-as-mapping"),
    ],
)
def test_a_connection_is_read(extra: dict[str, Any], expected: SpotmixExtra) -> None:
    assert read_extra(extra, "spotmix_default") == expected


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        pytest.param({"ratoi": SECRET}, "ratoi: Extra inputs are not permitted", id="unknown-field"),
        pytest.param({"on_demand_base": -1}, "on_demand_base: Input should be greater", id="negative-base"),
        pytest.param({"on_demand_base": SECRET}, "on_demand_base: Input should be a valid integer", id="no-number"),
        pytest.param({"in_cluster": SECRET}, "in_cluster: Input should be a valid boolean", id="no-flag"),
        pytest.param({"kube_config": [SECRET]}, "kube_config", id="kubeconfig-as-list"),
        pytest.param({"namespace": {"x": SECRET}}, "namespace: Input should be a valid string", id="no-text"),
    ],
)
def test_a_connection_is_refused_by_field_and_its_values_are_not_repeated(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_extra(extra, "team")
    assert str(caught.value).startswith("connection 'team': ")
    assert message in str(caught.value)
    assert "known fields: in_cluster, kube_config_path" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__, "a traceback would show pydantic's own error, which has the value"


@given(
    st.sampled_from([*SpotmixExtra.model_fields, "unknown"]),
    st.recursive(st.just(SECRET), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4),
)
def test_no_value_of_a_connection_is_ever_repeated(field: str, value: Any) -> None:
    try:
        found = read_extra({field: value}, "team")
    except InvalidInputError as error:
        assert SECRET not in str(error)  # noqa: PT017 - both outcomes are allowed
    else:
        assert field not in ("kube_config",) or SECRET not in repr(found)


def test_a_kubernetes_connection_is_read_and_the_rest_of_it_ignored() -> None:
    extra = {"in_cluster": "False", "disable_verify_ssl": "false", "xcom_sidecar_container_image": "alpine"}
    expected = KubernetesExtra(in_cluster=False, disable_verify_ssl=False)
    assert read_kubernetes_extra(extra, "k8s") == expected
    prefixed = {f"extra__kubernetes__{name}": value for name, value in extra.items()}
    assert read_kubernetes_extra(prefixed, "k8s") == expected


def test_a_kubernetes_connections_new_names_win_over_old_ones() -> None:
    extra = {"namespace": "new", "extra__kubernetes__namespace": "old"}
    assert read_kubernetes_extra(extra, "k8s").namespace == "new"


def test_a_broken_kubernetes_connection_is_refused() -> None:
    with pytest.raises(
        InvalidInputError, match="connection 'k8s': in_cluster: Input should be a valid boolean"
    ) as caught:
        read_kubernetes_extra({"in_cluster": SECRET}, "k8s")
    assert SECRET not in str(caught.value)


GKE = [
    {
        "name": "spot",
        "capacity_type": "spot",
        "node_selector": {"cloud.google.com/gke-spot": "true"},
        "tolerations": [{"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}],
    },
    {
        "name": "on-demand",
        "capacity_type": "on-demand",
        "node_requirements": [{"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}],
    },
]


@pytest.mark.parametrize("given_pools", [GKE, tuple(GKE), json.dumps(GKE)], ids=["list", "tuple", "text"])
def test_pools_are_read(given_pools: Any) -> None:
    assert read_pools(given_pools) == PRESETS["gke"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_known_by_name(name: str) -> None:
    assert read_pools(name) == PRESETS[name]


SPOT = {"name": "spot", "capacity_type": "spot", "node_selector": {"a": "b"}}


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        pytest.param("azure", "pools is 'azure'; presets: karpenter, .*; or give a list", id="unknown-preset"),
        pytest.param("[{", "pools looks like a list but is no JSON .*; fix it or name a preset", id="broken-json"),
        pytest.param(5, "pools is 5; give the name of a preset or a list", id="number"),
        pytest.param(10**400, r"pools is 10{99}\.\.\.; give the name of a preset", id="a-long-story-is-cut"),
        pytest.param(
            [{**SPOT, **{f"unknown-{n}": n for n in range(9)}}],
            r"pools\[0\]\['unknown-2'\] is 2: Extra inputs are not permitted; and 6 more$",
            id="all-that-is-wrong-is-not-told-at-once",
        ),
        pytest.param({"name": "spot"}, "give the name of a preset or a list", id="one-pool-instead-of-a-list"),
        pytest.param([], "pools is an empty list; give at least one spot and one on-demand", id="empty"),
        pytest.param([SPOT, SPOT], "pools are named spot, spot; give each its own name", id="duplicates"),
        pytest.param(
            [SPOT, {}], r"^pools\[1\]\.name: Field required; pools\[1\].capacity_type: Field", id="empty-pool"
        ),
        pytest.param(["spot"], r"pools\[0\] is 'spot': Input should be a valid dictionary", id="names-only"),
        pytest.param([{**SPOT, "name": "Spot!"}], r"pools\[0\].name is 'Spot!': String should match", id="bad-name"),
        pytest.param(
            [{**SPOT, "capacity_type": "cheap"}], "capacity_type is 'cheap': Input should be 'spot' or", id="capacity"
        ),
        pytest.param(
            [{**SPOT, "labels": {}}], r"pools\[0\].labels is \{\}: Extra inputs are not permitted", id="unknown-field"
        ),
        pytest.param(
            [{"name": "spot", "capacity_type": "spot"}],
            "pool 'spot' selects no nodes; give it a node_selector",
            id="selects-nothing",
        ),
        pytest.param(
            [{**SPOT, "tolerations": [{"key": "a", "effect": "Never"}]}],
            r"pools\[0\].tolerations\[0\].effect is 'Never': Input should be",
            id="toleration",
        ),
        pytest.param(
            [{**SPOT, "node_requirements": [{"key": "a", "operator": "Is"}]}],
            r"node_requirements\[0\].operator is 'Is': Input should be",
            id="requirement",
        ),
    ],
)
def test_bad_pools_are_refused(pools: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_pools(pools)
