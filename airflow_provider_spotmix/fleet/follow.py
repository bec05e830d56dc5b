"""Wait for a fleet, whoever looks after it: this process, or an agent in the fleet's namespace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.spec import AGENT, FleetSpec
from airflow_provider_spotmix.fleet.hub import FeedItem, Hub
from airflow_provider_spotmix.fleet.lease import HolderWatch, shared_holders
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.record import Record, read
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.fleet.voice import TellPerson, Voice
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import KubeError, NotFound
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.kube.watch import Changed, Disconnected, Synced
from airflow_provider_spotmix.manifests import labels

# How often it is looked whether the agent lives.
LOOK_SECONDS = 15.0
# A line that is older than this when it is shown is shown with its time.
OLD_SECONDS = 60.0


async def wait_for_fleet(
    hub: Hub, cluster: ClusterConfig, spec: FleetSpec, *, tell: TellPerson, progress: Progress | None = None
) -> dict[str, Any]:
    """Look after a submitted fleet, or wait for its agent's report. ``progress`` follows it, for whoever shows it.

    Returns:
        A ``report``, or the ``error`` for which an agent gave up.

    Raises:
        CheckpointError: the checkpoint was written by a newer version.
        KubeError: the API server refuses something that the fleet cannot do without.

    """
    if spec.controller == AGENT:
        return await follow_agent(hub, cluster, spec, tell=tell, progress=progress)
    report = await run_fleet(hub, cluster, spec, tell=tell, progress=progress)
    return {"report": report.to_dict()}


async def follow_agent(
    hub: Hub,
    cluster: ClusterConfig,
    spec: FleetSpec,
    *,
    tell: TellPerson,
    progress: Progress | None = None,
    look_seconds: float = LOOK_SECONDS,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Pass on what an agent says of a fleet, until it says how it ended.

    An agent that is away, however long, is waited for; a person is told.

    Raises:
        KubeError: the API server refuses something that cannot be done without.

    """
    async with (
        hub.client(cluster) as kube,
        shared_holders(hub, cluster, spec.namespace) as holders,
        hub.subscribe(cluster, CONFIG_MAPS, spec.namespace, key=spec.fleet_id, index_label=labels.RECORD) as items,
    ):
        return await _Follower(kube, spec, holders, tell=tell, progress=progress or Progress(spec), now=now).follow(
            items, look_seconds
        )


class _Follower:
    """Reads one fleet's record as it grows."""

    def __init__(
        self,
        kube: Kube,
        spec: FleetSpec,
        holders: HolderWatch,
        *,
        tell: TellPerson,
        progress: Progress,
        now: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._spec = spec
        self._holders = holders
        self._voice = Voice(tell)
        self._progress = progress
        self._now = now
        self._record: Record | None = None
        self._shown = 0
        self._looked_in_vain = 0

    async def follow(self, items: AsyncIterator[FeedItem[ConfigMap]], look_seconds: float) -> dict[str, Any]:
        coming = asyncio.ensure_future(anext(items))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=look_seconds)
                if done:
                    self._take(coming.result())
                    coming = asyncio.ensure_future(anext(items))
                end = self._record.end if self._record else None
                end = end or (None if done else await self._look())
                if end is not None:
                    return end
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    def _take(self, item: FeedItem[ConfigMap]) -> None:
        found: ConfigMap | None = None
        match item:
            case Synced((first, *_)):
                found = first
            case Changed("ADDED" | "MODIFIED", changed):
                found = changed
            case Synced(()) | Changed("DELETED", _):
                self._record = None  # with the namespace, for instance: then nobody will ever write another one
            case Disconnected():
                self._voice.trouble("outage", f"waiting for the API server: {item.error}")
        if found is None:
            return
        self._voice.settled("outage")
        try:
            self._record = read(found)
        except msgspec.MsgspecError as error:
            said = f"cannot read ConfigMap {found.metadata.name}: {error}; is the agent of another version?"
            self._voice.trouble("record", said)
            return
        if self._record.progress:
            self._progress.relay(self._record.progress)
        for line in self._record.lines:
            if line.number > self._shown:
                age = self._now() - line.at
                then = time.strftime("[%H:%M:%S UTC] ", time.gmtime(line.at)) if age > OLD_SECONDS else ""
                self._voice(f"{then}{line.message}", line.warning)
                self._shown = line.number

    async def _look(self) -> dict[str, Any] | None:
        """Tell a person when nobody looks after the fleet. Returns how it ended, if nobody else will ever say so."""
        try:
            if self._record is None:
                return await self._look_for_applications()
            dead = await self._holders.is_expired(self._record.agent)
        except KubeError as error:
            self._voice.trouble("outage", f"waiting for the API server: {error}")
            return None
        if dead:
            said = f"agent {self._record.agent} is gone: until another takes over, executors wait for their placement"
            self._voice.trouble("agent", f"{said}; see whether one runs in namespace {self._spec.namespace}")
        elif self._voice.settled("agent"):
            self._voice(f"agent {self._record.agent} looks after the fleet")
        return None

    async def _look_for_applications(self) -> dict[str, Any] | None:
        """No agent has said anything yet; when the applications are gone before one does, none ever will."""
        resource, namespace = backend(self._spec.backend).resource, self._spec.namespace
        for application in self._spec.applications:
            try:
                await self._kube.get(resource, application.name, namespace)
            except NotFound:
                continue
            said = f"no agent has taken fleet {self._spec.fleet_id} yet: see whether one runs in namespace {namespace}"
            self._voice.trouble("agent", said)
            self._looked_in_vain = 0
            return None
        self._looked_in_vain += 1
        if self._looked_in_vain < 2:  # an agent may be about to say how it ended
            return None
        return {"error": f"fleet {self._spec.fleet_id} is gone, and no agent has said how it ended"}
