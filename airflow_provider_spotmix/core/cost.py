"""What a fleet's executors cost, and what they would have cost on on-demand. Exact decimal arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from airflow_provider_spotmix.core.spec import FleetSpec
    from airflow_provider_spotmix.core.state import Account

_SECONDS_PER_HOUR = 3600
_SHOWN = Decimal("0.0001")


class Price(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a pool's nodes cost per hour of use. The three parts add up; most people need the first two, or the last.

    Attributes:
        core_hour: of one core that an executor requests.
        gib_hour: of one GiB of memory that it requests, Spark's overhead included.
        executor_hour: of one executor, whatever it requests: where whole nodes are paid for, the price of a node by
            the executors that fit on it.

    """

    core_hour: Decimal = Decimal(0)
    gib_hour: Decimal = Decimal(0)
    executor_hour: Decimal = Decimal(0)

    def of(self, account: Account) -> Decimal:
        """Return the cost of a pool's executors."""
        seconds = (
            self.core_hour * Decimal(str(account.core_seconds))
            + self.gib_hour * Decimal(str(account.gib_seconds))
            + self.executor_hour * Decimal(str(account.seconds))
        )
        return (seconds / _SECONDS_PER_HOUR).quantize(_SHOWN, ROUND_HALF_UP)


class Prices(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Prices by pool, all in one currency (a code of ISO 4217)."""

    by_pool: dict[str, Price]
    currency: str = "USD"


class Costs(Struct, frozen=True, kw_only=True):
    """Costs of executors whose accounts are closed; the driver is not among them.

    Attributes:
        currency: of all amounts.
        by_pool: what was spent, by placed pool.
        total: what was spent.
        all_on_demand: what the same executor time would have cost had spot pools had the fallback pool's price.
        saved: the difference.
        estimated: some executor's time was not seen to its end.

    """

    currency: str
    by_pool: dict[str, Decimal]
    total: Decimal
    all_on_demand: Decimal
    saved: Decimal
    estimated: bool

    def __str__(self) -> str:
        spent = ", ".join(f"{pool} {amount}" for pool, amount in self.by_pool.items())
        about = "about " if self.estimated else ""
        return (
            f"executors cost {about}{self.total} {self.currency} ({spent or 'nothing'}); all on on-demand:"
            f" {self.all_on_demand}, saved: {self.saved}"
        )


def costs(spec: FleetSpec, ledger: Mapping[str, Account]) -> Costs | None:
    """Return what a fleet cost; None without prices of all its pools."""
    if spec.prices is None or any(pool.name not in spec.prices.by_pool for pool in spec.pools):
        return None
    prices = spec.prices.by_pool
    # A pool that somebody else wrote into a pod's label has no price: it is taken for the fallback pool.
    priced = {pool: prices.get(pool, prices[spec.fallback_pool]) for pool in sorted(ledger)}
    spent = {pool: price.of(ledger[pool]) for pool, price in priced.items()}
    on_demand = [
        (prices[spec.fallback_pool] if spec.is_spot(pool) else price).of(ledger[pool]) for pool, price in priced.items()
    ]
    total, all_on_demand = sum(spent.values(), Decimal(0)), sum(on_demand, Decimal(0))
    return Costs(
        currency=spec.prices.currency,
        by_pool=spent,
        total=total,
        all_on_demand=all_on_demand,
        saved=all_on_demand - total,
        estimated=any(account.estimated for account in ledger.values()),
    )
