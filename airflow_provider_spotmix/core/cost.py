"""What a fleet's executors cost, and what they would have cost on on-demand. Exact decimal arithmetic.

An amount is rounded once, half up, to four decimals: what a pool cost. Whatever is a sum is the sum of rounded amounts,
so that what is shown adds up.
"""

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
    """What a pool's nodes cost per hour of use. The parts add up; most people need the first two, or the last three.

    Attributes:
        core_hour: of one core that an executor requests.
        gib_hour: of one GiB of memory that it requests, Spark's overhead included.
        executor_hour: of one executor, whatever it requests.
        instance_hour: of one whole node, of which executors take the larger of two shares: of its cores, of its memory.
        instance_cores: that such a node has for executors; needed for ``instance_hour``.
        instance_gib: of memory that it has for them; needed for ``instance_hour``.

    """

    core_hour: Decimal = Decimal(0)
    gib_hour: Decimal = Decimal(0)
    executor_hour: Decimal = Decimal(0)
    instance_hour: Decimal = Decimal(0)
    instance_cores: Decimal = Decimal(0)
    instance_gib: Decimal = Decimal(0)

    def of(self, account: Account) -> Decimal:
        """Return the cost of a pool's executors, rounded."""
        cores, memory = Decimal(str(account.core_seconds)), Decimal(str(account.gib_seconds))
        seconds = (
            self.core_hour * cores
            + self.gib_hour * memory
            + self.executor_hour * Decimal(str(account.seconds))
            + self.instance_hour * self._instance_seconds(cores, memory)
        )
        return (seconds / _SECONDS_PER_HOUR).quantize(_SHOWN, ROUND_HALF_UP)

    def _instance_seconds(self, core_seconds: Decimal, gib_seconds: Decimal) -> Decimal:
        """For how long so much would have taken one whole node.

        What executors leave over of the other resource is of no use to more of them, so it is theirs to pay. Shares are
        those of all executors together: two groups that complement each other on a node are not charged for it twice.
        """
        if not self.instance_hour:
            return Decimal(0)
        return max(core_seconds / self.instance_cores, gib_seconds / self.instance_gib)


class Prices(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Prices by pool, all in one currency (a code of ISO 4217)."""

    by_pool: dict[str, Price]
    currency: str = "USD"


class Amounts(Struct, frozen=True, kw_only=True):
    """What was spent by placed pool and in all, what it would have been on on-demand, and the difference."""

    by_pool: dict[str, Decimal]
    total: Decimal
    all_on_demand: Decimal
    saved: Decimal


class Costs(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Costs of executors; the driver is not among them.

    Attributes:
        currency: of all amounts.
        by_pool: what was spent, by placed pool.
        total: what was spent.
        all_on_demand: what the same executor time would have cost had spot pools had the fallback pool's price.
        saved: the difference. Negative where spot was the dearer one.
        estimated: some executor's time was not seen to its end; it counts until it was missed.
        incomplete: there may have been executors of which nobody knows: it may have been more.
        at_least: where it is estimated, the same without the time that nobody saw.

    """

    currency: str
    by_pool: dict[str, Decimal]
    total: Decimal
    all_on_demand: Decimal
    saved: Decimal
    estimated: bool
    incomplete: bool = False
    at_least: Amounts | None = None

    def __str__(self) -> str:
        spent = ", ".join(f"{pool} {amount}" for pool, amount in self.by_pool.items())
        least = self.at_least or self
        return (
            f"executors cost {self._between(least.total, self.total)} {self.currency} ({spent or 'nothing'}); all on"
            f" on-demand: {self._between(least.all_on_demand, self.all_on_demand)}, saved:"
            f" {self._between(least.saved, self.saved)}"
        )

    def _between(self, least: Decimal, most: Decimal) -> str:
        """Bounds where there are some: with executors that nobody knows of there is no upper one."""
        if self.incomplete:
            return f"at least {min(least, most)}"
        if least != most:
            return f"between {min(least, most)} and {max(least, most)}"
        return f"about {most}" if self.estimated else str(most)


def costs(spec: FleetSpec, ledger: Mapping[str, Account]) -> Costs | None:
    """Return what a fleet cost, or has cost so far; None without prices of all its pools.

    Args:
        spec: with the prices that were fixed when it was submitted.
        ledger: accounts by placed pool: closed ones, or those of `ledger.so_far`.

    """
    if spec.prices is None or any(pool.name not in spec.prices.by_pool for pool in spec.pools):
        return None
    estimated = any(account.estimated for account in ledger.values())
    most = _amounts(spec, spec.prices, ledger)
    least = {pool: account.at_least(spec) for pool, account in ledger.items()} if estimated else {}
    return Costs(
        currency=spec.prices.currency,
        by_pool=most.by_pool,
        total=most.total,
        all_on_demand=most.all_on_demand,
        saved=most.saved,
        estimated=estimated,
        incomplete=any(account.incomplete for account in ledger.values()),
        at_least=_amounts(spec, spec.prices, least) if estimated else None,
    )


def _amounts(spec: FleetSpec, prices: Prices, ledger: Mapping[str, Account]) -> Amounts:
    on_demand = prices.by_pool[spec.fallback_pool]
    # A pool that somebody else wrote into a pod's label has no price: it is taken for the fallback pool.
    priced = {pool: prices.by_pool.get(pool, on_demand) for pool in sorted(ledger)}
    spent = {pool: price.of(ledger[pool]) for pool, price in priced.items()}
    instead = [(on_demand if spec.is_spot(pool) else price).of(ledger[pool]) for pool, price in priced.items()]
    total, all_on_demand = sum(spent.values(), Decimal(0)), sum(instead, Decimal(0))
    return Amounts(by_pool=spent, total=total, all_on_demand=all_on_demand, saved=all_on_demand - total)
