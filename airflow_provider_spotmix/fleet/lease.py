"""One controller per fleet: every controller process renews one Lease per namespace, and others judge it by that.

The holder judges itself by its own monotonic clock, counted from before each renewal was sent; others judge it by when
*they* last saw the Lease change. Clocks of different machines are never compared, so skew cannot make two holders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from airflow_provider_spotmix.fleet.hub import Hub
    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.config import ClusterConfig

DURATION_SECONDS = 6.0
RENEW_SECONDS = 2.0


def new_controller_id() -> str:
    """Draw the id of a controller process: host, pid and chance; a DNS label that fits in a Lease's name."""
    raise NotImplementedError


class ControllerLease:
    """Our own Lease ``spotmix-<controller_id>`` in one namespace. ``async with`` it: acquired inside, deleted after.

    Fencing: note :attr:`epoch` when claiming a fleet; act only while ``lease.holds(epoch)``. After a lapse (we were cut
    off for longer than the duration, or the Lease was deleted) the epoch is another one: claim the fleet again first.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        controller_id: str,
        *,
        duration_seconds: float = DURATION_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        raise NotImplementedError

    @property
    def controller_id(self) -> str:
        """Name to put into a checkpoint as the holder."""
        raise NotImplementedError

    @property
    def held(self) -> bool:
        """False as soon as the last successful renewal is older than the duration, by our monotonic clock."""
        raise NotImplementedError

    @property
    def epoch(self) -> int:
        """Number of times that the Lease was taken; 1 after entering, one more after each lapse."""
        raise NotImplementedError

    def holds(self, epoch: int) -> bool:
        """Tell whether we have held the Lease without a lapse since ``epoch``."""
        return self.held and self.epoch == epoch

    async def __aenter__(self) -> ControllerLease:
        """Create the Lease and keep renewing it. Raises :class:`~.errors.KubeError` when that is refused."""
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        """Stop renewing and delete the Lease: others may take over at once."""
        raise NotImplementedError


class HolderWatch:
    """Judge other controllers of a namespace. One LIST per period serves all who ask."""

    def __init__(self, kube: Kube, namespace: str, *, poll_seconds: float = RENEW_SECONDS) -> None:
        raise NotImplementedError

    async def is_expired(self, controller_id: str) -> bool:
        """Tell whether that controller is dead or gone: Lease missing, or not seen to change for its duration.

        The first call for a holder only starts the observation, unless the Lease is missing. Raises
        :class:`~.errors.KubeError` when the API server cannot be asked: no answer is no evidence.
        """
        raise NotImplementedError

    async def wait_until_expired(self, controller_id: str) -> None:
        """Return once that controller is dead or gone; API errors are waited out."""
        raise NotImplementedError

    async def remove_expired(self, controller_id: str) -> bool:
        """After a takeover, delete the Lease of a controller that we saw expire, unless it has come back meanwhile."""
        raise NotImplementedError


def shared_lease(hub: Hub, cluster: ClusterConfig, namespace: str) -> AbstractAsyncContextManager[ControllerLease]:
    """Share this process's Lease for a namespace among its fleets; deleted some time after the last one has left."""
    raise NotImplementedError


def shared_holders(hub: Hub, cluster: ClusterConfig, namespace: str) -> AbstractAsyncContextManager[HolderWatch]:
    """Share one :class:`HolderWatch` per namespace among the fleets of this process."""
    raise NotImplementedError
