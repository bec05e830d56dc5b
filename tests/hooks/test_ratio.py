"""The ratio that a person writes: exact in every form, and never a traceback."""

from __future__ import annotations

import math
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_spotmix.core.errors import InvalidMixError
from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.pools import KARPENTER, CapacityType, Pool
from airflow_provider_spotmix.hooks.ratio import parse_mix

THREE = (*KARPENTER, Pool(name="big", capacity_type=CapacityType.SPOT))
TWO_SPOT = (KARPENTER[0], Pool(name="big", capacity_type=CapacityType.SPOT))


def mix(spot: int, on_demand: int, base: int = 0) -> Mix:
    return Mix(
        shares=(
            Share(pool="spot", weight=spot, on_demand=False),
            Share(pool="on-demand", weight=on_demand, on_demand=True),
        ),
        on_demand_base=base,
        base_pool="on-demand",
    )


@pytest.mark.parametrize(
    "ratio",
    [
        "40:60",
        "2:3",
        " 4 : 6 ",
        "0.2:0.3",
        "+2:3.0",
        0.4,
        "0.4",
        ".4",
        "40%",
        " 40 %",
        "40.0%",
        Decimal("0.4"),
        Fraction(2, 5),
        {"spot": 40, "on-demand": 60},
        {"on-demand": 60, "spot": 40},
        {"spot": "40", "on-demand": 60.0},
        '{"spot": 40, "on-demand": 60}',
        ' {"on-demand": 0.3, "spot": 0.2}',
    ],
)
def test_every_form_is_the_same_mix(ratio: Any) -> None:
    assert parse_mix(ratio, 0, KARPENTER) == mix(2, 3)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        pytest.param("0:1", mix(0, 1), id="no-spot"),
        pytest.param(0, mix(0, 1), id="share-zero"),
        pytest.param(1, mix(1, 0), id="share-one"),
        pytest.param("100%", mix(1, 0), id="all-spot"),
        pytest.param({"spot": 7}, mix(1, 0), id="only-one-is-named"),
        pytest.param(0.1, mix(1, 9), id="a-tenth-is-a-tenth"),
        pytest.param("1:999999999999999999", mix(1, 999999999999999999), id="large"),
        pytest.param(1 / 3, mix(3333333333333333, 6666666666666667), id="a-floats-third-is-what-it-shows"),
    ],
)
def test_edges(ratio: Any, expected: Mix) -> None:
    assert parse_mix(ratio, 0, KARPENTER) == expected


def test_pools_beyond_two_by_position_and_by_name() -> None:
    named = parse_mix({"big": 1, "spot": 2, "on-demand": 1}, 0, THREE)
    assert parse_mix("2:1:1", 0, THREE) == named
    assert [share.weight for share in named.shares] == [2, 1, 1]


@pytest.mark.parametrize("base", [2, "2", " 2 "])
def test_base(base: Any) -> None:
    assert parse_mix("40:60", base, KARPENTER) == mix(2, 3, base=2)


