"""A sensor's arguments: what they mean, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.wish import State, Wish
from airflow_provider_spotmix.fleet.picture import Target
from airflow_provider_spotmix.sensors.inputs import read_target, read_wish

FLEET = "0123456789abcdef"
ANNOUNCED = {"fleet": FLEET, "namespace": "etl", "applications": ["a"]}


def target(**arguments: Any) -> Target:
    given = dict.fromkeys(("fleet", "name", "label_selector", "task", "namespace")) | arguments
    return read_target(**given, default_namespace=lambda: "spark")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param({"fleet": FLEET}, Target(namespace="spark", fleet=FLEET), id="fleet-id"),
        pytest.param({"fleet": ANNOUNCED}, Target(namespace="etl", fleet=FLEET), id="xcom"),
        pytest.param({"fleet": json.dumps(ANNOUNCED)}, Target(namespace="etl", fleet=FLEET), id="json"),
        pytest.param({"fleet": str(ANNOUNCED)}, Target(namespace="etl", fleet=FLEET), id="rendered-xcom"),
        pytest.param(
            {"fleet": ANNOUNCED, "namespace": "own"}, Target(namespace="own", fleet=FLEET), id="argument-beats-xcom"
        ),
        pytest.param({"name": "etl"}, Target(namespace="spark", name="etl"), id="name"),
        pytest.param({"label_selector": " a=b "}, Target(namespace="spark", selector="a=b"), id="labels"),
        pytest.param(
            {"task": {"dag_id": "my dag", "task_id": "etl"}},
            Target(namespace="spark", task={"dag_id": "mydag-40365f84e", "task_id": "etl"}),
            id="task",
        ),
    ],
)
def test_target(arguments: dict[str, Any], found: Target) -> None:
    assert target(**arguments) == found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"fleet": "None"}, "fleet is 'None', no fleet; give its id, or pull the XCom", id="no-xcom-yet"),
        pytest.param({"fleet": "{"}, "fleet is '{', no fleet", id="broken"),
        pytest.param({"fleet": {"fleet": "x"}}, "fleet is {'fleet': 'x'}, no fleet", id="no-id"),
        pytest.param({"name": "No_Name"}, "name is 'No_Name'; give the name of a SparkApplication", id="name"),
        pytest.param({"name": ""}, "name is ''", id="empty-name"),
        pytest.param({"label_selector": " "}, "label_selector is ' '; give labels", id="labels"),
    ],
)
def test_no_target(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        target(**arguments)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("value", "wish"),
    [
        pytest.param(5, Wish(executors=5), id="count"),
        pytest.param("5", Wish(executors=5), id="count-as-text"),
        pytest.param(0.8, Wish(share=0.8), id="share"),
        pytest.param(1.0, Wish(share=1.0), id="all"),
        pytest.param("80%", Wish(share=0.8), id="percentage"),
        pytest.param(None, Wish(state=State.SUCCEEDED), id="nothing-given"),
    ],
)
def test_executors(value: Any, wish: Wish) -> None:
    assert read_wish(wait_for=None, executors_running=value, mix=None, tolerance=1) == wish


@pytest.mark.parametrize("value", [True, -1, "many", "140%", 1.5, "nan", float("inf"), [], "1e3", "\u0665"])
def test_no_executors(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"executors_running is .*; give a count such as 5"):
        read_wish(wait_for=None, executors_running=value, mix=None, tolerance=1)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("fleet"), inner, max_size=3),
    max_leaves=5,
)


@given(value=ANYTHING | st.from_regex(r"[0-9.%{}'\":,a-f]{0,20}"))
def test_whatever_is_given_is_understood_or_refused_with_its_name(value: Any) -> None:
    def refused(argument: str, read: Callable[[], Any]) -> None:
        said = ""
        try:
            read()
        except InvalidInputError as error:
            said = str(error)
        assert said == "" or said.startswith(f"{argument} is ")
        assert len(said) < 1000

    if value is not None:
        for argument in ("fleet", "name", "label_selector"):
            refused(argument, partial(target, **{argument: value}))
    refused("executors_running", partial(read_wish, wait_for=None, executors_running=value, mix=None, tolerance=1))
