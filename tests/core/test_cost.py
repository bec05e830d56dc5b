"""Costs: exact, and what is shown adds up."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airflow_provider_spotmix.core.cost import Amounts, Costs, Price, Prices, costs
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import Account
from tests.core.vocabulary import ON_DEMAND, SPOT, account, fleet

PRICES = Prices(
    by_pool={
        SPOT: Price(core_hour=Decimal("0.012"), gib_hour=Decimal("0.0016")),
        ON_DEMAND: Price(core_hour=Decimal("0.040"), gib_hour=Decimal("0.0050")),
    },
    currency="EUR",
)
PER_EXECUTOR = Prices(
    by_pool={SPOT: Price(executor_hour=Decimal("0.1")), ON_DEMAND: Price(executor_hour=Decimal("0.25"))}
)


def priced(prices: Prices | None) -> FleetSpec:
    return replace(fleet(), prices=prices)


def test_by_what_executors_request() -> None:
    ledger = {SPOT: account(2, 7200), ON_DEMAND: account(3, 10_800)}
    assert costs(priced(PRICES), ledger) == Costs(
        currency="EUR",
        # 2 h * (0.012 + 1.375 * 0.0016) and 3 h * (0.04 + 1.375 * 0.005)
        by_pool={ON_DEMAND: Decimal("0.1406"), SPOT: Decimal("0.0284")},
        total=Decimal("0.1690"),
        all_on_demand=Decimal("0.2344"),
        saved=Decimal("0.0654"),
        estimated=False,
    )


def test_by_executor() -> None:
    found = costs(priced(PER_EXECUTOR), {SPOT: account(1, 1800)})
    assert found == Costs(
        currency="USD",
        by_pool={SPOT: Decimal("0.0500")},
        total=Decimal("0.0500"),
        all_on_demand=Decimal("0.1250"),
        saved=Decimal("0.0750"),
        estimated=False,
    )
    assert str(found) == "executors cost 0.0500 USD (spot 0.0500); all on on-demand: 0.1250, saved: 0.0750"


@pytest.mark.parametrize(
    ("cores", "gib", "cost"),
    [
        pytest.param("4", "55", "0.2500", id="cores-are-scarce"),
        pytest.param("40", "5.5", "0.2500", id="memory-is-scarce"),
        pytest.param("1", "1.375", "1.0000", id="one-executor-is-the-node"),
    ],
)
def test_by_the_larger_share_of_a_node(cores: str, gib: str, cost: str) -> None:
    price = Price(instance_hour=Decimal(1), instance_cores=Decimal(cores), instance_gib=Decimal(gib))
    assert price.of(account(1, 3600)) == Decimal(cost)


@pytest.mark.parametrize(
    ("spot", "at_least", "told"),
    [
        pytest.param(
            account(2, 3600, estimated=True, unseen=1800),
            Amounts(
                by_pool={SPOT: Decimal("0.0500")},
                total=Decimal("0.0500"),
                all_on_demand=Decimal("0.1250"),
                saved=Decimal("0.0750"),
            ),
            "executors cost between 0.0500 and 0.1000 USD (spot 0.1000); all on on-demand: between 0.1250 and 0.2500,"
            " saved: between 0.0750 and 0.1500",
            id="one-went-unseen",
        ),
        pytest.param(
            account(1, 3600, estimated=True, incomplete=True),
            Amounts(
                by_pool={SPOT: Decimal("0.1000")},
                total=Decimal("0.1000"),
                all_on_demand=Decimal("0.2500"),
                saved=Decimal("0.1500"),
            ),
            "executors cost at least 0.1000 USD (spot 0.1000); all on on-demand: at least 0.2500, saved: at least"
            " 0.1500",
            id="nobody-knows-who-there-was",
        ),
    ],
)
def test_what_is_not_known_has_bounds(spot: Account, at_least: Amounts, told: str) -> None:
    found = costs(priced(PER_EXECUTOR), {SPOT: spot})
    assert found
    assert (found.total, found.estimated, found.incomplete) == (Decimal("0.1000"), True, spot.incomplete)
    assert found.at_least == at_least
    assert str(found) == told


def test_a_fleet_without_executors_costs_nothing() -> None:
    assert str(costs(priced(PRICES), {})) == "executors cost 0 EUR (nothing); all on on-demand: 0, saved: 0"


def test_a_pool_that_somebody_invented_is_taken_for_on_demand() -> None:
    found = costs(priced(PER_EXECUTOR), {"gold": account(1, 3600)})
    assert found
    assert (found.total, found.saved) == (Decimal("0.2500"), Decimal(0))


@pytest.mark.parametrize(
    "prices",
    [
        pytest.param(None, id="no-prices"),
        pytest.param(Prices(by_pool={SPOT: Price(executor_hour=Decimal(1))}), id="not-of-every-pool"),
    ],
)
def test_without_prices_there_are_no_costs(prices: Prices | None) -> None:
    assert costs(priced(prices), {SPOT: account(1, 3600)}) is None


amounts = st.decimals(0, 1_000_000, places=6)
sizes = st.decimals(Decimal("0.001"), 1000, places=3)
prices_of_a_pool = st.builds(
    Price,
    core_hour=amounts,
    gib_hour=amounts,
    executor_hour=amounts,
    instance_hour=amounts,
    instance_cores=sizes,
    instance_gib=sizes,
)
seconds = st.floats(0, 1e9)
requests = st.tuples(seconds, st.floats(0, 1), st.booleans()).map(
    lambda drawn: Account(
        executors=1,
        seconds=drawn[0],
        unseen_seconds=drawn[0] * drawn[1] if drawn[2] else 0,
        core_seconds=drawn[0],
        gib_seconds=drawn[0] * 1.375,
        estimated=drawn[2],
    )
)


@given(prices_of_a_pool, prices_of_a_pool, requests, requests)
def test_what_is_shown_adds_up(spot: Price, on_demand: Price, on_spot: Account, on_on_demand: Account) -> None:
    spec = priced(Prices(by_pool={SPOT: spot, ON_DEMAND: on_demand}))
    found = costs(spec, {SPOT: on_spot, ON_DEMAND: on_on_demand})
    assert found is not None
    assert found.all_on_demand == on_demand.of(on_spot) + found.by_pool[ON_DEMAND]
    for each in (found, found.at_least or found):
        assert each.total == sum(each.by_pool.values())
        assert each.saved == each.all_on_demand - each.total
        assert all(-amount.as_tuple().exponent == 4 for amount in each.by_pool.values())  # type: ignore[operator]
    assert (found.at_least is not None) == found.estimated
    if found.at_least:
        assert found.at_least.total <= found.total
        assert found.at_least.all_on_demand <= found.all_on_demand


@given(prices_of_a_pool, prices_of_a_pool, requests)
def test_spot_saves_just_when_it_is_the_cheaper_one(spot: Price, on_demand: Price, on_spot: Account) -> None:
    found = costs(priced(Prices(by_pool={SPOT: spot, ON_DEMAND: on_demand})), {SPOT: on_spot})
    assert found is not None
    hour = account(1, 3_600_000)  # an hour of a thousand executors, so that rounding tells even prices apart
    if spot.of(hour) <= on_demand.of(hour):
        assert found.saved >= -Decimal("0.0001")
    if spot.of(hour) >= on_demand.of(hour):
        assert found.saved <= Decimal("0.0001")


@given(st.lists(requests, min_size=1, max_size=20), prices_of_a_pool)
def test_parts_of_an_account_cost_what_it_does(parts: list[Account], price: Price) -> None:
    """Alike executors may be counted one by one or together: the difference is what rounding each of them makes."""
    whole = Account(
        executors=len(parts),
        seconds=sum(part.seconds for part in parts),
        core_seconds=sum(part.core_seconds for part in parts),
        gib_seconds=sum(part.gib_seconds for part in parts),
    )
    total = sum((price.of(part) for part in parts), Decimal(0))
    rounding = Decimal("0.00005") * (len(parts) + 1)
    assert abs(price.of(whole) - total) <= rounding + total * Decimal("1e-12")
