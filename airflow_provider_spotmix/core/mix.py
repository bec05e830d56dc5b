"""The mix: which pool the next executor's seat belongs to. Pure integer arithmetic.

Seats are apportioned one at a time by Tijdeman's rule for the chairman assignment problem (R. Tijdeman, Discrete
Mathematics 32, 1980). For two pools it is Webster's (Sainte-Lague's) method; for more it keeps what Webster's loses
from four pools on: **every** prefix is within one executor of every pool's target. See docs/adr/0002.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction

from msgspec import Struct

from airflow_provider_spotmix.core.errors import InvalidMixError


class Share(Struct, frozen=True, kw_only=True):
    """One pool's part of the executors above the base."""

    pool: str
    weight: int
    on_demand: bool


class Mix(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The ratio between pools, plus a number of executors that are always on-demand.

    ``weights`` are whole numbers in any scale (40:60 and 2:3 are the same mix). ``on_demand_base`` executors are seated
    on ``base_pool`` before the ratio applies.
    """

    shares: tuple[Share, ...]
    on_demand_base: int = 0
    base_pool: str = ""

    def next_pool(self, seats: Mapping[str, int]) -> str:
        """Pool of the next seat, given how many seats each pool has now.

        Works from any counts, not only from those of a growing fleet: under dynamic allocation Spark chooses which
        executors go, and the next ones repair the mix.
        """
        base = self.on_demand_base
        if base and seats.get(self.base_pool, 0) < base:
            return self.base_pool
        above = {s.pool: seats.get(s.pool, 0) - (base if s.pool == self.base_pool else 0) for s in self.shares}
        shares = [s for s in self.shares if s.weight > 0]
        total = sum(s.weight for s in shares)
        house = sum(above[s.pool] for s in shares) + 1
        slack = max(2 * len(shares) - 2, 1)
        best: Share | None = None
        best_deadline: tuple[Fraction, bool] | None = None
        for share in shares:
            deficit = house * share.weight - above[share.pool] * total
            if len(shares) > 1 and slack * deficit < total:
                continue
            # The latest house size at which this pool can still get its seat in time; ties go to on-demand.
            deadline = (Fraction((slack - 1) * total - slack * deficit, slack * share.weight), not share.on_demand)
            if best_deadline is None or deadline < best_deadline:
                best, best_deadline = share, deadline
        if best is None:  # pragma: no cover - deficits sum to the total, so one is always due
            raise InvalidMixError(f"no pool of {[s.pool for s in self.shares]} can take a seat")
        return best.pool

    def sequence(self) -> Iterator[str]:
        """Pools of the first, second, third ... seat of a fleet that only grows."""
        seats: dict[str, int] = {}
        while True:
            pool = self.next_pool(seats)
            seats[pool] = seats.get(pool, 0) + 1
            yield pool

    def seats(self, executors: int) -> dict[str, int]:
        """Seats of every pool for a fleet of that many executors, pools in the order of the ratio."""
        seats = dict.fromkeys([s.pool for s in self.shares] + ([self.base_pool] if self.on_demand_base else []), 0)
        for pool, count in self._whole_rounds(executors).items():
            seats[pool] += count
        for _ in range(executors - sum(seats.values())):
            seats[self.next_pool(seats)] += 1
        return seats

    def _whole_rounds(self, executors: int) -> dict[str, int]:
        """Seats up to the last size at which every pool has its exact share: the mix is always within one of it."""
        base = min(executors, self.on_demand_base)
        divisor = math.gcd(*(share.weight for share in self.shares))
        weights = {share.pool: share.weight // divisor for share in self.shares}
        rounds = (executors - base) // sum(weights.values())
        seats = {pool: rounds * weight for pool, weight in weights.items()}
        return {**seats, self.base_pool: seats.get(self.base_pool, 0) + base} if base else seats


def whole_weights(shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Scale exact shares to the smallest whole weights with the same ratio.

    Raises:
        InvalidMixError: a share is negative, or all are zero.

    """
    for pool, share in shares.items():
        if share < 0:
            raise InvalidMixError(f"ratio of pool {pool!r} is {share}; a share is zero or more")
    if not any(shares.values()):
        raise InvalidMixError("all shares of the ratio are zero; give at least one pool a share above zero")
    scale = math.lcm(*(share.denominator for share in shares.values()))
    weights = {pool: int(share * scale) for pool, share in shares.items()}
    divisor = math.gcd(*weights.values())
    return {pool: weight // divisor for pool, weight in weights.items()}
