"""Where a fleet's checkpoint is kept: one ConfigMap that its applications own. Its holder alone may write it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.errors import SpoiltCheckpointError, SpotmixError
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet.lease import ControllerLease, HolderWatch
from airflow_provider_spotmix.fleet.voice import TellPerson
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.manifests import labels

_KEY = "checkpoint"
# Between two looks at a Lease or a checkpoint that somebody else is changing.
_PAUSE_SECONDS = 0.1


class FencedError(Exception):
    """Another controller holds the fleet, or our lease lapsed: stop acting, claim again, recover."""


class CheckpointStore:
    """A claimed fleet's checkpoint."""

    def __init__(self, kube: Kube, spec: FleetSpec, lease: ControllerLease) -> None:
        self._kube = kube
        self._spec = spec
        self._lease = lease
        self._epoch = -1
        self._version = ""
        self._missing = False
        # When the last controller was last known to be there, and what became of it; None when there was none.
        self.left: tuple[float, str] | None = None

    @property
    def held(self) -> bool:
        """Whether we may still act on the fleet."""
        return self._lease.holds(self._epoch)

    @property
    def lost(self) -> bool:
        """Whether our lease has lapsed and is held again: another controller may have been here meanwhile."""
        return self._lease.held and not self.held

    async def claim(self, holders: HolderWatch, tell: TellPerson) -> cp.Checkpoint | None:
        """Become the fleet's only controller, waiting for another one's lease to expire or be released.

        Returns:
            What the last controller left, or None when nobody has written anything yet.

        Raises:
            CheckpointError: the checkpoint is of a newer version.
            KubeError: the API server refused.

        """
        while True:
            await self._until_lease_is_held(tell)
            self._epoch = self._lease.epoch
            found = await self._read()
            saved = self._saved(found, tell)
            other = saved.holder if saved and saved.holder != self._lease.controller_id else ""
            if saved and saved.left_at:
                self.left = saved.left_at, "its controller was told to end"
            if other:
                if not await holders.is_expired(other):
                    tell(f"waiting for controller {other} to release this fleet or to expire", False)
                    await holders.wait_until_expired(other)
                if seen_at := holders.last_seen(other):
                    self.left = seen_at, f"controller {other} has died, or was cut off"
                tell(f"taking over from controller {other}", False)
            try:
                self._version = await self._take(found, saved)
            except (Conflict, AlreadyExists):
                await asyncio.sleep(_PAUSE_SECONDS)  # somebody was faster: look again who
                continue
            if other:
                with suppress(KubeError):  # only tidying up: a Lease that nobody renews harms nobody
                    await holders.remove_expired(other)
            return saved

    def _saved(self, found: ConfigMap | None, tell: TellPerson) -> cp.Checkpoint | None:
        """What a controller has written; None where none has, or somebody has spoilt it."""
        if found is None or _KEY not in found.data:
            return None
        try:
            return cp.decode(found.data[_KEY])
        except SpoiltCheckpointError as error:
            tell(
                f"{error}: going on without, from what the pods' labels tell; counts of what was before are lost", True
            )
            return None

    def is_harmed(self, found: ConfigMap, *, gone: bool) -> bool:
        """Whether this news of a ConfigMap is of our checkpoint, and no longer tells that we hold the fleet."""
        if found.metadata.name != self._name:
            return False
        with suppress(SpotmixError):
            return gone or cp.decode(found.data.get(_KEY, "")).holder != self._lease.controller_id
        return True

    async def leave(self, state: FleetState, gate_latencies_ms: tuple[float, ...], *, at: float) -> None:
        """Write the last checkpoint of a controller that is told to end, so that the next one need not wait.

        Raises:
            FencedError: it is no longer ours to write.
            KubeError: the API server refused.

        """
        await self._save(cp.take(state, holder="", gate_latencies_ms=gate_latencies_ms, left_at=at))

    async def save(self, state: FleetState, gate_latencies_ms: tuple[float, ...]) -> None:
        """Write the checkpoint.

        Raises:
            FencedError: it is no longer ours to write.
            KubeError: the API server refused; the checkpoint is as it was or as it should be.

        """
        await self._save(cp.take(state, holder=self._lease.controller_id, gate_latencies_ms=gate_latencies_ms))

    async def _save(self, checkpoint: cp.Checkpoint) -> None:
        if self._missing:
            return
        data = {_KEY: cp.encode(checkpoint)}
        while self.held:
            try:
                self._version = await self._patch({"metadata": {"resourceVersion": self._version}, "data": data})
            except Conflict:
                await self._catch_up()
            except NotFound:
                await self._create_again(data)
                return
            else:
                return
        raise FencedError

    async def _catch_up(self) -> None:
        """Somebody changed the object: a person its labels, an earlier write of ours that got no answer, or a rival."""
        found = await self._read()
        if found is None:
            return
        with suppress(SpoiltCheckpointError):  # no controller writes such; it is ours to write anew
            if _KEY not in found.data or cp.decode(found.data[_KEY]).holder != self._lease.controller_id:
                raise FencedError
        self._version = found.metadata.resource_version

    async def _create_again(self, data: dict[str, str]) -> None:
        """Somebody deleted it: without it the fleet has no holder, and whoever comes next does not know the vacancies.

        When the applications are being deleted, Kubernetes has deleted it, and their own events tell the rest.
        """
        try:
            self._version = await self._create(data)
        except AlreadyExists:
            raise FencedError from None

    async def _until_lease_is_held(self, tell: TellPerson) -> None:
        if not self._lease.held:
            why = f": {self._lease.trouble}" if self._lease.trouble else ""
            tell(f"waiting for this controller's own lease to be renewed{why}", True)
        while not self._lease.held:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _read(self) -> ConfigMap | None:
        try:
            return await self._kube.get(CONFIG_MAPS, self._name, self._spec.namespace)
        except NotFound:
            return None

    async def _take(self, found: ConfigMap | None, saved: cp.Checkpoint | None) -> str:
        """Write ourselves in as the holder, if nobody else has meanwhile."""
        taken = saved or cp.Checkpoint(schema=cp.SCHEMA, fleet_id=self._spec.fleet_id)
        data = {_KEY: cp.encode(cp.held_by(taken, self._lease.controller_id))}
        if not found:
            return await self._create(data)
        try:
            return await self._patch({"metadata": {"resourceVersion": found.metadata.resource_version}, "data": data})
        except NotFound:  # deleted since it was read
            return await self._create(data)

    async def _create(self, data: dict[str, str]) -> str:
        owners = await self._owners()
        if not owners:  # all applications are gone: a checkpoint without an owner would stay for ever
            self._missing = True
            return ""
        metadata = {
            "name": self._name,
            "labels": {labels.FLEET: self._spec.fleet_id},
            "annotations": {labels.MANAGED_BY: labels.MANAGER},
            "ownerReferences": owners,
        }
        created = await self._kube.create(CONFIG_MAPS, {"metadata": metadata, "data": data}, self._spec.namespace)
        return created.metadata.resource_version

    async def _owners(self) -> list[dict[str, Any]]:
        """Kubernetes deletes the checkpoint when the last of its owners is gone."""
        resource = backend(self._spec.backend).resource
        owners = []
        for application in self._spec.applications:
            try:
                found = await self._kube.get(resource, application.name, self._spec.namespace)
            except NotFound:
                continue
            if found.metadata.deletion_timestamp is not None:
                continue
            owners.append(
                {
                    "apiVersion": resource.api_version,
                    "kind": resource.kind,
                    "name": found.metadata.name,
                    "uid": found.metadata.uid,
                }
            )
        return owners

    async def _patch(self, body: dict[str, Any]) -> str:
        patched = await self._kube.patch(CONFIG_MAPS, self._name, body, self._spec.namespace)
        return patched.metadata.resource_version

    @property
    def _name(self) -> str:
        return f"spotmix-{self._spec.fleet_id}"
