"""What a fleet is asked to be. Holds no secret, so it may travel in trigger arguments, annotations and logs."""

from __future__ import annotations

from msgspec import Struct

from airflow_provider_spotmix.core.cost import Prices
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import CapacityType, Pool


class ApplicationSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One application of a fleet.

    Attributes:
        name: name of its object in the cluster.
        executors: executors it starts with.
        dynamic: whether Spark may change their number (``spark.dynamicAllocation.enabled``).
        cores: that each executor requests.
        memory_gib: that each executor requests, Spark's overhead included. Both default to what Spark does.

    """

    name: str
    executors: int
    dynamic: bool = False
    cores: float = 1.0
    memory_gib: float = 1.375


class FleetSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that decides how a fleet is placed and looked after."""

    fleet_id: str
    namespace: str
    applications: tuple[ApplicationSpec, ...]
    mix: Mix
    pools: tuple[Pool, ...]
    policy: Policy = Policy()
    prices: Prices | None = None
    placement: str = "template"
    backend: str = "kubeflow"

    def pool(self, name: str) -> Pool:
        """Return the pool of that name.

        Raises:
            KeyError: the fleet has no such pool.

        """
        for pool in self.pools:
            if pool.name == name:
                return pool
        raise KeyError(
            f"fleet {self.fleet_id} has no pool {name!r}; its pools: {', '.join(p.name for p in self.pools)}"
        )

    def has_pool(self, name: str) -> bool:
        """Whether the fleet has a pool of that name."""
        return any(pool.name == name for pool in self.pools)

    def is_spot(self, name: str) -> bool:
        """Whether a pool of that name is spot capacity; an unknown name is not."""
        return self.has_pool(name) and self.pool(name).is_spot

    @property
    def fallback_pool(self) -> str:
        """The on-demand pool that takes what spot loses."""
        if self.mix.base_pool:
            return self.mix.base_pool
        return next(
            (pool.name for pool in self.pools if pool.capacity_type is CapacityType.ON_DEMAND), self.pools[0].name
        )

    @property
    def executors(self) -> int:
        """Executors that the whole fleet starts with."""
        return sum(application.executors for application in self.applications)
