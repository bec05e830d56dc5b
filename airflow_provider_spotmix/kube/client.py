"""Call a Kubernetes API server: the ``Kube`` protocol that the rest of the program sees, and its implementation.

Errors are those of :mod:`airflow_provider_spotmix.kube.errors`, nothing else. Ordinary calls have time limits and are
retried only where a repetition cannot do harm:

- always: when it is certain that the server did nothing (no connection, or 429 with Retry-After);
- get, list, delete, merge and strategic patches, access reviews: also after transport errors and 5xx. A delete
  repeated after it took effect ends in :class:`~.errors.NotFound`, which callers take for success;
- create, JSON patch and a patch that demands a resourceVersion (their own first success makes a repetition fail): never
  otherwise. After :class:`~.errors.ApiUnavailable` or :class:`~.errors.ServerError` the caller looks whether the call
  took effect.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from airflow_provider_spotmix.kube.access import Rules
    from airflow_provider_spotmix.kube.resources import Resource

T = TypeVar("T")

ChangeType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
PropagationPolicy = Literal["Orphan", "Background", "Foreground"]


class PatchType(enum.Enum):
    """How the body of a patch is to be read; the value is its content type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """All objects of a collection at one ``resource_version``, from which a watch continues without a gap."""

    items: tuple[T, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """One line of a watch. A BOOKMARK's object holds nothing but the new ``resource_version``."""

    type: ChangeType
    object: T
    resource_version: str


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """The API server's version. ``minor`` has lost any suffix such as the ``+`` of some vendors."""

    major: int
    minor: int
    git_version: str

    def at_least(self, major: int, minor: int) -> bool:
        """Tell whether the server is of this version or newer."""
        return (self.major, self.minor) >= (major, minor)


class Kube(Protocol):
    """One API server, seen with one set of credentials.

    ``namespace`` may be ``None`` only for cluster-scoped kinds and to list or watch all namespaces.
    Selectors are in the API's own syntax (``a=b,c in (d,e),f``).
    """

    @property
    def identity(self) -> str:
        """Key of (API server, credentials): see :meth:`ClusterConfig.identity`."""

    def now(self) -> float:
        """Return the API server's time in seconds since the epoch, as its answers tell it; ours before the first."""

    async def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        """Read one object."""

    async def list(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        page_size: int = 500,
    ) -> Listing[T]:
        """Read a whole collection, page by page."""

    async def create(self, resource: Resource[T], body: Mapping[str, Any], namespace: str | None = None) -> T:
        """Create an object from JSON; ``apiVersion`` and ``kind`` are filled in when absent.

        A field that the server does not know is refused, not dropped.
        """

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str | None = None,
        *,
        kind: PatchType = PatchType.MERGE,
        subresource: str | None = None,
    ) -> T:
        """Patch an object (or its ``subresource``, such as ``status``) and return it as it is now.

        A ``metadata.resourceVersion`` inside a merge patch is a precondition (409 Conflict), and so is a
        ``metadata.uid`` (422 Invalid).
        """

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: PropagationPolicy | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Ask for deletion; ``uid`` and ``resource_version`` are preconditions (409 Conflict when they do not hold)."""

    async def log(
        self,
        name: str,
        namespace: str,
        *,
        container: str | None = None,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
        since_time: str | None = None,
        timestamps: bool = False,
        previous: bool = False,
    ) -> str:
        """Read the log of a pod's container, bounded by ``tail_lines`` and ``limit_bytes``.

        ``since_time`` (RFC 3339) leaves out what is older, whole seconds at a time. With ``timestamps`` each line
        begins with its time and a space.
        """

    def watch(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent[T]]]:
        """Watch a collection from ``resource_version`` on: ``async with kube.watch(...) as events``.

        The context is entered once the server has accepted the watch. The iterator ends when the server ends the watch
        (it does so after ``Limits.watch_seconds``); resume from the last event's ``resource_version``. Raises
        :class:`~.errors.Gone` when that version is too old, :class:`~.errors.ApiUnavailable` when the connection breaks
        or falls silent.
        """

    async def server_version(self) -> ServerVersion:
        """Ask for the API server's version."""

    async def serves(self, resource: Resource[Any]) -> bool:
        """Ask whether the API server serves that kind, in that version."""

    async def rules(self, namespace: str) -> Rules:
        """Ask for everything that our credentials permit in a namespace (SelfSubjectRulesReview)."""

    async def can_i(
        self,
        verb: str,
        resource: Resource[Any],
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        name: str | None = None,
    ) -> bool:
        """Ask whether our credentials permit a call (SelfSubjectAccessReview)."""

    async def close(self) -> None:
        """Close the connections. Idempotent."""


class Cluster(Protocol):
    """Where to find an API server, as the hub needs it: a :class:`~.config.ClusterConfig`, or anything like it."""

    def identity(self) -> str:
        """Return a key that is equal for the same (API server, credentials); it holds no secret."""

    async def connect(self) -> Kube:
        """Return a new client, which the caller closes."""
