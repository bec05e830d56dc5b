"""What a backend must know about its custom resource. Pure: rendering and reading, no calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.resources import Resource
from airflow_provider_spotmix.manifests.executor_request import ExecutorRequest
from airflow_provider_spotmix.manifests.overlay import Overlay
from airflow_provider_spotmix.manifests.part import ExecutorCount, Part


class Status(Struct, frozen=True):
    """An application's state, read from its object.

    ``state`` is the backend's own word for it. ``started``: its driver has begun to run, now or in an earlier attempt;
    ``restarted``: there was an earlier one.
    """

    phase: ApplicationPhase
    state: str
    message: str
    driver_pod: str
    started: bool
    restarted: bool = False


class Backend(Protocol):
    """A custom resource that runs Spark applications."""

    name: str
    resource: Resource[Raw]
    # What it means when an Event of such a reason is the last one about an application that is gone.
    endings: Mapping[str, ApplicationPhase]

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Raise `InvalidInputError` when the manifest cannot be placed; name the field, the value and the remedy."""

    def check_selectors(self, manifest: Mapping[str, Any], pools: Sequence[Pool]) -> None:
        """Raise `InvalidInputError` when the manifest selects nodes by what tells the pools apart."""

    def executor_count(self, manifest: Mapping[str, Any]) -> ExecutorCount:
        """Read how many executors the manifest asks for."""

    def executor_request(self, manifest: Mapping[str, Any]) -> ExecutorRequest:
        """Read what each executor requests; raise `InvalidInputError` when that cannot be read."""

    def properties(self, manifest: Mapping[str, Any]) -> dict[str, str]:
        """Read the Spark properties that the manifest sets."""

    def spark_version(self, manifest: Mapping[str, Any]) -> str:
        """Read which Spark the manifest says it runs; empty when it does not say."""

    def part(self, manifest: Mapping[str, Any], part: Part) -> dict[str, Any]:
        """Return one group's part of the manifest.

        Raises:
            InvalidInputError: the manifest has what several applications cannot have at once, or the part what it may
                not change.

        """

    def render(self, manifest: Mapping[str, Any], overlay: Overlay) -> dict[str, Any]:
        """Return the manifest with the overlay; everything that the person wrote is kept."""

    def warnings(self, manifest: Mapping[str, Any]) -> list[str]:
        """What works, and may surprise: one sentence each, with the remedy."""

    def moved(self, application: Raw, *, name: str, from_pool: Pool, to_pool: Pool) -> dict[str, Any]:
        """Return the second attempt of a live first one: on another pool, its driver gated."""

    def status(self, application: Raw) -> Status:
        """Read the state of a live object."""
