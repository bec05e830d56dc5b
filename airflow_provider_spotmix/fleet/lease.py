"""One controller per fleet: every controller process renews one Lease per namespace, and others judge it by that.

The holder judges itself by its own monotonic clock, counted from before each renewal was sent; others judge it by when
*they* last saw the Lease change, as client-go's leader election does. Clocks of different machines are never compared,
so skew cannot make two holders.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import time
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_spotmix.kube.errors import (
    AlreadyExists,
    ApiUnavailable,
    Conflict,
    Invalid,
    KubeError,
    NotFound,
    ServerError,
)
from airflow_provider_spotmix.kube.objects import Lease, Timestamp
from airflow_provider_spotmix.kube.resources import LEASES
from airflow_provider_spotmix.manifests import labels

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from airflow_provider_spotmix.fleet.hub import Hub
    from airflow_provider_spotmix.kube.client import Cluster, Kube

log = logging.getLogger(__name__)

DURATION_SECONDS: Final = 6.0
RENEW_SECONDS: Final = 2.0

_LABELS: Final = {"app.kubernetes.io/managed-by": labels.MANAGER, "spotmix.io/lease": "controller"}
LEASE_SELECTOR: Final = "spotmix.io/lease=controller"
AGENT_SELECTOR: Final = f"{labels.AGENT}=true"
# A released Lease is deleted within this time or left to expire.
_RELEASE_SECONDS: Final = 5.0
# After a failed renewal, the next one comes after this share of the period.
_RETRY_SHARE: Final = 0.25
# Whoever waits for an expiry looks again this long after it.
_AFTER_EXPIRY_SECONDS: Final = 0.05


def new_controller_id() -> str:
    """Draw the id of a controller process: host, pid and chance; a DNS label that fits in a Lease's name."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:30].strip("-") or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def lease_name(controller_id: str) -> str:
    """Return the name of a controller's Lease."""
    return f"spotmix-{controller_id}"


