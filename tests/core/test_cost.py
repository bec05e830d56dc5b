"""Costs: exact, and what is shown adds up."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from airflow_provider_spotmix.core.cost import Costs, Price, Prices, costs
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
PER_NODE = Prices(by_pool={SPOT: Price(executor_hour=Decimal("0.1")), ON_DEMAND: Price(executor_hour=Decimal("0.25"))})


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


def test_by_executor_where_whole_nodes_are_paid_for() -> None:
    found = costs(priced(PER_NODE), {SPOT: account(1, 1800, estimated=True)})
    assert found == Costs(
        currency="USD",
        by_pool={SPOT: Decimal("0.0500")},
        total=Decimal("0.0500"),
        all_on_demand=Decimal("0.1250"),
        saved=Decimal("0.0750"),
        estimated=True,
    )
    assert str(found) == "executors cost about 0.0500 USD (spot 0.0500); all on on-demand: 0.1250, saved: 0.0750"


def test_a_fleet_without_executors_costs_nothing() -> None:
    assert str(costs(priced(PRICES), {})) == "executors cost 0 EUR (nothing); all on on-demand: 0, saved: 0"


def test_a_pool_that_somebody_invented_is_taken_for_on_demand() -> None:
    found = costs(priced(PER_NODE), {"gold": account(1, 3600)})
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
prices_of_a_pool = st.builds(Price, core_hour=amounts, gib_hour=amounts, executor_hour=amounts)
seconds = st.floats(0, 1e9)
accounts = st.builds(Account, seconds=seconds, core_seconds=seconds, gib_seconds=seconds)


@given(prices_of_a_pool, prices_of_a_pool, accounts, accounts)
def test_what_is_shown_adds_up(spot: Price, on_demand: Price, on_spot: Account, on_on_demand: Account) -> None:
    spec = priced(Prices(by_pool={SPOT: spot, ON_DEMAND: on_demand}))
    found = costs(spec, {SPOT: on_spot, ON_DEMAND: on_on_demand})
    assert found is not None
    assert found.total == sum(found.by_pool.values())
    assert found.saved == found.all_on_demand - found.total
    assert found.all_on_demand == on_demand.of(on_spot) + found.by_pool[ON_DEMAND]
