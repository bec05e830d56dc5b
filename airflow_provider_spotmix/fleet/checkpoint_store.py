"""Where a fleet's checkpoint is kept: one ConfigMap that its applications own. Its holder alone may write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet.lease import ControllerLease, HolderWatch
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import AlreadyExists, Conflict, NotFound
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.manifests import labels

_KEY = "checkpoint"


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

    @property
    def held(self) -> bool:
        """Whether we may still act on the fleet."""
        return self._lease.holds(self._epoch)

    async def claim(self, holders: HolderWatch, tell: Callable[[str, bool], None]) -> cp.Checkpoint | None:
        """Become the fleet's only controller, waiting for another one's lease to expire or be released.

        Returns:
            What the last controller left, or None when nobody has written anything yet.

        Raises:
            CheckpointError: the checkpoint is of a newer version.
            KubeError: the API server refused.

        """
        while True:
            self._epoch = self._lease.epoch
            found = await self._read()
            saved = cp.decode(found.data[_KEY]) if found and _KEY in found.data else None
            if saved and saved.holder not in ("", self._lease.controller_id):
                if not await holders.is_expired(saved.holder):
                    tell(f"waiting for controller {saved.holder} to release this fleet or to expire", False)
                    await holders.wait_until_expired(saved.holder)
                tell(f"taking over from controller {saved.holder}", False)
            try:
                self._version = await self._take(found, saved)
            except (Conflict, AlreadyExists):
                continue  # somebody was faster: look again who
            if saved and saved.holder not in ("", self._lease.controller_id):
                await holders.remove_expired(saved.holder)
            return saved

    async def save(self, state: FleetState, gate_latencies_ms: tuple[float, ...]) -> None:
        """Write the checkpoint.

        Raises:
            FencedError: it is no longer ours to write.
            KubeError: the API server refused; the checkpoint is as it was or as it should be.

        """
        if self._missing:
            return
        if not self.held:
            raise FencedError
        taken = cp.take(state, holder=self._lease.controller_id, gate_latencies_ms=gate_latencies_ms)
        body = {"metadata": {"resourceVersion": self._version}, "data": {_KEY: cp.encode(taken)}}
        try:
            self._version = await self._patch(body)
        except Conflict:
            raise FencedError from None
        except NotFound:
            self._missing = True  # its owner is being deleted; the application's own events tell the rest

    async def _read(self) -> ConfigMap | None:
        try:
            return await self._kube.get(CONFIG_MAPS, self._name, self._spec.namespace)
        except NotFound:
            return None

    async def _take(self, found: ConfigMap | None, saved: cp.Checkpoint | None) -> str:
        """Write ourselves in as the holder, if nobody else has meanwhile."""
        taken = saved or cp.Checkpoint(schema=cp.SCHEMA, fleet_id=self._spec.fleet_id)
        data = {_KEY: cp.encode(cp.held_by(taken, self._lease.controller_id))}
        if found:
            return await self._patch({"metadata": {"resourceVersion": found.metadata.resource_version}, "data": data})
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
