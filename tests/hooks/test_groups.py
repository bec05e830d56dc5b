"""Reading groups and success policies as people write them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.hooks.groups import parse_groups, parse_success_policy
from airflow_provider_spotmix.placements.base import Group, Groups

EU: dict[str, Any] = {"name": "eu", "pool": "spot"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, None, id="nothing"),
        pytest.param("", None, id="an-empty-template"),
        pytest.param(4, 4, id="number"),
        pytest.param(" 4 ", 4, id="number-as-text"),
        pytest.param([EU], (Group(name="eu", pool="spot"),), id="list"),
        pytest.param(json.dumps([EU]), (Group(name="eu", pool="spot"),), id="list-as-text"),
        pytest.param(
            [{**EU, "share": "1.5"}, {"name": "asia", "pool": "spot", "share": 0.5}],
            (Group(name="eu", pool="spot", weight=3), Group(name="asia", pool="spot", weight=1)),
            id="shares",
        ),
        pytest.param(
            [
                {
                    **EU,
                    "node_selector": {"a": "b"},
                    "tolerations": [{"key": "k", "operator": "Exists"}],
                    "driver": {"cores": 2},
                    "executor": {"memory": "4g"},
                    "arguments": ["x"],
                }
            ],
            (
                Group(
                    name="eu",
                    pool="spot",
                    node_selector={"a": "b"},
                    tolerations=({"key": "k", "operator": "Exists"},),
                    driver={"cores": 2},
                    executor={"memory": "4g"},
                    arguments=("x",),
                ),
            ),
            id="everything",
        ),
    ],
)
def test_forms_of_groups(value: Any, expected: Groups) -> None:
    assert parse_groups(value) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(True, "groups is True; give a number of groups, or a list", id="flag"),
        pytest.param(2.5, "groups is 2.5; give a number", id="fraction"),
        pytest.param("many", "groups is 'many'; give a number", id="word"),
        pytest.param("[{", r"groups is '\[\{'; give a number", id="broken-json"),
        pytest.param(EU, "groups is {'name'", id="one-group-without-a-list"),
        pytest.param(["eu"], r"groups\[0\] is 'eu'; a group is a mapping of name, pool", id="no-mapping"),
        pytest.param([{"pool": "spot"}], r"groups\[0\].name is missing \(a group has name, pool", id="no-name"),
        pytest.param([{**EU, "name": "E U"}], r"groups\[0\].name is 'E U'", id="name"),
        pytest.param([{**EU, "shrae": 2}], r"groups\[0\].shrae is 2: .*a group has name, pool, share", id="typo"),
        pytest.param([EU, {**EU, "share": 0}], r"groups\[1\].share is 0; give a number above 0", id="zero"),
        pytest.param([{**EU, "share": -1}], r"groups\[0\].share is -1; give", id="negative"),
        pytest.param([{**EU, "share": float("nan")}], r"groups\[0\].share is nan, a float that JSON", id="nan"),
        pytest.param([{**EU, "share": True}], r"groups\[0\].share is True; give", id="share-is-a-flag"),
        pytest.param([{**EU, "driver": {"a": {1}}}], r"groups\[0\].driver.a is \{1\}, a set that JSON", id="set"),
        pytest.param([{**EU, "driver": {"\ud800": 1}}], r"groups\[0\].driver has .*no file can hold", id="surrogate"),
        pytest.param([{**EU, "arguments": [1]}], r"groups\[0\].arguments\[0\] is 1: ", id="arguments-are-text"),
        pytest.param([{**EU, "node_selector": {"a": 1}}], r"groups\[0\].node_selector.a is 1: ", id="selector"),
    ],
)
def test_bad_groups_name_field_value_and_remedy(value: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parse_groups(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("all", 0, id="all"),
        pytest.param(None, 0, id="nothing"),
        pytest.param("any", 1, id="any"),
        pytest.param(3, 3, id="number"),
        pytest.param("3", 3, id="number-as-text"),
        pytest.param({"quorum": 2}, 2, id="quorum"),
        pytest.param('{"quorum": 2}', 2, id="quorum-as-text"),
        pytest.param({"quorum": "2"}, 2, id="templated-quorum"),
    ],
)
def test_success_policies(value: Any, expected: int) -> None:
    assert parse_success_policy(value) == expected


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "most", {"quorum": 0}, {"qorum": 1}, {"quorum": 1, "x": 2}, []])
def test_bad_success_policies_say_what_there_is(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"success_policy is .*; give 'all', 'any', or"):
        parse_success_policy(value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "pool", "share", "driver", "x"]), inner),
)


@given(ANYTHING)
def test_anything_else_is_an_input_error(value: Any) -> None:
    for parse in (parse_groups, parse_success_policy):
        with suppress(InvalidInputError):
            parse(value)
