"""Everything that a fleet is run with: which source wins, key by key, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.core.cost import Price, Prices
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import KARPENTER
from airflow_provider_spotmix.hooks.choice import Chosen, PolicyModel, choose
from airflow_provider_spotmix.hooks.ratio import parse_mix

SECRET = "correct-horse-battery-staple"
SPOT = {"core_hour": "0.012", "gib_hour": "0.0016"}
ON_DEMAND = {"core_hour": "0.040", "gib_hour": "0.0050"}
PRICES = {"spot": SPOT, "on-demand": ON_DEMAND}


def test_nothing_at_all_is_the_defaults() -> None:
    found = choose({}, {}, {})
    policy = {f"policy.{each.name}": (each.default, "default") for each in msgspec.structs.fields(Policy)}
    assert found == Chosen(
        mix=parse_mix("40:60", 0, KARPENTER),
        pools=KARPENTER,
        placement="template",
        controller="airflow",
        policy=Policy(),
        prices=None,
        origins={
            "ratio": ("40:60", "default"),
            "on_demand_base": (0, "default"),
            "placement": ("template", "default"),
            "controller": ("airflow", "default"),
            "pools": ("karpenter", "default"),
            **policy,
        },
    )


def test_each_key_of_the_policy_has_its_own_source() -> None:
    found = choose(
        {"policy": {"node_lost_after_seconds": 1}},
        {"policy": '{"node_lost_after_seconds": 2, "vacant_seat_seconds": "2"}'},
        {"policy": '{"vacant_seat_seconds": 3, "startup_timeout_seconds": 3}'},
    )
    assert found.policy == Policy(node_lost_after_seconds=1, vacant_seat_seconds=2, startup_timeout_seconds=3)
    told = {name: each for name, each in found.origins.items() if name.startswith("policy.")}
    assert told["policy.node_lost_after_seconds"] == (1.0, "argument")
    assert told["policy.vacant_seat_seconds"] == (2.0, "connection")
    assert told["policy.startup_timeout_seconds"] == (3.0, "[spotmix] config")


def test_every_field_of_the_policy_can_be_set() -> None:
    assert list(PolicyModel.model_fields) == list(Policy.__struct_fields__)


@pytest.mark.parametrize(
    "given_prices",
    [
        pytest.param(PRICES, id="mapping"),
        pytest.param(json.dumps(PRICES), id="text"),
        pytest.param(
            '{"spot": {"core_hour": 0.012, "gib_hour": 0.0016}, "on-demand": {"core_hour": 0.04, "gib_hour": 5e-3}}',
            id="numbers",
        ),
        pytest.param(
            {"spot": {"core_hour": 0.012, "gib_hour": 0.0016}, "on-demand": {"core_hour": 0.04, "gib_hour": 0.005}},
            id="floats-are-what-they-show",
        ),
    ],
)
def test_prices_are_exact_in_every_form(given_prices: Any) -> None:
    found = choose({}, {"prices": given_prices, "currency": "EUR"}, {})
    assert found.prices == Prices(
        by_pool={
            "spot": Price(core_hour=Decimal("0.012"), gib_hour=Decimal("0.0016")),
            "on-demand": Price(core_hour=Decimal("0.040"), gib_hour=Decimal("0.0050")),
        },
        currency="EUR",
    )
    assert found.origins["prices"] == ("of spot, on-demand in EUR", "connection")


def test_a_currency_belongs_to_the_prices_beside_it() -> None:
    found = choose({}, {"prices": PRICES}, {"prices": {}, "currency": "EUR"})
    assert found.prices
    assert found.prices.currency == "USD"
    found = choose({}, {"currency": "CHF"}, {"prices": PRICES, "currency": "EUR"})
    assert found.prices
    assert (found.prices.currency, found.origins["prices"][1]) == ("EUR", "[spotmix] config")


def test_that_a_pool_has_no_price_is_told() -> None:
    found = choose({}, {"prices": {"spot": SPOT}}, {})
    assert found.origins["prices"][0] == "of spot in USD, but not of on-demand: there will be no costs"


@pytest.mark.parametrize(
    ("given_policy", "message"),
    [
        pytest.param(
            {"node_lost": 1},
            r"unknown field policy.node_lost; known: node_lost_after_seconds, .* \(from argument\)",
            id="unknown-key",
        ),
        pytest.param(
            {"vacant_seat_seconds": -1}, "policy.vacant_seat_seconds is -1: .* greater than or", id="negative"
        ),
        pytest.param({"vacant_seat_seconds": "soon"}, "policy.vacant_seat_seconds is 'soon': .*number", id="word"),
        pytest.param({"vacant_seat_seconds": float("nan")}, "is nan: ", id="nan"),
        pytest.param({"vacant_seat_seconds": "inf"}, "is 'inf': Input should be a finite number", id="infinite"),
        pytest.param({"vacant_seat_seconds": True}, "is True: Input should be a number, not a flag", id="flag"),
        pytest.param("soon", r"policy \(from argument\) is no mapping; give one, or a JSON object", id="no-json"),
        pytest.param("[" * 100_000, "is no mapping; give one", id="deep"),
        pytest.param([1], "is no mapping; give one", id="list"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(given_policy: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        choose({"policy": given_policy}, {}, {})


@pytest.mark.parametrize(
    ("given_prices", "message"),
    [
        pytest.param({}, "^prices is {}: Dictionary should have at least 1 item", id="empty"),
        pytest.param({"spot": {}}, "prices.spot is {}: give core_hour and gib_hour, or executor_hour", id="no-price"),
        pytest.param(
            {"spot": {"core_hour": "-1"}}, "prices.spot.core_hour is '-1': Input should be greater", id="less"
        ),
        pytest.param({"spot": {"core_hour": "NaN"}}, "core_hour is 'NaN': Input should be a finite", id="nan"),
        pytest.param({"spot": {"core_hour": "1e9"}}, "Input should be less than or equal", id="huge"),
        pytest.param({"spot": {"core_hour": True}}, "Input should be a number, not a flag", id="flag"),
        pytest.param(
            {"spot": {"cpu_hour": 1}},
            "unknown field prices.spot.cpu_hour; known: core_hour, gib_hour, executor_hour",
            id="unknown",
        ),
        pytest.param({"spot": 1}, "prices.spot is 1: ", id="number-alone"),
        pytest.param("0.1", r"prices \(from \[spotmix\] config\) is no mapping", id="text"),
    ],
)
def test_prices_that_make_no_sense_are_refused(given_prices: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        choose({}, {}, {"prices": given_prices})


def test_a_currency_is_a_code() -> None:
    with pytest.raises(InvalidInputError, match=r"^currency is 'euro': .*ISO 4217.* \(from \[spotmix\] config\)$"):
        choose({}, {}, {"prices": PRICES, "currency": "euro"})


@pytest.mark.parametrize("name", ["policy", "prices"])
@pytest.mark.parametrize("value", [SECRET, {"vacant_seat_seconds": SECRET}, {"spot": {"core_hour": SECRET}}, [SECRET]])
def test_no_value_of_a_connection_is_repeated(name: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match="from connection") as caught:
        choose({}, {name: value}, {})
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["spot", "core_hour", "vacant_seat_seconds"]) | st.integers() | st.text(max_size=5), inner
        )
    ),
    max_leaves=8,
)


@given(values, values, values)
def test_whatever_is_given_there_is_a_choice_or_an_error_of_ours(policy: Any, prices: Any, currency: Any) -> None:
    given_values = {"policy": policy, "prices": prices, "currency": currency}
    with suppress(InvalidInputError):
        choose(given_values, {}, {})
    with suppress(InvalidInputError):
        choose({}, {}, {name: json.dumps(value) for name, value in given_values.items() if value is not None})
