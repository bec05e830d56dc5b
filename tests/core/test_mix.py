"""The mix: which pool each seat belongs to. Tables for what a person expects, oracles and bounds for all else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from itertools import accumulate, islice, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.core.errors import InvalidMixError
from airflow_provider_spotmix.core.mix import Mix, Share, whole_weights

SPOT, ON_DEMAND = "spot", "on-demand"


def mix(*weights: int, base: int = 0) -> Mix:
    """Spot pools of these weights; the last one is on-demand."""
    names = [SPOT, ON_DEMAND] if len(weights) == 2 else [f"pool-{n}" for n in range(len(weights))]
    last = len(weights) - 1
    return Mix(
        shares=tuple(
            Share(pool=name, weight=weight, on_demand=number == last)
            for number, (name, weight) in enumerate(zip(names, weights, strict=True))
        ),
        on_demand_base=base,
        base_pool=names[last] if base else "",
    )


@pytest.mark.parametrize(
    ("given_mix", "executors", "spot", "on_demand"),
    [
        pytest.param(mix(40, 60), 5, 2, 3, id="40:60-of-5"),
        pytest.param(mix(40, 60), 10, 4, 6, id="40:60-of-10"),
        pytest.param(mix(2, 3), 5, 2, 3, id="scale-does-not-matter"),
        pytest.param(mix(1, 1), 1, 0, 1, id="tie-goes-to-on-demand"),
        pytest.param(mix(1, 1), 5, 2, 3, id="later-tie-goes-to-on-demand"),
        pytest.param(mix(1, 3), 2, 0, 2, id="half-a-seat-goes-to-on-demand"),
        pytest.param(mix(3, 1), 2, 1, 1, id="half-a-seat-goes-to-on-demand-also-when-spot-has-more"),
        pytest.param(mix(1, 0), 7, 7, 0, id="all-spot"),
        pytest.param(mix(0, 1), 7, 0, 7, id="all-on-demand"),
        pytest.param(mix(40, 60, base=1), 1, 0, 1, id="base-first"),
        pytest.param(mix(40, 60, base=1), 6, 2, 4, id="ratio-applies-above-the-base"),
        pytest.param(mix(1, 0, base=2), 5, 3, 2, id="base-without-an-on-demand-share"),
        pytest.param(mix(1, 1, base=9), 5, 0, 5, id="fleet-smaller-than-its-base"),
        pytest.param(mix(40, 60), 0, 0, 0, id="no-executors"),
    ],
)
def test_seats_of_a_fleet(given_mix: Mix, executors: int, spot: int, on_demand: int) -> None:
    assert given_mix.seats(executors) == {SPOT: spot, ON_DEMAND: on_demand}


def test_one_pool_takes_every_seat() -> None:
    only = Mix(shares=(Share(pool="only", weight=3, on_demand=False),))
    assert only.seats(4) == {"only": 4}


def test_the_base_may_be_a_pool_of_its_own() -> None:
    apart = Mix(shares=mix(1, 1).shares, on_demand_base=2, base_pool="reserved")
    assert list(islice(apart.sequence(), 5)) == ["reserved", "reserved", ON_DEMAND, SPOT, ON_DEMAND]


def test_seats_come_in_the_order_that_keeps_every_prefix_right() -> None:
    assert list(islice(mix(40, 60).sequence(), 5)) == [ON_DEMAND, SPOT, ON_DEMAND, SPOT, ON_DEMAND]


def test_four_pools_keep_the_quota_that_a_divisor_method_breaks() -> None:
    assert mix(1, 1, 1, 5).seats(5)["pool-3"] >= 3  # Webster gives 2 of an exact share of 3.125
    assert mix(1, 1, 1, 15).seats(8)["pool-3"] <= 7  # Webster gives 8 of an exact share of 6.67


# -- properties

weights_of_two = st.tuples(st.integers(0, 1000), st.integers(0, 1000)).filter(any)
weights_of_many = st.lists(st.integers(0, 200), min_size=2, max_size=6).filter(any).map(tuple)


@given(weights_of_two, st.integers(0, 150))
def test_two_pools_are_the_nearest_whole_numbers_with_ties_to_on_demand(
    weights: tuple[int, int], executors: int
) -> None:
    exact = Fraction(weights[0] * executors, sum(weights))
    spot = math.ceil(exact - Fraction(1, 2))  # the nearest whole number; of two equally near ones the lower
    assert mix(*weights).seats(executors) == {SPOT: spot, ON_DEMAND: executors - spot}


@given(weights_of_many)
def test_every_prefix_is_within_tijdemans_bound_of_every_target(weights: tuple[int, ...]) -> None:
    seats: Counter[str] = Counter()
    shares = mix(*weights).shares
    pools = sum(1 for weight in weights if weight)
    bound = 1 - Fraction(1, 2 * pools - 2) if pools > 1 else Fraction(0)
    for executors, pool in enumerate(islice(mix(*weights).sequence(), 120), start=1):
        seats[pool] += 1
        off = max(abs(seats[s.pool] - Fraction(s.weight * executors, sum(weights))) for s in shares)
        assert off <= bound < 1


@given(weights_of_many, st.integers(0, 5), st.integers(0, 200))
def test_seats_are_those_of_the_sequence_whatever_the_size(weights: tuple[int, ...], base: int, executors: int) -> None:
    given_mix = mix(*weights, base=base)
    counted = Counter(islice(given_mix.sequence(), executors))
    assert {pool: count for pool, count in given_mix.seats(executors).items() if count} == counted


@given(weights_of_many, st.integers(0, 3), st.integers(0, 60))
def test_growth_moves_nobody(weights: tuple[int, ...], base: int, executors: int) -> None:
    smaller, larger = mix(*weights, base=base).seats(executors), mix(*weights, base=base).seats(executors + 1)
    grown = {pool: larger[pool] - count for pool, count in smaller.items() if larger[pool] != count}
    assert list(grown.values()) == [1]


@cache
def prefixes_within_one(weights: tuple[int, ...], executors: int) -> frozenset[tuple[int, ...]]:
    """Slow and obvious: all counts that some sequence reaches with every prefix less than one off every target."""
    if not executors:
        return frozenset({(0,) * len(weights)})
    grown = (
        tuple(count + (number == chosen) for number, count in enumerate(counts))
        for counts, chosen in product(prefixes_within_one(weights, executors - 1), range(len(weights)))
    )
    total = sum(weights)
    return frozenset(
        counts
        for counts in grown
        if all(abs(count * total - weight * executors) < total for count, weight in zip(counts, weights, strict=True))
    )


@pytest.mark.parametrize("weights", [w for n in (2, 3, 4) for w in product(range(5 - n // 2), repeat=n) if any(w)])
def test_ours_is_one_of_the_sequences_that_an_exhaustive_search_finds(weights: tuple[int, ...]) -> None:
    def grow(counts: tuple[int, ...], pool: str) -> tuple[int, ...]:
        return tuple(count + (share.pool == pool) for count, share in zip(counts, mix(*weights).shares, strict=True))

    ours = accumulate(islice(mix(*weights).sequence(), 12), grow, initial=(0,) * len(weights))
    assert all(counts in prefixes_within_one(weights, executors) for executors, counts in enumerate(ours))


@given(weights_of_many, st.integers(0, 3), st.data())
def test_from_any_counts_a_pool_that_has_too_many_gets_none(
    weights: tuple[int, ...], base: int, data: st.DataObject
) -> None:
    """Spark chooses which executors go: what comes next repairs the mix instead of making it worse."""
    given_mix = mix(*weights, base=base)
    seats = {share.pool: data.draw(st.integers(0, 40), label=share.pool) for share in given_mix.shares}
    chosen = given_mix.next_pool(seats)
    if base and seats[given_mix.base_pool] < base:
        assert chosen == given_mix.base_pool
        return
    above = {pool: count - (base if pool == given_mix.base_pool else 0) for pool, count in seats.items()}
    # Pools without a share have no target: the house is what the others share.
    house = 1 + sum(above[share.pool] for share in given_mix.shares if share.weight)
    share = next(s for s in given_mix.shares if s.pool == chosen)
    assert share.weight > 0
    assert above[chosen] * sum(weights) < share.weight * house


@given(weights_of_many, st.lists(st.integers(0, 5), max_size=30), st.integers(0, 40))
def test_a_mix_out_of_balance_is_right_again_once_enough_have_come(
    weights: tuple[int, ...], gone: list[int], executors: int
) -> None:
    given_mix = mix(*weights)
    seats = Counter(given_mix.seats(executors))
    for number in gone:
        pool = given_mix.shares[number % len(weights)].pool
        seats[pool] = max(0, seats[pool] - 1)
    for _ in range(400 * len(weights)):
        seats[given_mix.next_pool(seats)] += 1
        if _within_one(given_mix, seats):
            break
    assert _within_one(given_mix, seats)


def _within_one(given_mix: Mix, seats: Mapping[str, int]) -> bool:
    total, house = sum(s.weight for s in given_mix.shares), sum(seats.values())
    return all(abs(seats[s.pool] * total - s.weight * house) < total for s in given_mix.shares)


# -- weights


@given(st.dictionaries(st.sampled_from("abcdef"), st.fractions(0, 100), min_size=1).filter(lambda d: any(d.values())))
def test_weights_are_the_smallest_whole_numbers_of_the_same_ratio(shares: dict[str, Fraction]) -> None:
    weights = whole_weights(shares)
    assert math.gcd(*weights.values()) == 1
    scale = sum(shares.values()) / sum(weights.values())
    assert {pool: weight * scale for pool, weight in weights.items()} == shares


@given(
    st.dictionaries(st.sampled_from("abc"), st.fractions(0, 100), min_size=1).filter(lambda d: any(d.values())),
    st.fractions(Fraction(1, 1000), 1000),
)
def test_weights_do_not_depend_on_the_scale(shares: dict[str, Fraction], scale: Fraction) -> None:
    assert whole_weights({pool: share * scale for pool, share in shares.items()}) == whole_weights(shares)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        pytest.param({SPOT: Fraction(-1), ON_DEMAND: Fraction(2)}, "ratio of pool 'spot' is -1", id="negative"),
        pytest.param({SPOT: Fraction(0), ON_DEMAND: Fraction(0)}, "at least one pool", id="all-zero"),
    ],
)
def test_what_describes_no_mix_is_refused(shares: dict[str, Fraction], message: str) -> None:
    with pytest.raises(InvalidMixError, match=message):
        whole_weights(shares)