@pytest.mark.parametrize(
    ("ratio", "message"),
    [
        pytest.param("spot:od", r"part 'spot' of ratio 'spot:od' is no number; write", id="no-numbers"),
        pytest.param("half", r"ratio 'half' is no number; write \"40:60\"", id="word"),
        pytest.param("", r"ratio '' is no number", id="empty"),
        pytest.param("40:", r"part '' of ratio '40:' is no number", id="missing-part"),
        pytest.param("-1:2", r"part '-1' .* is negative; a share is zero or more", id="negative"),
        pytest.param(-0.1, r"ratio -0.1 is negative", id="negative-share"),
        pytest.param(math.nan, r"ratio nan is nan; give a finite number", id="nan"),
        pytest.param("nan:1", r"part 'nan' .* is no number", id="nan-in-text"),
        pytest.param(math.inf, r"give a finite number", id="infinite"),
        pytest.param(Decimal("sNaN"), r"give a finite number", id="signalling-nan"),
        pytest.param({"spot": math.inf}, r"ratio of pool 'spot' is inf; give a finite", id="infinite-weight"),
        pytest.param("0:0", r"all shares of the ratio are zero; give at least one", id="all-zero"),
        pytest.param({"spot": 0}, r"all shares of the ratio are zero", id="only-one-and-zero"),
        pytest.param("40:60:0", r"has 3 parts, but there are 2 pools \(spot, on-demand\); give one", id="three-parts"),
        pytest.param({"sptt": 1}, r"unknown pool 'sptt' in ratio; pools: spot, on-demand", id="unknown-pool"),
        pytest.param({1: 1}, r"unknown pool 1 in ratio", id="pool-that-is-no-name"),
        pytest.param({}, r"ratio is empty; write", id="empty-mapping"),
        pytest.param("{}", r"ratio is empty", id="empty-mapping-in-text"),
        pytest.param('{"spot": 1, "spot": 2}', r"names a pool twice; name each once", id="duplicate"),
        pytest.param('{"spot": 1', r"is no JSON; write", id="broken-json"),
        pytest.param('{"spot": {"spot": 1}}', r"ratio of pool 'spot' is \{'spot': 1\}, no number", id="nested"),
        pytest.param("140%", r"ratio '140%' is more than the whole; give a share on spot from 0 to 1", id="percent"),
        pytest.param(1.4, r"ratio 1.4 is more than the whole", id="share-above-one"),
        pytest.param(40, r"ratio 40 is more than the whole", id="forgot-the-percent-sign"),
        pytest.param("4_0:60", r"part '4_0' .* is no number", id="underscore"),
        pytest.param("٤:٦", r"is no number", id="digits-of-another-script"),
        pytest.param("1e2:1", r"is no number", id="exponent"),
        pytest.param(True, r"ratio is True, a flag; write", id="flag"),
        pytest.param({"spot": True}, r"ratio of pool 'spot' is True, no number", id="flag-as-weight"),
        pytest.param(None, r"ratio is None, a NoneType; write", id="none"),
        pytest.param(["40", "60"], r"ratio is \['40', '60'\], a list; write", id="list"),
        pytest.param(10**5000, r"more than 30 digits; round it", id="a-number-too-long-to-be-shown"),
        pytest.param([10**5000], r"ratio is a list that cannot be shown", id="a-list-that-cannot-be-shown"),
        pytest.param("9" * 31 + ":1", r"more than 30 digits; round it", id="too-many-digits"),
        pytest.param("1:" + "9" * 20, r"finer than any fleet is large; round it", id="too-fine"),
        pytest.param(1e-300, r"more than 30 digits; round it", id="tiny"),
        pytest.param("x" * 10**6, r"ratio 'x{90,100}\.\.\. is no number", id="a-long-story-is-cut"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_remedy(ratio: Any, message: str) -> None:
    with pytest.raises(InvalidMixError, match=message):
        parse_mix(ratio, 0, KARPENTER)


def test_a_single_share_needs_two_pools() -> None:
    with pytest.raises(
        InvalidMixError, match="takes exactly one spot and one on-demand pool; there are spot, on-demand"
    ):
        parse_mix(0.4, 0, THREE)


UNSHOWN = pytest.param(10**5000, id="a-number-too-long-to-be-shown")


@pytest.mark.parametrize("base", [-1, "-1", "two", "", None, True, 1.5, [], 2**31, "9" * 5000, "\u0661", UNSHOWN])
def test_a_base_is_a_whole_number(base: Any) -> None:
    with pytest.raises(InvalidMixError, match=r"on_demand_base is .*; give a whole number of executors, 0 or more"):
        parse_mix("40:60", base, KARPENTER)


def test_a_base_needs_an_on_demand_pool() -> None:
    with pytest.raises(InvalidMixError, match="no pool is on-demand; add one or set the base to 0"):
        parse_mix("1:1", 1, TWO_SPOT)


numbers = (
    st.integers() | st.floats() | st.decimals() | st.fractions() | st.booleans() | st.none() | st.text(max_size=20)
)
names = st.sampled_from(["spot", "on-demand", "big"]) | st.text(max_size=5) | st.integers() | st.none()
ratios = (
    numbers
    | st.text("0123456789.:%+-e{}\"' ", max_size=20)
    | st.lists(st.integers() | st.floats(), max_size=4).map(lambda parts: ":".join(map(str, parts)))
    | st.dictionaries(names, numbers, max_size=4)
    | st.recursive(numbers, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
    | st.binary()
)


@settings(max_examples=10_000, deadline=None)
@given(ratios, st.sampled_from([0, 1, "3"]) | numbers, st.sampled_from([KARPENTER, THREE, TWO_SPOT]))
@example("{" * 100_000, 0, KARPENTER)
@example({"spot": Decimal("1E+400")}, 0, KARPENTER)
def test_whatever_is_given_there_is_a_mix_or_an_error_of_ours(ratio: Any, base: Any, pools: tuple[Pool, ...]) -> None:
    with suppress(InvalidMixError):
        found = parse_mix(ratio, base, pools)
        assert [share.pool for share in found.shares] == [pool.name for pool in pools]
        assert math.gcd(*(share.weight for share in found.shares)) == 1
        assert sum(found.seats(7).values()) == 7


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_weights_and_share_agree(spot: int, on_demand: int) -> None:
    if spot + on_demand:
        assert parse_mix(f"{spot}:{on_demand}", 0, KARPENTER) == parse_mix(
            Fraction(spot, spot + on_demand), 0, KARPENTER
        )
