from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_spotmix.core.pools import PRESETS, Pool
from airflow_provider_spotmix.lab import config_file
from airflow_provider_spotmix.lab.config import LabConfig, nodes_of
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.pools import PROVIDERS, NodeConfig, PoolConfig


def parse(text: str) -> LabConfig:
    return config_file.parse(yaml.safe_load(text), Path("/"))


@pytest.mark.parametrize("text", [config_file.DEFAULT, "{}", "pools:"], ids=["printed", "nothing", "null"])
def test_what_is_left_out_is_the_default_lab(text: str) -> None:
    assert parse(text).to_json() == LabConfig().to_json()


def test_a_pool_says_what_its_nodes_are(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    path = tmp_path / "lab.yaml"
    path.write_text("""
pools:
  - {name: cheap, capacity: spot, provider: gke, nodes: 3, cpu: 0.5, memory: 512Mi, zones: [a, b], labels: {team: x}}
  - {name: gpu, capacity: on-demand, provider: plain, nodes: 1, taints: [{key: gpu, effect: NoExecute}]}
without: [spark-operator]
app_dir: jobs
""")
    found = config_file.read(path)
    assert [(node.name, node.labels["topology.kubernetes.io/zone"]) for node in found.nodes] == [
        ("cheap-1", "a"),
        ("cheap-2", "b"),
        ("cheap-3", "a"),
        ("gpu-1", "lab-a"),
    ]
    labels = {"cloud.google.com/gke-nodepool": "cheap", "cloud.google.com/gke-spot": "true", "team": "x"}
    spot = {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}
    assert found.nodes[0] == NodeConfig(
        "cheap-1", labels | {"topology.kubernetes.io/zone": "a"}, (spot,), "0.5", "512Mi", "cheap", "spot"
    )
    assert found.nodes[3].taints == ({"key": "gpu", "value": "", "effect": "NoExecute"},)
    assert "spark-operator" not in found.components()
    assert found.app_dir == tmp_path / "jobs"


@pytest.mark.parametrize("provider", PRESETS)
def test_nodes_of_a_provider_are_those_that_the_preset_of_that_name_selects(provider: str) -> None:
    spot, on_demand = (nodes_of(PoolConfig(name, name, provider))[0] for name in ("spot", "on-demand"))
    for pool in PRESETS[provider]:
        own, other = (spot, on_demand) if pool.is_spot else (on_demand, spot)
        assert takes(own, pool)
        assert not takes(other, pool)


def takes(node: NodeConfig, pool: Pool) -> bool:
    """Whether the scheduler would place an executor of the pool on the node."""
    selected = pool.node_selector.items() <= node.labels.items()
    for requirement in pool.node_requirements:
        given = node.labels.get(requirement.key)
        selected &= given is None if requirement.operator == "DoesNotExist" else given not in requirement.values
    tolerated = {(each.key, each.value, each.effect) for each in pool.tolerations}
    return selected and {(taint["key"], taint["value"], taint["effect"]) for taint in node.taints} <= tolerated


def test_every_provider_is_offered() -> None:
    offered = config_file.PoolModel.model_json_schema()["properties"]["provider"]["enum"]
    assert offered == list(PROVIDERS)
    assert " | ".join(PROVIDERS) in config_file.DEFAULT


@pytest.mark.parametrize(
    ("text", "story"),
    [
        pytest.param("[]", "it is []; give fields, such as pools", id="no-mapping"),
        pytest.param("pool: []", "pool: there is no such field", id="unknown-field"),
        pytest.param("pools: [{name: a}]", "pools[0].capacity is missing", id="missing"),
        pytest.param("pools: []", "nodes: a lab has 1 to 120 nodes, not 0", id="no-pools"),
        pytest.param(
            "pools: [{name: a, capacity: spt}]", "is 'spt'; input should be 'spot' or 'on-demand'", id="choice"
        ),
        pytest.param("pools: [{name: A_1, capacity: spot}]", "pools[0].name is 'A_1'; give up to 50 of a-z", id="name"),
        pytest.param(
            "pools: [{name: a, capacity: spot, nodes: 'x'}]", "nodes is 'x'; input should be a valid integer", id="x"
        ),
        pytest.param("pools: [{name: a, capacity: spot, nodes: 121}]", "a lab has 1 to 120 nodes, not 121", id="many"),
        pytest.param(
            "pools: [{name: a, capacity: spot, cpu: 2 cores}]", "cpu is '2 cores'; give a number of CPUs", id="cpu"
        ),
        pytest.param(
            "pools: [{name: a, capacity: spot, memory: 8GB}]", "memory is '8GB'; give an amount, such as 8Gi", id="GB"
        ),
        pytest.param(
            "pools: [{name: a, capacity: spot, labels: {a b: c}}]", "labels.a b is 'a b'; give a key", id="label"
        ),
        pytest.param(
            "pools: [{name: a, capacity: spot, zones: []}]", "zones is []; list should have at least 1", id="zones"
        ),
        pytest.param(
            "pools: [{name: a, capacity: spot, taints: [{key: a, effect: Never}]}]",
            "pools[0].taints[0].effect is 'Never'; input should be 'NoSchedule', 'PreferNoSchedule' or 'NoExecute'",
            id="taint",
        ),
        pytest.param(
            "pools: [{name: a, capacity: spot}, {name: a, capacity: spot}]", "name 'a-1' is used twice", id="same-name"
        ),
        pytest.param(
            "without: [etcd]", "without: a lab cannot be without 'etcd', only without controller-manager", id="etcd"
        ),
        pytest.param("audit: on", "audit is True; input should be a valid string", id="yaml-on"),
        pytest.param("app_dir: /nowhere", "mounts: /nowhere (for /opt/app) does not exist", id="app-dir"),
    ],
)
def test_what_is_wrong_is_told_with_field_value_and_remedy(text: str, story: str, tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    with pytest.raises(LabError) as error:
        config_file.read(path)
    assert story in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("; all fields: spotmix lab config")


@pytest.mark.parametrize(
    ("content", "story"),
    [
        pytest.param(None, "No such file or directory; to begin one: spotmix lab config > lab.yaml", id="missing"),
        pytest.param(b"a: [", "is no YAML: while parsing", id="no-yaml"),
        pytest.param(b"\xff\xfe\x00", "is no YAML: ", id="binary"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(content: bytes | None, story: str, tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LabError) as error:
        config_file.read(path)
    assert story in str(error.value)


def test_no_document_is_a_traceback() -> None:
    documents: list[Any] = [
        1,
        "x",
        True,
        {1: 2},
        {"pools": 1},
        {"pools": [1]},
        {"pools": [{"labels": 1}]},
        {"mounts": 1},
    ]
    for document in documents:
        with pytest.raises(LabError):
            config_file.parse(document, Path("/"))