class ControllerLease:
    """Our own Lease ``spotmix-<controller_id>`` in one namespace. ``async with`` it: acquired inside, deleted after.

    Fencing: note :attr:`epoch` when claiming a fleet; act only while ``lease.holds(epoch)``. After a lapse (we were cut
    off for longer than the duration, or the Lease was deleted) the epoch is another one: claim the fleet again first.

    ``duration_seconds`` is rounded up to whole seconds in the Lease, which has no fractions; we use the shorter one.
    ``agent``: whether it looks after any fleet of the namespace, not only after those that this process submitted.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        controller_id: str,
        *,
        duration_seconds: float = DURATION_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
        agent: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not 0 < renew_seconds < duration_seconds:
            raise ValueError(
                f"renew_seconds={renew_seconds} must be positive and less than duration_seconds={duration_seconds}; "
                "a third of it leaves room for two failed renewals"
            )
        self._kube = kube
        self._namespace = namespace
        self._controller_id = controller_id
        self._duration_seconds = duration_seconds
        self._renew_seconds = renew_seconds
        self._labels = _LABELS | {labels.AGENT: "true"} if agent else _LABELS
        self._now = now
        self._uid = ""
        self._renewed_at: float | None = None
        self._epoch = 0
        self._renewals: asyncio.Task[None] | None = None
        self._calling = asyncio.Lock()
        self.trouble = ""  # why the last renewal failed; empty when it did not
        self._complained = ""

    @property
    def controller_id(self) -> str:
        """Name to put into a checkpoint as the holder."""
        return self._controller_id

    @property
    def held(self) -> bool:
        """False as soon as the last successful renewal is older than the duration, by our monotonic clock."""
        return self._renewed_at is not None and _clock() - self._renewed_at < self._duration_seconds

    @property
    def epoch(self) -> int:
        """Number of times that the Lease was taken; 1 after entering, one more after each lapse."""
        return self._epoch

    def holds(self, epoch: int) -> bool:
        """Tell whether we have held the Lease without a lapse since ``epoch``."""
        return self.held and self._epoch == epoch

    async def __aenter__(self) -> ControllerLease:
        """Create the Lease and keep renewing it. Raises :class:`~.errors.KubeError` when that is refused."""
        await self._take()
        self._renewals = asyncio.get_running_loop().create_task(self._keep_renewing())
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop renewing and delete the Lease: others may take over at once."""
        renewals, self._renewals = self._renewals, None
        if renewals is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RELEASE_SECONDS), self._calling:
                    renewals.cancel()  # not in mid-call: a Lease that is just being made again would outlive us
            renewals.cancel()
            with suppress(asyncio.CancelledError):
                await renewals
        # Stop acting before telling others that they may.
        self._renewed_at = None
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._kube.delete(LEASES, self._name, self._namespace, uid=self._uid or None)
        except (NotFound, Conflict):
            pass
        except (KubeError, TimeoutError) as error:
            log.info("Lease %s is not deleted and will expire by itself: %s", self._name, error)

    @property
    def _name(self) -> str:
        return lease_name(self._controller_id)

    async def _keep_renewing(self) -> None:
        pause_seconds = self._renew_seconds
        while True:
            await asyncio.sleep(pause_seconds)
            started = _clock()
            pause_seconds = self._renew_seconds
            try:
                # A renewal that takes longer is hopeless, and another attempt may do better.
                async with asyncio.timeout(self._duration_seconds / 3), self._calling:
                    await self._renew()
                pause_seconds -= _clock() - started
            except (KubeError, TimeoutError) as error:
                # Sooner than usual: every attempt before the lapse counts.
                pause_seconds *= _RETRY_SHARE
                self._complain(str(error) or "no answer in time")
            except Exception:
                # A defect must not end the renewals in silence, and with them all fleets of this process.
                log.exception("Lease %s in %s is not renewed because of a defect", self._name, self._namespace)

    def _complain(self, why: str) -> None:
        """Say so once, and once more when it has lapsed: an outage has many attempts."""
        said = f"{self._standing().split()[0]} {why}"
        if said != self._complained:
            log.warning("Lease %s in %s is not renewed (%s): %s", self._name, self._namespace, self._standing(), why)
        self._complained, self.trouble = said, why

    async def _renew(self) -> None:
        sent_at = _clock()
        try:
            await self._kube.patch(
                LEASES, self._name, {"metadata": {"uid": self._uid}, "spec": self._times()}, self._namespace
            )
        except (NotFound, Invalid):
            # Somebody who judged us dead removed it, and may have taken our fleets: start a new epoch.
            self._renewed_at = None
            await self._take()
        else:
            self._confirm(sent_at)

    async def _take(self) -> None:
        sent_at = _clock()
        spec = {
            "holderIdentity": self._controller_id,
            "leaseDurationSeconds": max(1, -int(-self._duration_seconds // 1)),
            "acquireTime": Timestamp(self._now()).rfc3339_micro(),
            "leaseTransitions": self._epoch,
            **self._times(),
        }
        body = {"metadata": {"name": self._name, "labels": dict(self._labels)}, "spec": spec}
        try:
            lease = await self._kube.create(LEASES, body, self._namespace)
        except (AlreadyExists, ApiUnavailable, ServerError) as error:
            lease = await self._adopt(error)
        self._uid = lease.metadata.uid
        self._confirm(sent_at)

    async def _adopt(self, error: KubeError) -> Lease:
        """After a create of unknown outcome: the id is ours alone, so a Lease of that name is our own."""
        try:
            lease = await self._kube.get(LEASES, self._name, self._namespace)
        except NotFound:
            raise error from None
        if lease.spec.holder_identity != self._controller_id:
            raise error
        return await self._kube.patch(
            LEASES, self._name, {"metadata": {"uid": lease.metadata.uid}, "spec": self._times()}, self._namespace
        )

    def _confirm(self, sent_at: float) -> None:
        if not self.held:
            self._epoch += 1
        self.trouble = self._complained = ""
        # Counted from before the request left, so that we let go before anybody who saw its effect may take over.
        self._renewed_at = sent_at

    def _times(self) -> dict[str, Any]:
        return {"renewTime": Timestamp(self._now()).rfc3339_micro()}

    def _standing(self) -> str:
        if self._renewed_at is None:
            return "lost"
        left = self._renewed_at + self._duration_seconds - _clock()
        return f"held for another {left:.1f} s" if left > 0 else "lapsed"


@dataclass(slots=True)
class _Observation:
    """A Lease, and when by our clock it was first seen like this."""

    lease: Lease
    changed_at: float

    @property
    def expires_at(self) -> float:
        return self.changed_at + (self.lease.spec.lease_duration_seconds or DURATION_SECONDS)


class HolderWatch:
    """Judge other controllers of a namespace. One LIST per period serves all who ask."""

    def __init__(self, kube: Kube, namespace: str, *, poll_seconds: float = RENEW_SECONDS) -> None:
        self._kube = kube
        self._namespace = namespace
        self._poll_seconds = poll_seconds
        self._seen: dict[str, _Observation] = {}
        self._listed_at: float | None = None
        self._listing = asyncio.Lock()
        self._listings_begun = 0
        self._listings_done = 0

    async def is_expired(self, controller_id: str) -> bool:
        """Tell whether that controller is dead or gone: Lease missing, or not seen to change for its duration.

        The first call for a holder only starts the observation, unless the Lease is missing. Raises
        :class:`~.errors.KubeError` when the API server cannot be asked: no answer is no evidence.
        """
        await self._look(fresh=self._needs_fresh_listing(controller_id))
        return self._judge(controller_id)

    def last_seen(self, controller_id: str) -> float | None:
        """When that controller last renewed its Lease, by its own clock, in seconds since the epoch."""
        observed = self._seen.get(lease_name(controller_id))
        renewed = observed.lease.spec.renew_time if observed is not None else None
        return None if renewed is None else float(renewed)

    async def wait_until_expired(self, controller_id: str) -> None:
        """Return once that controller is dead or gone; API errors are waited out."""
        while True:
            try:
                if await self.is_expired(controller_id):
                    return
            except KubeError as error:
                log.info("Cannot look at the leases of %s, will try again: %s", self._namespace, error)
            await asyncio.sleep(self._pause(controller_id))

    async def remove_expired(self, controller_id: str) -> bool:
        """After a takeover, delete the Lease of a controller that we saw expire, unless it has come back meanwhile.

        Returns whether it is gone. Raises :class:`~.errors.KubeError` when the deletion is refused.
        """
        observed = self._seen.get(lease_name(controller_id))
        if observed is None:
            return True
        if not self._judge(controller_id):
            return False
        metadata = observed.lease.metadata
        try:
            await self._kube.delete(
                LEASES, metadata.name, self._namespace, uid=metadata.uid, resource_version=metadata.resource_version
            )
        except NotFound:
            return True
        except Conflict:
            return False
        return True

    def _judge(self, controller_id: str) -> bool:
        """Judge by the last listing, not by the present: a renewal since then would not have been seen."""
        observed = self._seen.get(lease_name(controller_id))
        return observed is None or (self._listed_at is not None and self._listed_at > observed.expires_at)

    def _needs_fresh_listing(self, controller_id: str) -> bool:
        """A new holder may have come, and an old one may have renewed in time, since the last listing."""
        observed = self._seen.get(lease_name(controller_id))
        return observed is None or observed.expires_at < _clock()

    def _pause(self, controller_id: str) -> float:
        observed = self._seen.get(lease_name(controller_id))
        left = observed.expires_at - _clock() if observed is not None else -1.0
        return min(self._poll_seconds, left + _AFTER_EXPIRY_SECONDS) if left >= 0 else self._poll_seconds

    async def _look(self, *, fresh: bool) -> None:
        """List the leases, unless that was done less than a period ago, or (``fresh``) was begun after this call."""
        begun_before = self._listings_begun
        async with self._listing:
            if fresh:
                if self._listings_done > begun_before:
                    return
            elif self._listed_at is not None and _clock() - self._listed_at < self._poll_seconds:
                return
            self._listings_begun += 1
            asked_at = _clock()
            leases = (await self._kube.list(LEASES, self._namespace, label_selector=LEASE_SELECTOR)).items
            self._listings_done = self._listings_begun
            self._listed_at = asked_at
            self._seen = {lease.metadata.name: self._observe(lease) for lease in leases}

    def _observe(self, lease: Lease) -> _Observation:
        before = self._seen.get(lease.metadata.name)
        if before is not None and before.lease.metadata.resource_version == lease.metadata.resource_version:
            return before
        return _Observation(lease, _clock())


def shared_lease(
    hub: Hub, cluster: Cluster, namespace: str, *, agent: bool = False
) -> AbstractAsyncContextManager[ControllerLease]:
    """Share this process's Lease for a namespace among its fleets; deleted once the last one has left.

    An agent opens it before any of its fleets does, and says so on it.
    """

    @asynccontextmanager
    async def opening() -> AsyncGenerator[ControllerLease, None]:
        async with (
            hub.client(cluster) as kube,
            ControllerLease(kube, namespace, new_controller_id(), agent=agent) as lease,
        ):
            yield lease

    return hub.share(("lease", cluster.identity(), namespace), opening, linger_seconds=0)


def shared_holders(hub: Hub, cluster: Cluster, namespace: str) -> AbstractAsyncContextManager[HolderWatch]:
    """Share one :class:`HolderWatch` per namespace among the fleets of this process."""

    @asynccontextmanager
    async def opening() -> AsyncGenerator[HolderWatch, None]:
        async with hub.client(cluster) as kube:
            yield HolderWatch(kube, namespace)

    return hub.share(("holders", cluster.identity(), namespace), opening)


def _clock() -> float:
    return asyncio.get_running_loop().time()
