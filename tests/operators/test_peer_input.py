"""What SparkKubernetesOperator takes is taken here, and means the same; compared with that operator itself."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml
from airflow.providers.cncf.kubernetes.operators.custom_object_launcher import CustomObjectLauncher, SparkResources
from airflow.sdk import DAG
from kubernetes.client import ApiClient

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.operators.manifest import load_application
from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from tests.fleet.test_plan import application
from tests.support.running_task import running

# Every key that the peer reads, with a value.
KUBERNETES: dict[str, Any] = {
    "env_vars": {"A": "1", "B": "2"},
    "env_from": [{"prefix": "X_", "configMapRef": {"name": "x"}}],
    "from_env_config_map": ["settings"],
    "from_env_secret": ["passwords"],
    "image_pull_secrets": "one,two",
    "volumes": [{"name": "data", "emptyDir": {}}],
    "volume_mounts": [{"name": "data", "mountPath": "/data"}],
    "config_map_mounts": {"files": "/etc/files"},
    "affinity": {"podAntiAffinity": {}},
    "tolerations": [{"key": "team", "operator": "Exists"}],
    "node_selector": {"disk": "ssd"},
}


def wrapped(kubernetes: dict[str, Any], **spec: Any) -> dict[str, Any]:
    manifest = copy.deepcopy(application())
    manifest["spec"] |= spec
    return {"spark": manifest, "kubernetes": kubernetes}


def peers(document: dict[str, Any]) -> dict[str, Any]:
    """What the peer would submit."""
    document = copy.deepcopy(document)
    document["spark"]["spec"].setdefault("labels", {})
    launcher = CustomObjectLauncher("etl", "spark", None, None, template_body=document)  # type: ignore[arg-type]
    found: dict[str, Any] = ApiClient().sanitize_for_serialization(launcher.body)["spec"]
    return found


def ordered(found: Any) -> Any:
    """The order of a list means nothing here."""
    return sorted(found, key=lambda each: json.dumps(each, sort_keys=True)) if isinstance(found, list) else found


def test_the_section_kubernetes_means_what_it_means_to_the_peer() -> None:
    document = wrapped(KUBERNETES, labels={"team": "data"})
    ours, theirs = load_application(None, document).manifest["spec"], peers(document)
    for role in ("driver", "executor"):
        for field in ("env", "envFrom", "volumeMounts", "tolerations", "nodeSelector", "labels"):
            assert ordered(ours[role][field]) == ordered(theirs[role][field]), field
        # The one that goes elsewhere: the operator's webhook would put it in the place of the placement.
        assert ours[role]["template"]["spec"]["affinity"] == theirs[role]["affinity"]
    assert ours["volumes"] == theirs["volumes"]
    # A SparkApplication has names there; the peer writes objects, which the API server refuses.
    assert ours["imagePullSecrets"] == [each["name"] for each in theirs["imagePullSecrets"]]
    assert "labels" not in ours  # not a field of a SparkApplication: its roles have it


def test_nothing_that_is_there_already_is_lost() -> None:
    """The peer would replace it."""
    document = wrapped(KUBERNETES, volumes=[{"name": "own", "emptyDir": {}}])
    document["spark"]["spec"]["driver"] |= {
        "env": [{"name": "OWN", "value": "0"}],
        "volumeMounts": [{"name": "own", "mountPath": "/own"}],
        "nodeSelector": {"disk": "hdd", "own": "yes"},
    }
    spec = load_application(None, document).manifest["spec"]
    assert [each["name"] for each in spec["volumes"]] == ["own", "data", "files"]
    assert [each["name"] for each in spec["driver"]["env"]] == ["OWN", "A", "B"]
    assert [each["name"] for each in spec["driver"]["volumeMounts"]] == ["own", "data", "files"]
    assert spec["driver"]["nodeSelector"] == {"disk": "hdd", "own": "yes"}


def test_an_empty_section_changes_nothing() -> None:
    empty = {key: type(value)() for key, value in KUBERNETES.items()}
    found = load_application(None, wrapped({**empty, "in_cluster": False, "kube_config_file": None}))
    assert (found.manifest, found.cluster) == (application(), {})


def test_what_the_section_says_of_the_cluster_is_used_where_no_argument_says_more() -> None:
    section = {"kube_config_file": "/etc/kube", "cluster_context": "prod"}
    with DAG("etl", schedule=None):
        task = SparkFleetOperator(task_id="daily", template_spec=wrapped(section), cluster_context="staging")
    assert task._where() == {"in_cluster": None, "config_file": "/etc/kube", "cluster_context": "staging"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param(
            wrapped({"namespace": "etl"}),
            "kubernetes has 'namespace', with which SparkKubernetesOperator does nothing; remove it",
            id="unknown-key",
        ),
        pytest.param(
            {"spark": application(), "kubernets": {}},
            "template_spec has 'kubernets' beside 'spark'; there is only 'kubernetes'",
            id="unknown-section",
        ),
        pytest.param(wrapped({"volumes": "data"}), "kubernetes.volumes is 'data'; write a list there", id="no-list"),
        pytest.param(
            wrapped({"node_selector": ["a"]}), r"kubernetes.node_selector is \['a'\]; write a mapping", id="no-mapping"
        ),
        pytest.param(
            wrapped({"affinity": {"a": {}}}, executor={"template": {"spec": {"affinity": {"b": {}}}}}),
            "but spec.executor.template.spec.affinity is there too; keep the latter, with both merged",
            id="two-affinities",
        ),
        pytest.param({"spark": application(), "kubernetes": [1]}, r"kubernetes is \[1\]", id="section-is-a-list"),
    ],
)
def test_what_means_nothing_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_application(None, document)


RESOURCES = """
gpu: {name: nvidia.com/gpu, quantity: 2}
cpu: {request: 2, limit: "2"}
memory: {limit: 5Gi}
"""


@pytest.mark.parametrize(
    "resources",
    [
        pytest.param(RESOURCES, id="all"),
        pytest.param("{cpu: {request: '1'}, gpu: {name: null, quantity: 0}, memory: {limit: 512m}}", id="some"),
        pytest.param("{cpu: {request: null}, memory: {request: null, limit: null}}", id="nothing"),
    ],
)
def test_container_resources_are_those_of_the_peer(resources: str) -> None:
    given = yaml.safe_load(resources)
    manifest = application()
    for role in ("driver", "executor"):
        manifest["spec"][role]["container_resources"] = copy.deepcopy(given)
    theirs = SparkResources(copy.deepcopy(given), copy.deepcopy(given)).resources
    expected = application()
    for role in ("driver", "executor"):
        expected["spec"][role] |= theirs[role]
    assert load_application(None, manifest).manifest == expected


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        pytest.param({"disk": {}}, r"container_resources has 'disk'; it takes cpu, memory and gpu", id="unknown"),
        pytest.param({"cpu": 2}, "container_resources.cpu is 2; write a mapping there", id="cpu"),
        pytest.param({"cpu": {"request": "500m"}}, "cpu.request is '500m'; write a number, 1 or more", id="millicores"),
        pytest.param({"memory": {"limit": "5T"}}, "memory.limit is '5T'; write a number of gigabytes", id="memory"),
        pytest.param(
            {"memory": {"limit": "5Gi", "request": "4Gi"}}, "memory.request is '4Gi'; Spark requests", id="request"
        ),
    ],
)
def test_resources_that_cannot_be_had_are_refused(resources: dict[str, Any], message: str) -> None:
    manifest = application()
    manifest["spec"]["driver"]["container_resources"] = resources
    with pytest.raises(InvalidInputError, match=message):
        load_application(None, manifest)


def planned(task_id: str = "daily", **arguments: Any) -> Any:
    with DAG("etl", schedule=None):
        task = SparkFleetOperator(task_id=task_id, **{"template_spec": application(), "namespace": "a", **arguments})
    return task._plan(running(task)[1], lambda *_: None)


def test_image_and_code_path_take_the_place_of_the_manifests() -> None:
    (found,) = planned(image="spark:5", code_path="local:///job.py").applications
    assert (found["spec"]["image"], found["spec"]["mainApplicationFile"]) == ("spark:5", "local:///job.py")


@pytest.mark.parametrize(
    ("task_id", "name"),
    [("daily_etl", "daily-etl"), ("Group.daily", "group-daily"), ("2nd", "task-2nd"), ("_", "task")],
)
def test_an_application_without_a_name_is_named_after_its_task(task_id: str, name: str) -> None:
    manifest = application()
    del manifest["metadata"]
    (found,) = planned(task_id, template_spec=manifest).applications
    assert found["metadata"]["name"].rpartition("-")[0] == name


def test_the_startup_timeout_is_part_of_the_policy() -> None:
    policy = planned(startup_timeout_seconds=600, policy={"vacant_seat_seconds": 60}).spec.policy
    assert (policy.startup_timeout_seconds, policy.vacant_seat_seconds) == (600, 60)
