"""The namespace agent: looks after the fleets whose plan says so, whether Airflow is up or not.

The same runner as in a trigger, with the same Leases and checkpoint, so several agents do not harm each other: one
looks after a fleet, the others wait to take over. A fleet's plan is on its applications; what is to be said of it goes
into its record (`fleet/record.py`), which Airflow reads (`fleet/follow.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from airflow_provider_spotmix.backends import backends
from airflow_provider_spotmix.core.errors import SpotmixError
from airflow_provider_spotmix.core.spec import AGENT, FleetSpec
from airflow_provider_spotmix.fleet.hub import FLEET_LABEL, FeedItem, Hub
from airflow_provider_spotmix.fleet.lease import ControllerLease, shared_lease
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.record import Record, RecordWriter, read
from airflow_provider_spotmix.fleet.runner import run_fleet
from airflow_provider_spotmix.fleet.voice import TellPerson, Voice
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.objects import ConfigMap, Raw
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.kube.watch import Changed, Disconnected, Synced
from airflow_provider_spotmix.manifests import labels

# After a defect or a refusal of one fleet, before it is taken up again.
AGAIN_SECONDS = 30.0


class _Plan(NamedTuple):
    """A fleet to look after, and the annotations that say whose it is."""

    spec: FleetSpec
    annotations: Mapping[str, str]


class Agent:
    """Looks after the fleets of one namespace. `run` it until it is cancelled.

    Args:
        hub: the process's watch hub.
        cluster: where the fleets run.
        namespace: theirs.
        tell: called with each line for the agent's own log, and whether it is a warning.
        now: the clock, in seconds since the epoch.

    """

    def __init__(
        self,
        hub: Hub,
        cluster: ClusterConfig,
        namespace: str,
        *,
        tell: TellPerson,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._hub = hub
        self._cluster = cluster
        self._namespace = namespace
        self._voice = Voice(tell)
        self._now = now
        self._applications: dict[str, Raw] = {}
        self._records: dict[str, ConfigMap] = {}
        self._fleets: dict[str, asyncio.Task[None]] = {}
        self._lease: ControllerLease | None = None

    @property
    def fleets(self) -> int:
        """How many fleets it looks after, or waits to take over."""
        return len(self._fleets)

    @property
    def ready(self) -> bool:
        """Whether its Lease is held: without it, it must not touch a fleet."""
        return self._lease is not None and self._lease.held

    async def run(self) -> None:
        """Look after fleets, those of now and those to come.

        Raises:
            KubeError: the API server refuses something that the agent cannot do without.

        """
        async with AsyncExitStack() as stack:
            self._lease = await stack.enter_async_context(
                shared_lease(self._hub, self._cluster, self._namespace, agent=True)
            )
            stack.push_async_callback(self._stop)
            self._voice(f"agent {self._lease.controller_id} looks after the fleets of namespace {self._namespace}")
            records = await stack.enter_async_context(
                self._hub.subscribe(self._cluster, CONFIG_MAPS, self._namespace, selector=labels.RECORD)
            )
            feeds: list[tuple[AsyncIterator[FeedItem[Any]], dict[str, Any]]] = [(records, self._records)]
            for api in backends():
                applications = await stack.enter_async_context(
                    self._hub.subscribe(self._cluster, api.resource, self._namespace, selector=FLEET_LABEL)
                )
                feeds.append((applications, self._applications))
            # Records first: they tell which fleets are over.
            for items, into in feeds:
                await self._first(items, into)
            self._take_up()
            async with asyncio.TaskGroup() as group:
                for items, into in feeds:
                    group.create_task(self._follow(items, into))

    async def _first(self, items: AsyncIterator[FeedItem[Any]], into: dict[str, Any]) -> None:
        async for item in items:
            if self._note(item, into):
                return

    async def _follow(self, items: AsyncIterator[FeedItem[Any]], into: dict[str, Any]) -> None:
        async for item in items:
            if self._note(item, into):
                self._take_up()

    def _note(self, item: FeedItem[Any], into: dict[str, Any]) -> bool:
        """Remember what is there; returns whether anything was said about that."""
        match item:
            case Synced(objects):
                into.clear()
                into.update({each.metadata.name: each for each in objects})
            case Changed("DELETED", gone):
                into.pop(gone.metadata.name, None)
            case Changed(_, seen):
                into[seen.metadata.name] = seen
            case Disconnected():
                self._voice.trouble("outage", f"waiting for the API server: {item.error}")
                return False
            case _:
                self._voice.settled("outage")
                return False
        return True

    def _take_up(self) -> None:
        """Begin with whatever fleet is not looked after yet."""
        for plan in self._plans():
            fleet = plan.spec.fleet_id
            if fleet not in self._fleets:
                self._fleets[fleet] = task = asyncio.create_task(self._look_after(plan))
                task.add_done_callback(partial(self._done, fleet))

    def _plans(self) -> list[_Plan]:
        """What is to be looked after: an application says so, or the record of a fleet that is not over."""
        over: set[str] = set()
        plans: dict[str, _Plan] = {}
        for found in self._records.values():
            record = self._read(found)
            if record is not None and record.end is not None:
                over.add(record.spec.fleet_id)
            elif record is not None:
                plans[record.spec.fleet_id] = _Plan(record.spec, found.metadata.annotations)
        for application in self._applications.values():
            if application.metadata.deletion_timestamp is None and (spec := self._plan_of(application)):
                plans.setdefault(spec.fleet_id, _Plan(spec, application.metadata.annotations))
        return [plan for fleet, plan in plans.items() if fleet not in over]

    def _read(self, found: ConfigMap) -> Record | None:
        name = found.metadata.name
        try:
            return read(found)
        except msgspec.MsgspecError as error:
            self._voice.trouble(("record", name), f"ConfigMap {name} is no record that this version reads: {error}")
            return None

    def _plan_of(self, application: Raw) -> FleetSpec | None:
        """The plan on an application; None when it is not for us. Only its own namespace and fleet are believed."""
        metadata = application.metadata
        text = metadata.annotations.get(labels.PLAN)
        if text is None:
            return None
        try:
            spec = msgspec.json.decode(text, type=FleetSpec)
        except msgspec.MsgspecError as error:
            said = f"the plan on {metadata.name} is none that this version reads: {error}; is this agent older than the"
            self._voice.trouble(("plan", metadata.name), f"{said} Airflow that submitted it?")
            return None
        expected = metadata.namespace, metadata.labels.get(labels.FLEET), AGENT
        named = metadata.name in {each.name for each in spec.applications}
        if not named or (spec.namespace, spec.fleet_id, spec.controller) != expected:
            self._voice.trouble(
                ("plan", metadata.name), f"the plan on {metadata.name} is not its own: nobody looks after it"
            )
            return None
        # Of whichever try it is: a later one may take the fleet over.
        return replace(spec, identity="")

    async def _look_after(self, plan: _Plan) -> None:
        spec, annotations = plan
        assert self._lease is not None  # noqa: S101 - for the type checker
        async with self._hub.client(self._cluster) as kube:
            writer = RecordWriter(kube, spec, agent=self._lease.controller_id, annotations=annotations, now=self._now)
            progress = Progress(spec, before=await writer.open(), changed=lambda: writer.show(progress.picture))
            writing = asyncio.create_task(writer.keep_writing())
            self._voice(f"{spec.fleet_id}: looking after it")

            def tell(message: str, warning: bool) -> None:
                writer.tell(message, warning)
                self._voice(f"{spec.fleet_id}: {message}", warning)

            end: dict[str, Any]
            try:
                report = await run_fleet(self._hub, self._cluster, spec, tell=tell, progress=progress)
                end = {"report": report.to_dict()}
            except (KubeError, SpotmixError) as error:
                progress.end("failed", str(error), self._now())
                end = {"error": str(error)}
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
            await writer.close(end)
            self._voice(f"{spec.fleet_id}: over")

    def _done(self, fleet: str, task: asyncio.Task[None]) -> None:
        """A fleet that could not be looked after is taken up again: it must not be forgotten."""
        if task.cancelled() or not task.exception():
            self._fleets.pop(fleet, None)
            return
        self._voice(f"{fleet}: not looked after for {AGAIN_SECONDS:g} s: {task.exception()!r}", True)
        asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._again, fleet)

    def _again(self, fleet: str) -> None:
        if self._fleets.pop(fleet, None):
            self._take_up()

    async def _stop(self) -> None:
        tasks: Sequence[asyncio.Task[None]] = list(self._fleets.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
