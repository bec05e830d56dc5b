"""What is refused of pools, base, name and namespace, and in which words. No cluster."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.pools import KARPENTER, NodeRequirement, Pool, Toleration
from tests.fleet.test_plan import MIX, application, plan

SPOT, ON_DEMAND = KARPENTER
KEY = "a key has up to 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
VALUE = KEY.replace("key", "value", 1)
REFUSED = "which Kubernetes does not take"


def spot(**fields: Any) -> tuple[Pool, ...]:
    return (msgspec.structs.replace(SPOT, **fields), ON_DEMAND)


def require(**fields: Any) -> tuple[Pool, ...]:
    return spot(node_requirements=(NodeRequirement(**{"key": "zone", "operator": "In", "values": ("a",), **fields}),))


def tolerate(**fields: Any) -> tuple[Pool, ...]:
    return spot(tolerations=(Toleration(**{"key": "gpu", **fields}),))


def dynamic(**allocation: Any) -> dict[str, Any]:
    manifest = application()
    manifest["spec"]["dynamicAllocation"] = {"enabled": True, **allocation}
    return manifest


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        pytest.param(
            spot(node_selector={"a b": "c"}), f"pool 'spot': node_selector has 'a b', {REFUSED}: {KEY}", id="key"
        ),
        pytest.param(
            spot(node_selector={"": "c"}), f"pool 'spot': node_selector has '', {REFUSED}: {KEY}", id="empty-key"
        ),
        pytest.param(
            spot(node_selector={"a": "b c"}),
            f"pool 'spot': node_selector 'a' has 'b c', {REFUSED}: {VALUE}",
            id="value",
        ),
        pytest.param(
            require(key="/zone"),
            f"pool 'spot': node_requirements has '/zone', {REFUSED}: what is before its '/' has to be a DNS name in"
            " lower case",
            id="requirement-key",
        ),
        pytest.param(
            require(operator="Is"),
            "pool 'spot': node_requirements has operator 'Is'; there are In, NotIn, Exists, DoesNotExist, Gt, Lt",
            id="requirement-operator",
        ),
        pytest.param(
            require(values=()),
            "pool 'spot': node_requirements has values () with operator 'In' on 'zone'; it takes one or more values",
            id="in-nothing",
        ),
        pytest.param(
            require(operator="DoesNotExist"),
            "pool 'spot': node_requirements has values ('a',) with operator 'DoesNotExist' on 'zone'; it takes no"
            " values",
            id="absent-with-values",
        ),
        pytest.param(
            require(operator="Gt"),
            "pool 'spot': node_requirements has values ('a',) with operator 'Gt' on 'zone'; it takes one whole-number"
            " value",
            id="greater-than-a-word",
        ),
        pytest.param(
            require(values=("a", "b c")),
            f"pool 'spot': node_requirements has 'b c', {REFUSED}: {VALUE}",
            id="requirement-value",
        ),
        pytest.param(
            tolerate(effect="Never"),
            "pool 'spot': tolerations has operator 'Equal' and effect 'Never'; operators are Equal and Exists, effects"
            " NoSchedule, PreferNoSchedule and NoExecute, or none for all",
            id="toleration-effect",
        ),
        pytest.param(
            tolerate(operator="Exists", value="true"),
            "pool 'spot': tolerations has value 'true' with operator 'Exists'; remove one",
            id="toleration-of-any-value-with-one",
        ),
        pytest.param(tolerate(key=""), f"pool 'spot': tolerations has '', {REFUSED}: {KEY}", id="toleration-key"),
        pytest.param(
            tolerate(value="a b"), f"pool 'spot': tolerations has 'a b', {REFUSED}: {VALUE}", id="toleration-value"
        ),
        pytest.param(
            spot(name="spot pool"),
            "pool name 'spot pool' of spot pool, on-demand: each needs its own name, which becomes a label of pods: up"
            " to 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit",
            id="name-no-label",
        ),
        pytest.param(
            (SPOT, SPOT, ON_DEMAND),
            "pool name 'spot' of spot, spot, on-demand: each needs its own name, which becomes a label of pods: up"
            " to 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit",
            id="duplicates",
        ),
        pytest.param(KARPENTER[:1], "unknown pool 'on-demand' in ratio; pools: spot", id="unknown-pool"),
        pytest.param(
            spot(node_selector=ON_DEMAND.node_selector),
            "pools 'spot' and 'on-demand' select the same nodes, but one is spot and the other on-demand; give each"
            " what tells its nodes apart",
            id="same-nodes",
        ),
    ],
)
def test_pools_that_no_executor_could_be_put_on_are_refused(pools: tuple[Pool, ...], message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        plan(application(), pools=pools)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "pools",
    [
        pytest.param(require(operator="NotIn"), id="not-in"),
        pytest.param(require(operator="Exists", values=()), id="exists"),
        pytest.param(require(operator="Gt", values=("-3",)), id="greater"),
        pytest.param(tolerate(operator="Exists", effect="NoExecute"), id="any-value"),
        pytest.param(tolerate(key="", operator="Exists"), id="everything"),
        pytest.param(tolerate(key="example.com/gpu", value="a100"), id="with-a-prefix"),
    ],
)
def test_every_form_of_a_pool_is_taken(pools: tuple[Pool, ...]) -> None:
    assert plan(application(), pools=pools).spec.pools == pools


BAD_NAME = (
    "no valid application name: write lower-case letters, digits and '-', starting with a letter, ending with a letter"
    " or digit"
)


@pytest.mark.parametrize(
    ("manifest", "arguments", "message"),
    [
        pytest.param(
            application("Daily_ETL"), {}, f"metadata.name is 'Daily_ETL', {BAD_NAME}", id="name-of-the-manifest"
        ),
        pytest.param(application(), {"name": "9to5"}, f"name is '9to5', {BAD_NAME}", id="name-as-argument"),
        pytest.param(application(), {"name": 5}, f"name is 5, {BAD_NAME}", id="name-is-a-number"),
        pytest.param(
            application(""),
            {},
            "the application has no name; set metadata.name or the argument 'name'",
            id="no-name",
        ),
        pytest.param(
            application("a" * 254),
            {},
            f"metadata.name is '{'a' * 99}..., 254 characters long; shorten it to 253",
            id="name-too-long",
        ),
        *(
            pytest.param(
                application(),
                {"namespace": namespace},
                f"namespace is {namespace!r} (of the task, its application or the connection), which Kubernetes does"
                " not take: it has up to 63 lower-case letters, digits and '-', and begins and ends with a letter or"
                " digit",
                id=name,
            )
            for name, namespace in (
                ("namespace", "Team A"),
                ("namespace-is-a-number", 5),
                ("namespace-too-long", "a" * 64),
                ("namespace-with-dots", "a.b"),
            )
        ),
        pytest.param(
            application(),
            {"mix": msgspec.structs.replace(MIX, on_demand_base=6)},
            "on_demand_base is 6, but the fleet has at most 5 executors; lower the base, or raise the executors",
            id="base-above-the-total",
        ),
        pytest.param(
            dynamic(maxExecutors=7),
            {"mix": msgspec.structs.replace(MIX, on_demand_base=8)},
            "on_demand_base is 8, but the fleet has at most 7 executors; lower the base, or raise the executors",
            id="base-above-the-most",
        ),
    ],
)
def test_the_rest_is_refused(manifest: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        plan(manifest, **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("manifest", "base"),
    [
        pytest.param(application(), 5, id="all-of-them"),
        pytest.param(dynamic(maxExecutors=7), 7, id="all-there-may-be"),
        pytest.param(dynamic(), 1000, id="nobody-knows-how-many"),
    ],
)
def test_a_base_that_can_be_filled_is_taken(manifest: dict[str, Any], base: int) -> None:
    mix = msgspec.structs.replace(MIX, on_demand_base=base)
    assert plan(manifest, mix=mix).spec.mix == mix
