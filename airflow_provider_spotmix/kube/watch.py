"""Follow a collection for as long as one wants: LIST, then WATCH, and again, whatever breaks in between.

The stream of a :class:`Reflector` is a complete account: applying its items in order to an empty cache gives the
collection's state, except between :class:`Disconnected` and :class:`Connected`, when it may lag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.errors import KubeError
    from airflow_provider_spotmix.kube.resources import Resource

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Synced(Generic[T]):
    """The whole collection as of now: forget what you knew. Objects that vanished unseen are simply absent."""

    objects: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class Changed(Generic[T]):
    """One object was added, modified or deleted (then ``object`` is its last state)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: T


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Since ``since`` (seconds since the epoch) changes may go unseen, because of ``error``. We keep trying."""

    since: float
    error: KubeError


@dataclass(frozen=True, slots=True)
class Connected:
    """Changes are seen again. What happened meanwhile follows, as changes or as a new :class:`Synced`."""

    at: float


Item: TypeAlias = Synced[T] | Changed[T] | Disconnected | Connected


class Reflector(Generic[T]):
    """Mirror one collection.

    Use: ``async for item in Reflector(kube, PODS, "spark", label_selector="spotmix.io/fleet").stream()``.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> None:
        raise NotImplementedError

    def stream(self) -> AsyncIterator[Item[T]]:
        """Yield items for ever.

        Raises what the first LIST is refused with (:class:`~.errors.Forbidden`, :class:`~.errors.NotFound` when the
        kind is not served, :class:`~.errors.Unauthorized`); later refusals are :class:`Disconnected` until they have
        lasted for ``refusal_seconds``.
        """
        raise NotImplementedError
