from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_spotmix.lab import paths
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.pools import NodeConfig


def test_the_default_lab_has_two_spot_and_two_on_demand_nodes_as_karpenter_makes_them() -> None:
    key = "karpenter.sh/capacity-type"
    nodes = [(n.name, n.labels[key], [t["value"] for t in n.taints]) for n in LabConfig().nodes]
    assert nodes == [
        ("spot-1", "spot", ["spot"]),
        ("spot-2", "spot", ["spot"]),
        ("on-demand-1", "on-demand", []),
        ("on-demand-2", "on-demand", []),
    ]


@pytest.mark.parametrize(
    ("nodes", "mounts", "story"),
    [
        pytest.param((), {}, "nodes: a lab has 1 to 120 nodes, not 0", id="no-nodes"),
        pytest.param((NodeConfig("Spot_1"),), {}, "name 'Spot_1' is not a DNS label", id="bad-name"),
        pytest.param((NodeConfig("a"), NodeConfig("a")), {}, "name 'a' is used twice", id="same-name"),
        pytest.param((NodeConfig("a"),), {"opt": Path("/")}, "'opt' is not an absolute path", id="relative-target"),
        pytest.param((NodeConfig("a"),), {"/opt/x": Path("/nowhere")}, "/nowhere .* does not exist", id="no-source"),
    ],
)
def test_a_bad_configuration_names_field_value_and_rule(
    nodes: tuple[NodeConfig, ...], mounts: dict[str, Path], story: str
) -> None:
    with pytest.raises(LabError, match=story):
        LabConfig(nodes=nodes, mounts=mounts)


def test_an_unknown_way_to_audit_is_told_with_the_known_ones() -> None:
    with pytest.raises(LabError, match="audit: 'on' is none of rotate, keep, off"):
        LabConfig(audit="on")


@pytest.mark.parametrize("name", ["", "-a", "A", "../x", "a" * 41])
def test_a_lab_name_that_could_leave_its_directory_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="is not 1 to 40 of"):
        paths.lab_dir(name)


def test_cache_and_state_follow_the_xdg_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert paths.cache_dir() == tmp_path / "cache" / "spotmix"
    assert paths.lab_dir("x") == tmp_path / "state" / "spotmix" / "labs" / "x"
