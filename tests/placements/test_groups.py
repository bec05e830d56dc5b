"""How executors and pools are shared between groups. No cluster."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.manifests.part import ExecutorCount
from airflow_provider_spotmix.placements.base import Draft, Group, Groups
from airflow_provider_spotmix.placements.groups import SeparateGroups, apportioned

SPOT, ON_DEMAND = "spot", "on-demand"


def mix(spot: int, on_demand: int, base: int = 0) -> Mix:
    shares = (Share(pool=SPOT, weight=spot, on_demand=False), Share(pool=ON_DEMAND, weight=on_demand, on_demand=True))
    return Mix(shares=shares, on_demand_base=base, base_pool=ON_DEMAND)


def drafts(groups: Groups, executors: int, of: Mix | None = None) -> tuple[Draft, ...]:
    return SeparateGroups().drafts(ExecutorCount(executors, dynamic=False), of or mix(2, 3), groups)


def shown(found: tuple[Draft, ...]) -> list[tuple[str, str, int]]:
    return [(draft.part.name, draft.pool, draft.part.executors) for draft in found if draft.part]


@pytest.mark.parametrize(
    ("groups", "executors", "of", "expected"),
    [
        pytest.param(None, 5, mix(2, 3), [("spot", SPOT, 2), ("on-demand", ON_DEMAND, 3)], id="one-per-pool"),
        pytest.param(None, 3, mix(0, 1), [("on-demand", ON_DEMAND, 3)], id="no-group-without-executors"),
        pytest.param(None, 5, mix(1, 0, 2), [("spot", SPOT, 3), ("on-demand", ON_DEMAND, 2)], id="base"),
        pytest.param(1, 4, mix(1, 0), [("group-0", SPOT, 4)], id="one"),
        pytest.param(
            5,
            11,
            mix(2, 3),
            [(f"group-{i}", p, n) for i, p, n in zip(range(5), "ososo", (3, 2, 2, 2, 2), strict=True)],
            id="equal",
        ),
        pytest.param(
            3, 6, mix(1, 0, 3), [(f"group-{i}", p, 2) for i, p in enumerate("oos")], id="base-takes-the-first-groups"
        ),
        pytest.param(
            (Group(name="eu", pool=SPOT, weight=3), Group(name="asia", pool=ON_DEMAND)),
            8,
            mix(1, 9),
            [("eu", SPOT, 6), ("asia", ON_DEMAND, 2)],
            id="by-name-whatever-the-ratio",
        ),
    ],
)
def test_groups(groups: Groups, executors: int, of: Mix, expected: list[tuple[str, str, int]]) -> None:
    pools = {"o": ON_DEMAND, "s": SPOT}
    assert shown(drafts(groups, executors, of)) == [(name, pools.get(pool, pool), n) for name, pool, n in expected]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=12), st.integers(0, 300))
def test_executors_are_shared_exactly(weights: list[int], executors: int) -> None:
    found = apportioned(weights, executors)
    assert sum(found) == executors
    exact = [Fraction(executors * weight, sum(weights)) for weight in weights]
    assert all(abs(got - due) < 1 for got, due in zip(found, exact, strict=True))


@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 9), st.integers(0, 9), st.integers(0, 20))
def test_equal_groups_differ_by_one_and_the_base_is_covered(n: int, more: int, s: int, o: int, base: int) -> None:
    total = n + more
    of = mix(s, o or (not s), min(base, total))
    found = drafts(n, total, of)
    sizes = [draft.part.executors for draft in found if draft.part]
    assert (len(sizes), sum(sizes)) == (n, total)
    assert max(sizes) - min(sizes) <= 1
    covered = next(k for k in range(n + 1) if sum(sizes[:k]) >= of.on_demand_base)
    assert {draft.pool for draft in found[:covered]} <= {ON_DEMAND}
    rest = n - covered
    on_spot = sum(draft.pool == SPOT for draft in found)
    assert abs(on_spot - Fraction(rest * of.shares[0].weight, s + of.shares[1].weight)) < 1


@pytest.mark.parametrize(
    ("groups", "executors", "message"),
    [
        pytest.param(0, 5, "groups is 0; give 1 or more", id="none"),
        pytest.param(-1, 5, "groups is -1; give 1 or more", id="negative"),
        pytest.param(6, 5, "groups is 6, but there are 5 executors", id="too-many"),
        pytest.param(
            (Group(name="a", pool=SPOT, weight=99), Group(name="b", pool=SPOT)),
            5,
            "groups: 'b' gets none of the 5 executors with share 1 of 100; raise",
            id="too-small-a-share",
        ),
    ],
)
def test_what_cannot_be_shared_is_refused(groups: Groups, executors: int, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        drafts(groups, executors)


def test_dynamic_allocation_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"dynamic allocation is enabled.*disable dynamic allocation"):
        SeparateGroups().drafts(ExecutorCount(5, dynamic=True), mix(2, 3), None)


def test_every_group_knows_its_place_and_its_share() -> None:
    first, second = (draft.part for draft in drafts(None, 5))
    assert first
    assert second
    assert first.variables == {
        "SPOTMIX_GROUP_INDEX": "0",
        "SPOTMIX_GROUP_COUNT": "2",
        "SPOTMIX_GROUP_NAME": "spot",
        "SPOTMIX_GROUP_SHARE": "0.4",
    }
    assert replace(second, executors=1, total=3).variables["SPOTMIX_GROUP_SHARE"] == "0.333333"
