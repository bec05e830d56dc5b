"""`SparkFleetOperator` as Airflow handles it: constructed, rendered, serialised, mapped, planned. No cluster."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.operators.spark_kubernetes import SparkKubernetesOperator
from airflow.sdk import DAG

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.operators.manifest import task_labels
from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from tests.fleet.test_plan import application
from tests.support.running_task import running
from tests.support.versions import DagSerialization


@pytest.fixture
def dag() -> DAG:
    return DAG("etl", schedule=None, params={"spot": 40, "base": 1})


def operator(dag: DAG, **arguments: Any) -> SparkFleetOperator:
    return SparkFleetOperator(
        task_id="daily", dag=dag, **{"template_spec": application(), "namespace": "spark", **arguments}
    )


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="neither"),
        pytest.param({"application_file": "a.yaml", "template_spec": {}}, id="both"),
    ],
)
def test_it_takes_exactly_one_application(dag: DAG, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one of application_file and template_spec"):
        SparkFleetOperator(task_id="daily", dag=dag, **arguments)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        pytest.param({"deferrable": "False"}, "deferrable is 'False'; give True or False", id="flag-as-text"),
        pytest.param({"delete_on_termination": None}, "delete_on_termination is None; give", id="no-flag"),
        pytest.param({"driver_log_lines": -1}, "driver_log_lines is -1; give a whole number, 0 or more", id="negative"),
        pytest.param({"driver_log_lines": "100"}, "driver_log_lines is '100'; give a whole number", id="text"),
        pytest.param({"driver_log_lines": True}, "driver_log_lines is True; give a whole number", id="flag"),
    ],
)
def test_what_is_no_template_is_checked_when_the_dag_is_parsed(
    dag: DAG, argument: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        operator(dag, **argument)


def test_an_unknown_argument_is_refused(dag: DAG) -> None:
    with pytest.raises(TypeError, match="ratoi"):
        operator(dag, ratoi="40:60")


def test_templates_are_rendered(dag: DAG) -> None:
    task = operator(
        dag,
        template_spec=application("etl-{{ ds_nodash | length }}"),
        ratio="{{ params.spot }}:{{ 100 - params.spot }}",
        on_demand_base="{{ params.base }}",
        groups=[{"name": "{{ dag.dag_id }}", "pool": "spot"}],
        success_policy="{{ params.base }}",
        namespace="team-{{ dag.dag_id }}",
        name="{{ task.task_id }}",
        spotmix_conn_id="spotmix_{{ dag.dag_id }}",
        kubernetes_conn_id="k8s_{{ dag.dag_id }}",
        image="spark:{{ params.base }}",
        code_path="local:///{{ dag.dag_id }}.py",
    )
    running(task)
    assert {name: getattr(task, name) for name in task.template_fields} == {
        "application_file": None,
        "template_spec": application("etl-8"),
        "ratio": "40:60",
        "on_demand_base": "1",
        "groups": [{"name": "etl", "pool": "spot"}],
        "success_policy": "1",
        "namespace": "team-etl",
        "name": "daily",
        "spotmix_conn_id": "spotmix_etl",
        "kubernetes_conn_id": "k8s_etl",
        "image": "spark:1",
        "code_path": "local:///etl.py",
    }


def test_a_file_is_found_and_rendered_as_airflow_finds_templates(tmp_path: Any) -> None:
    (tmp_path / "etl.yaml").write_text("metadata: {name: '{{ dag.dag_id }}'}\n")
    with DAG("etl", schedule=None, template_searchpath=str(tmp_path)):
        task = SparkFleetOperator(task_id="daily", application_file="etl.yaml")
    running(task)
    assert task.application_file == "metadata: {name: 'etl'}"


def test_what_is_rendered_is_planned(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPOTMIX_DEFAULT", "spotmix://?on_demand_base=2")
    task = operator(dag, ratio="{{ params.spot }}:{{ 100 - params.spot }}", policy={"node_lost_after_seconds": 30})
    told: list[str] = []
    plan = task._plan(running(task)[1], lambda text, *values: told.append(text % values))
    assert plan.spec.mix.seats(7) == {"spot": 2, "on-demand": 5}
    assert plan.spec.policy == Policy(node_lost_after_seconds=30)
    assert [line for line in told if not line.startswith(("policy.", "Spark properties"))] == [
        "ratio = 40:60 (from argument)",
        "on_demand_base = 2 (from connection)",
        "placement = template (from default)",
        "pools = karpenter (from default)",
        "controller = airflow (from default)",
    ]
    assert "policy.node_lost_after_seconds = 30.0 (from argument)" in told
    assert sum(line.startswith("Spark properties against interruptions: spark.decommission") for line in told) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"ratio": "140%"}, "'140%' is more than the whole", id="ratio"),
        pytest.param({"on_demand_base": -1}, "on_demand_base is -1", id="base"),
        pytest.param({"pools": "azure"}, "pools is 'azure'; presets: karpenter", id="pools"),
        pytest.param({"placement": "magic"}, "magic", id="placement"),
        pytest.param({"template_spec": {}}, "apiVersion is None", id="application"),
        pytest.param({"image": "\ud800"}, "image has .*, with a character that no file can hold", id="unwritable"),
        pytest.param({"name": "Daily ETL"}, "name is 'Daily ETL', no valid application name", id="name"),
    ],
)
def test_bad_input_is_told_before_anything_is_submitted(dag: DAG, arguments: dict[str, Any], message: str) -> None:
    task = operator(dag, **arguments)
    with pytest.raises(InvalidInputError, match=message):
        task._plan(running(task)[1], lambda *_: None)


@pytest.mark.parametrize("map_index", [-1, 3])
def test_labels_are_those_of_the_peer(dag: DAG, map_index: int) -> None:
    peer = SparkKubernetesOperator(task_id="peer", dag=dag, application_file="{}")
    _, context = running(operator(dag), map_index=map_index, run_id="manual__2026-01-01T00:00:00+00:00", try_number=2)
    assert task_labels(context) == peer._get_ti_pod_labels(context) | {"airflow_provider": "spotmix"}


def test_a_dag_with_it_can_be_serialised(dag: DAG) -> None:
    task = operator(dag, ratio={"spot": 40, "on-demand": 60}, execution_timeout=dt.timedelta(hours=1))
    there = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    found: Any = there.get_task("daily")
    assert found.task_type == "SparkFleetOperator"
    assert tuple(found.template_fields) == tuple(task.template_fields)
    assert found.ratio == {"spot": 40, "on-demand": 60}


def test_it_can_be_mapped() -> None:
    with DAG("etl", schedule=None) as dag:
        SparkFleetOperator.partial(task_id="daily", template_spec=application()).expand(ratio=["40:60", "1:0"])
    assert DagSerialization.to_dict(dag)
    mapped: Any = dag.get_task("daily")
    second = mapped.unmap({"ratio": "1:0"})
    assert (second.ratio, second.template_spec) == ("1:0", application())


@pytest.mark.parametrize(
    ("timeout", "started_seconds_ago", "expected_seconds"),
    [
        pytest.param(None, 5, None, id="none"),
        pytest.param(dt.timedelta(minutes=1), 5, 55, id="counts-from-the-start-of-the-task"),
        pytest.param(dt.timedelta(minutes=1), 90, 1, id="never-negative"),
    ],
)
def test_time_left(
    dag: DAG, timeout: dt.timedelta | None, started_seconds_ago: int, expected_seconds: int | None
) -> None:
    task = operator(dag, execution_timeout=timeout)
    start = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=started_seconds_ago)
    left = task._time_left(running(task, start_date=start)[0])
    assert (left and round(left.total_seconds())) == expected_seconds


# What importing an operator in a DAG file may not load: the DAG processor parses each file again and again, in a
# process of its own, and so does every task. A Kubernetes client costs seconds and 100 MB (bench/dag_import.py).
HEAVY = ("kubernetes", "kubernetes_asyncio", "aiohttp", "msgspec", "pyspark", "airflow.providers.cncf")
OURS = ("hooks.settings", "core", "fleet", "kube", "placements", "backends", "manifests", "lab", "triggers")


@pytest.mark.parametrize(
    "module", ["airflow_provider_spotmix.operators.spark_fleet", "airflow_provider_spotmix.sensors.spark_fleet"]
)
def test_importing_it_in_a_dag_file_loads_nothing_heavy(module: str) -> None:
    code = (
        "import sys; from airflow.sdk import DAG; before = set(sys.modules);"
        f"import {module};"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    loaded = done.stdout.split()
    assert module in loaded
    forbidden = HEAVY + tuple(f"airflow_provider_spotmix.{name}" for name in OURS)
    assert [name for name in loaded if name.startswith(forbidden)] == []
