"""What a placement decides: what is submitted, and how an executor is put where the controller wants it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from airflow_provider_spotmix.core.actions import Place
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.kube.objects import Pod

JsonPatch = list[dict[str, Any]]


class Draft(Struct, frozen=True, kw_only=True):
    """One application to submit.

    Attributes:
        manifest: the person's manifest, changed only where this placement splits it (its share of the executors).
        suffix: appended to the fleet's base name; empty when there is only one application.
        executor_gates: scheduling gates for every executor.

    """

    manifest: Mapping[str, Any]
    suffix: str = ""
    executor_gates: tuple[str, ...] = ()


class Placement(Protocol):
    """A way to enforce the mix."""

    name: str

    def drafts(self, manifest: Mapping[str, Any]) -> tuple[Draft, ...]:
        """Split a person's manifest into the applications to submit."""

    def patch(self, pod: Pod, place: Place, pool: Pool) -> JsonPatch:
        """Build the one patch that puts a waiting executor on a pool."""
