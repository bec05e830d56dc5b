"""From a person's application to that of each group. No cluster."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.spec import ApplicationSpec
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.placements.base import Group
from tests.fleet.test_plan import IDENTITY, MIX, application, plan


def grouped(**arguments: Any) -> FleetPlan:
    manifest = arguments.pop("manifest", application())
    return plan(manifest, **{"placement": "groups", **arguments})


def test_groups_are_applications_on_pools_of_their_own() -> None:
    found, suffix = grouped(), IDENTITY.fleet_id[:8]
    spot, on_demand, again = found.spec.applications
    assert spot == ApplicationSpec(name=f"daily-etl-0-{suffix}", executors=2, pool="spot", group="spot")
    assert on_demand == ApplicationSpec(name=f"daily-etl-1-{suffix}", executors=3, pool="on-demand", group="on-demand")
    assert again == ApplicationSpec(
        name=f"daily-etl-0r-{suffix}", executors=2, pool="on-demand", group="spot", replaces=spot.name
    )
    assert [manifest["metadata"]["name"] for manifest in found.applications] == [spot.name, on_demand.name]
    assert (found.spec.executors, found.spec.target) == (5, {"spot": 2, "on-demand": 3})


def test_executors_of_a_group_are_born_on_its_pool_and_its_driver_on_on_demand() -> None:
    first, second = grouped().applications
    for manifest, pool in ((first, "spot"), (second, "on-demand")):
        executor, driver = (manifest["spec"][role]["template"] for role in ("executor", "driver"))
        assert executor["spec"]["nodeSelector"] == {"karpenter.sh/capacity-type": pool}
        assert driver["spec"]["nodeSelector"] == {"karpenter.sh/capacity-type": "on-demand"}
        assert "schedulingGates" not in executor["spec"]
        marks = executor["metadata"]["labels"]
        assert (marks["spotmix.io/seat-pool"], marks["spotmix.io/placed-pool"]) == (pool, pool)
    assert len(first["spec"]["executor"]["template"]["spec"]["tolerations"]) == 1


def test_groups_that_name_their_pools_are_the_mix() -> None:
    three = (Group(name="a", pool="spot", weight=2), Group(name="b", pool="spot"), Group(name="c", pool="on-demand"))
    spec = grouped(groups=three, quorum=2, mix=msgspec.structs.replace(MIX, on_demand_base=99)).spec
    assert spec.target == {"spot": 4, "on-demand": 1}
    assert [(share.pool, share.weight) for share in spec.mix.shares] == [("spot", 4), ("on-demand", 1)]
    assert (spec.mix.on_demand_base, spec.quorum) == (0, 2)


def test_long_names_keep_the_groups_apart() -> None:
    names = [app.name for app in grouped(manifest=application("a" * 200), groups=3).spec.applications]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"groups": ()}, "groups is an empty list; give one or more", id="none"),
        pytest.param({"groups": 6}, "groups is 6, but there are 5 executors", id="too-many"),
        pytest.param(
            {"groups": (Group(name="a", pool="spto"),)}, "'a' is on unknown pool 'spto'; pools: spot", id="pool"
        ),
        pytest.param(
            {"groups": (Group(name="a", pool="spot"), Group(name="a", pool="spot"))},
            "groups: name 'a' of a, a: each needs its own name",
            id="one-name-twice",
        ),
        pytest.param(
            {"groups": (Group(name="a", pool="spot", node_selector={"karpenter.sh/capacity-type": "spot"}),)},
            r"group 'a': .*nodeSelector has karpenter.sh/capacity-type: 'spot', which the mix decides; remove",
            id="selects-capacity",
        ),
        pytest.param(
            {"groups": (Group(name="a", pool="spot", executor={"affinity": {"nodeAffinity": {}}}),)},
            r"group 'a': spec.executor.affinity is .*, which would replace",
            id="affinity-of-the-cr",
        ),
        pytest.param(
            {"groups": (Group(name="a", pool="spot", executor={"instances": 1}),)},
            r"group 'a': executor.instances is 1; .* remove it",
            id="instances",
        ),
        pytest.param(
            {"quorum": 3}, "success_policy is a quorum of 3, but there are 2 groups; give 1 to 2", id="quorum"
        ),
        pytest.param({"placement": "template", "groups": 2}, "groups is 2, but placement 'template'", id="no-groups"),
        pytest.param(
            {"placement": "template", "quorum": 2}, "a quorum of 2, but there is 1 group; give", id="quorum-of-one"
        ),
    ],
)
def test_bad_groups_name_field_value_and_remedy(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        grouped(**arguments)
