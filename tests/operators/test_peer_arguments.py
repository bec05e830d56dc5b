"""Every argument of SparkKubernetesOperator is taken over or refused with a remedy; none is ignored."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.operators.spark_kubernetes import SparkKubernetesOperator
from airflow.sdk import DAG, BaseOperator

from airflow_provider_spotmix.operators.peer_arguments import REFUSED, SAME
from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from tests.fleet.test_plan import application


def arguments(*operators: Any) -> set[str]:
    """Names of what these can be constructed with."""
    found = {name for each in operators for name in inspect.signature(each.__init__).parameters}
    return found - {"self", "args", "kwargs"}


PEERS = arguments(SparkKubernetesOperator, KubernetesPodOperator)
OF_AIRFLOW = arguments(BaseOperator)


def operator(**given: Any) -> SparkFleetOperator:
    return SparkFleetOperator(task_id="daily", dag=DAG("etl", schedule=None), template_spec=application(), **given)


def test_each_of_the_peers_is_in_one_table() -> None:
    assert SAME | REFUSED.keys() == PEERS
    assert SAME & REFUSED.keys() == set()


def test_what_is_taken_over_is_an_argument_of_ours_or_airflows() -> None:
    assert SAME - arguments(SparkFleetOperator) - OF_AIRFLOW == set()


def test_what_is_refused_is_no_argument_of_ours_or_airflows() -> None:
    assert REFUSED.keys() & (arguments(SparkFleetOperator) | OF_AIRFLOW) == set()


def test_every_templated_field_of_the_peer_is_templated() -> None:
    assert set(SparkKubernetesOperator.template_fields) <= set(SparkFleetOperator.template_fields)
    assert {f".{each}" for each in SparkKubernetesOperator.template_ext} == set(SparkFleetOperator.template_ext)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_it_is_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is 5, an argument of SparkKubernetesOperator .*; \w") as caught:
        operator(**{name: 5})
    assert str(caught.value).endswith(REFUSED[name])


def test_nothing_asked_is_nothing_refused() -> None:
    operator(affinity=None, on_finish_action=None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"in_cluster": "yes"}, "in_cluster is 'yes'; give True or False", id="in_cluster"),
        pytest.param({"get_logs": "False"}, "get_logs is 'False'; give True or False", id="get_logs"),
        pytest.param(
            {"startup_timeout_seconds": 5, "policy": {"startup_timeout_seconds": 6}},
            "startup_timeout_seconds is given twice; remove it from policy",
            id="startup-twice",
        ),
        pytest.param(
            {"startup_timeout_seconds": 5, "policy": "{}"}, "policy is '{}'; give a mapping", id="policy-is-text"
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_at_parse(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        operator(**given)
