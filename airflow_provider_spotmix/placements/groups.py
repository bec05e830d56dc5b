"""Placement ``groups``: one application per group, whose executors are all born on the group's pool.

For work that shards: each group has a driver of its own and does its part. Nothing has to be placed, so it works where
scheduling gates do not; the mix is exact in whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, islice

from msgspec.structs import replace

from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.errors import InvalidInputError, shown
from airflow_provider_spotmix.core.mix import Mix, Share
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.manifests.part import ExecutorCount, Part
from airflow_provider_spotmix.placements.base import Draft, Group, Groups, JsonPatch


class SeparateGroups:
    """Several applications, each on a pool of its own."""

    name = "groups"

    def drafts(self, count: ExecutorCount, mix: Mix, groups: Groups) -> tuple[Draft, ...]:
        """One application per group, with its share of the executors: at least one, all of them together.

        Raises:
            InvalidInputError: Spark may change the number of executors, or there are fewer of them than groups.

        """
        if count.dynamic:
            raise InvalidInputError(
                "dynamic allocation is enabled, but groups share a fixed number of executors; set"
                " spec.executor.instances and disable dynamic allocation, or set placement='template'"
            )
        total = count.initial
        if groups is None:
            return _drafts([(Group(name=pool, pool=pool), n) for pool, n in mix.seats(total).items() if n], total)
        if isinstance(groups, int):
            return _drafts(equal(groups, total, mix), total)
        sizes = apportioned([group.weight for group in groups], total)
        for group, size in zip(groups, sizes, strict=True):
            if not size:
                raise InvalidInputError(
                    f"groups: {shown(group.name)} gets none of the {total} executors with share {group.weight} of"
                    f" {sum(each.weight for each in groups)}; raise its share or spec.executor.instances"
                )
        return _drafts(list(zip(groups, sizes, strict=True)), total)

    def patch(self, pod: Pod, place: Place, pool: Pool) -> JsonPatch:
        """Nothing: executors are where they belong from the beginning."""
        return []


def equal(number: int, executors: int, mix: Mix) -> list[tuple[Group, int]]:
    """That many groups of equal size (the first ones have one executor more), pools by the mix's own rule.

    The base, a number of executors, takes the first groups until they cover it.

    Raises:
        InvalidInputError: there are fewer executors than groups, or no groups.

    """
    if number < 1:
        raise InvalidInputError(f"groups is {number}; give 1 or more")
    if number > executors:
        raise InvalidInputError(
            f"groups is {number}, but there are {executors} executors; give each group one: set"
            " spec.executor.instances higher or groups lower"
        )
    sizes = [executors // number + (index < executors % number) for index in range(number)]
    covered = sum(before < mix.on_demand_base for before in accumulate(sizes[:-1], initial=0))
    pools = islice(replace(mix, on_demand_base=covered).sequence(), number)
    return [
        (Group(name=f"group-{i}", pool=pool), size) for i, (pool, size) in enumerate(zip(pools, sizes, strict=True))
    ]


def apportioned(weights: Sequence[int], executors: int) -> list[int]:
    """Executors of each group, by weight: they add up, and none is a whole one off its exact share."""
    shares = tuple(Share(pool=str(n), weight=weight, on_demand=False) for n, weight in enumerate(weights))
    return list(Mix(shares=shares).seats(executors).values())


def _drafts(groups: Sequence[tuple[Group, int]], total: int) -> tuple[Draft, ...]:
    return tuple(
        Draft(
            suffix=f"-{index}",
            pool=group.pool,
            part=Part(
                index=index,
                count=len(groups),
                name=group.name,
                executors=executors,
                total=total,
                node_selector=group.node_selector,
                tolerations=group.tolerations,
                driver=group.driver,
                executor=group.executor,
                arguments=group.arguments,
            ),
        )
        for index, (group, executors) in enumerate(groups)
    )
