"""What a fleet is asked to be. Holds no secret, so it may travel in trigger arguments, annotations and logs."""

from __future__ import annotations

from msgspec import Struct

from airflow_provider_spotmix.core.cost import Prices
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import CapacityType, Pool

# Who may look after a fleet: the task's trigger (or its worker), or an agent in the fleet's namespace.
AIRFLOW, AGENT = "airflow", "agent"
CONTROLLERS = (AIRFLOW, AGENT)


class ApplicationSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One application of a fleet.

    Attributes:
        name: name of its object in the cluster.
        executors: executors it starts with.
        dynamic: whether Spark may change their number (``spark.dynamicAllocation.enabled``).
        cores: that each executor requests.
        memory_gib: that each executor requests, Spark's overhead included. Both default to what Spark does.
        pool: the pool that all its executors are born on; empty when the controller places each of them.
        group: what a person calls its part of the work; empty when the fleet is one application.
        replaces: the application that it takes the place of, if that one is lost; empty for a group's first attempt.

    """

    name: str
    executors: int
    dynamic: bool = False
    cores: float = 1.0
    memory_gib: float = 1.375
    pool: str = ""
    group: str = ""
    replaces: str = ""


class FleetSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that decides how a fleet is placed and looked after.

    ``applications`` has every object that may ever be this fleet's: also the second attempts, which exist only if they
    are needed. ``quorum``: how many groups have to succeed; 0 for all of them. ``identity``: of the try that looks
    after it, as it is written on its applications; empty matches any. ``controller``: who looks after it, one of
    `CONTROLLERS`.
    """

    fleet_id: str
    namespace: str
    applications: tuple[ApplicationSpec, ...]
    mix: Mix
    pools: tuple[Pool, ...]
    policy: Policy = Policy()
    prices: Prices | None = None
    placement: str = "template"
    backend: str = "kubeflow"
    quorum: int = 0
    identity: str = ""
    controller: str = AIRFLOW

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
    def first_attempts(self) -> tuple[ApplicationSpec, ...]:
        """What is submitted at first: one application per group, or the only one."""
        return tuple(application for application in self.applications if not application.replaces)

    @property
    def second_attempts(self) -> tuple[ApplicationSpec, ...]:
        """What takes the place of a lost group's first attempt."""
        return tuple(application for application in self.applications if application.replaces)

    @property
    def executors(self) -> int:
        """Executors that the whole fleet starts with."""
        return sum(application.executors for application in self.first_attempts)

    @property
    def target(self) -> dict[str, int]:
        """Seats by pool for the executors that the fleet starts with."""
        target: dict[str, int] = {}
        for application in self.first_attempts:
            for pool, count in self.seats(application).items():
                target[pool] = target.get(pool, 0) + count
        return target

    def seats(self, application: ApplicationSpec) -> dict[str, int]:
        """Seats by pool for the executors that one application starts with."""
        if application.pool:
            return {application.pool: application.executors}
        return self.mix.seats(application.executors)
