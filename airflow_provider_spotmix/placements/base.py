"""What a placement decides: what is submitted, and how an executor is put where the controller wants it. Pure."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.manifests.part import ExecutorCount, Part

JsonPatch = list[dict[str, Any]]


class Draft(Struct, frozen=True, kw_only=True):
    """One application to submit.

    Attributes:
        suffix: appended to the fleet's base name; empty when there is only one application.
        executor_gates: scheduling gates for every executor.
        pool: the pool that every executor is born on; empty when the controller places each of them.
        part: which part of the person's application it is; None for all of it.

    """

    suffix: str = ""
    executor_gates: tuple[str, ...] = ()
    pool: str = ""
    part: Part | None = None


class Group(Struct, frozen=True, kw_only=True):
    """A group as a person asks for it. ``weight``: its share of the executors, in relation to those of the others."""

    name: str
    pool: str
    weight: int = 1
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    driver: dict[str, Any] = {}
    executor: dict[str, Any] = {}
    arguments: tuple[str, ...] | None = None


# None: as the placement does by itself; a number of groups; or each of them.
Groups = int | tuple[Group, ...] | None


class Placement(Protocol):
    """A way to enforce the mix."""

    name: str

    def drafts(self, count: ExecutorCount, mix: Mix, groups: Groups) -> tuple[Draft, ...]:
        """Split a person's application into those to submit.

        Raises:
            InvalidInputError: it cannot be split like this; nothing else is wrong with it.

        """

    def patch(self, pod: Pod, place: Place, pool: Pool) -> JsonPatch:
        """Build the one patch that puts a waiting executor on a pool."""
