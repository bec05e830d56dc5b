"""One hold of a fleet: from the claim to the report, or until another controller has it.

The only place where the core meets the cluster: events come in, are decided on, and actions go out.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core import checkpoint as cp
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import (
    AnyAction,
    Finish,
    Inquire,
    Place,
    Remove,
    Rescue,
    Resubmit,
    SaveCheckpoint,
    Tell,
    Topic,
)
from airflow_provider_spotmix.core.controller import decide
from airflow_provider_spotmix.core.errors import SpotmixError
from airflow_provider_spotmix.core.journal import Entry
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.core.state import FleetState
from airflow_provider_spotmix.fleet.apply import Applier
from airflow_provider_spotmix.fleet.checkpoint_store import CheckpointStore, FencedError
from airflow_provider_spotmix.fleet.feeds import ApplicationFeed, Batch, NodeFeed, PodFeed
from airflow_provider_spotmix.fleet.hub import FeedItem, Hub
from airflow_provider_spotmix.fleet.kube_events import KubeEvents
from airflow_provider_spotmix.fleet.lease import HolderWatch
from airflow_provider_spotmix.fleet.outages import HOLD, Outages
from airflow_provider_spotmix.fleet.overhead_watch import OverheadWatch
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.report import Report, build
from airflow_provider_spotmix.fleet.voice import Voice
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, NODES, PODS
from airflow_provider_spotmix.kube.watch import Changed, Disconnected

TICK_SECONDS = 1.0
# Two clocks that are further apart than this: a person is told.
SKEW_SECONDS = 5.0
# A process that takes so much longer for a pause was stopped, or its machine is overwhelmed.
STANDSTILL_SECONDS = 5.0
# How long a controller that is told to end may take for its last word.
LEAVE_SECONDS = 2.0
CONCURRENT_CALLS = 16
# How long a finished fleet waits for an API server that does not take its last checkpoint.
LAST_WRITE_SECONDS = 10.0
# How often the drivers are asked what interruptions have cost in work. What happens after the last time is not in it.
OVERHEAD_SECONDS = 5.0
# Samples of the gate's latency that a report and a checkpoint keep.
LATENCIES = 512

T = TypeVar("T")


def _name_of(take: Callable[..., Any]) -> str:
    return take.__name__


class Hold:
    """One hold of a fleet, from claim to report (or until it is fenced)."""

    def __init__(
        self,
        kube: Kube,
        spec: FleetSpec,
        store: CheckpointStore,
        *,
        voice: Voice,
        outages: Outages,
        progress: Progress,
        journal: Callable[[Entry], None] | None,
        now: Callable[[], float],
    ) -> None:
        self._outages = outages
        self._progress = progress
        self._kube = kube
        self._spec = spec
        self._store = store
        self._tell = voice
        self._journal = journal
        self._now = now
        self._state = FleetState.new(spec)
        self._applier = Applier(kube, spec, voice=voice, now=now)
        self._events = KubeEvents(kube, spec, voice=voice, now=now)
        self._pods = PodFeed(now)
        self._applications = ApplicationFeed(kube, spec, now)
        self._nodes = NodeFeed(kube, now)
        self._inbox: asyncio.Queue[Batch | BaseException] = asyncio.Queue()
        self._dirty = asyncio.Event()
        self._calls = asyncio.Semaphore(CONCURRENT_CALLS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._gated_since: dict[str, float] = {}
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._overhead = OverheadWatch(self._progress, voice)
        self._finish: Finish | None = None

    async def run(self, hub: Hub, cluster: ClusterConfig, holders: HolderWatch) -> Report:
        """Claim the fleet, and look after it until all its applications are over.

        Raises:
            FencedError: our lease lapsed, or another controller holds the fleet.
            CheckpointError: the checkpoint was written by a newer version.
            KubeError: the API server refuses something, or does not answer.

        """
        saved = await self._store.claim(holders, self._tell)
        if self._tell.settled("outage"):
            self._tell("the fleet is looked after again")
        if abs(skew := self._now() - time.time()) > SKEW_SECONDS:
            behind = "behind" if skew > 0 else "ahead of"
            said = f"this machine's clock is {abs(skew):.0f} s {behind} the API server's, which is what counts"
            self._tell.trouble("clock", said)
        if saved:
            self._state = cp.restore(self._state, saved)
            self._latencies.extend(saved.gate_latencies_ms)
        try:
            finish = await self._follow_to_its_end(hub, cluster)
        except asyncio.CancelledError:
            await self._leave()
            raise
        await self._applier.delete(finish.unfinished)
        self._progress.end("succeeded" if finish.succeeded else "failed", finish.message, self._now())
        return build(
            self._state,
            succeeded=finish.succeeded,
            message=finish.message,
            gate_latencies_ms=tuple(self._latencies),
            overhead=self._overhead.total,
        )

    async def _follow_to_its_end(self, hub: Hub, cluster: ClusterConfig) -> Finish:
        api, namespace, fleet = backend(self._spec.backend).resource, self._spec.namespace, self._spec.fleet_id
        self._outages.held_again()
        async with AsyncExitStack() as stack:
            nodes = await stack.enter_async_context(hub.subscribe(cluster, NODES, optional=True))
            pods = await stack.enter_async_context(hub.subscribe(cluster, PODS, namespace, key=fleet))
            applications = await stack.enter_async_context(hub.subscribe(cluster, api, namespace, key=fleet))
            checkpoints = hub.subscribe(cluster, CONFIG_MAPS, namespace, key=fleet, optional=True)
            checkpoint = await stack.enter_async_context(checkpoints)
            stack.push_async_callback(self._stop)
            # Nodes first: they are the evidence by which the end of an executor is explained.
            await self._first(nodes, self._take_nodes)
            await self._first(pods, self._take_pods)
            await self._first(applications, self._take_applications)
            bound = {e.pod.node for _, e in self._state.executors() if e.pod.node}
            self._decide([ev.Synced(at=self._now(), id="synced", absent_nodes=await self._nodes.absent(bound))])
            if self._store.left:
                self._decide([*self._outages.seen(*self._store.left)])
            return await self._until_finished(
                self._follow_nodes(nodes),
                self._follow(pods, self._take_pods),
                self._follow(applications, self._take_applications),
                self._guard(checkpoint),
                self._watch_overhead(),
                self._tick(),
            )

    async def _leave(self) -> None:
        """Let the next controller know how far we got, as far as that takes no time."""
        with suppress(KubeError, SpotmixError, FencedError, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._store.leave(self._state, tuple(self._latencies), at=self._now())

    # -- what comes in

    async def _first(self, items: AsyncIterator[FeedItem[T]], take: Callable[[FeedItem[T]], Awaitable[Batch]]) -> None:
        """Wait for the first snapshot, so that no decision is made on half of what there is."""
        async for item in items:
            self._decide([*await take(item), *self._outages.heard(_name_of(take), item)])
            if not isinstance(item, Disconnected):
                return
            self._tell(f"waiting for the API server: {item.error}", True)

    async def _follow(self, items: AsyncIterator[FeedItem[T]], take: Callable[[FeedItem[T]], Awaitable[Batch]]) -> None:
        async for item in items:
            if isinstance(item, Disconnected):
                self._tell(f"changes may go unseen for now: {item.error}", True)
            await self._inbox.put([*await take(item), *self._outages.heard(_name_of(take), item)])

    async def _follow_nodes(self, items: AsyncIterator[FeedItem[Any]]) -> None:
        """Nodes are evidence, not a condition: when they are no longer to be read, the fleet goes on without."""
        try:
            await self._follow(items, self._take_nodes)
        except KubeError as error:
            self._nodes.available = False
            self._tell.trouble("nodes", f"nodes may no longer be read, dead ones are not noticed from now on: {error}")

    async def _guard(self, checkpoint: AsyncIterator[FeedItem[ConfigMap]]) -> None:
        """A rival knows of us by the checkpoint alone: one that somebody deletes or spoils is written again at once."""
        with suppress(KubeError):  # it may no longer be read: then it is written with the next thing that happens
            async for item in checkpoint:
                if isinstance(item, Changed) and self._store.is_harmed(item.object, gone=item.type == "DELETED"):
                    self._dirty.set()

    async def _watch_overhead(self) -> None:
        while True:
            await asyncio.sleep(OVERHEAD_SECONDS)
            await self._overhead.look(self._state)

    async def _take_nodes(self, item: FeedItem[Any]) -> Batch:
        batch = self._nodes.events(item)
        if not self._nodes.available:
            said = "nodes may not be read: neither their notices nor their death are noticed, pods alone explain losses"
            self._tell.trouble("nodes", f"{said}; docs/rbac.md has the ClusterRole that permits it")
        return batch

    async def _take_pods(self, item: FeedItem[Any]) -> Batch:
        batch = self._pods.events(item)
        for event in batch:
            match event:
                case ev.ExecutorObserved(pod=pod) if pod.gated:
                    self._gated_since.setdefault(pod.uid, time.perf_counter())
                case ev.ExecutorObserved(pod=pod) | ev.ExecutorDeleted(pod=pod):
                    self._gated_since.pop(pod.uid, None)
        return batch

    async def _take_applications(self, item: FeedItem[Any]) -> Batch:
        return await self._applications.events(item)

    async def _tick(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            if (stood_still := time.monotonic() - before - TICK_SECONDS) > STANDSTILL_SECONDS:
                self._outages.began(HOLD, "this process stood still", silent_seconds=stood_still)
            if self._store.lost:  # who was stopped for a while must not act on old news, nor wait for some
                raise FencedError
            over = self._outages.ended(HOLD)
            await self._inbox.put([*over, *await self._applications.unwatched(), ev.Tick(at=self._now(), id="tick")])

    # -- deciding

    async def _until_finished(self, *background: Coroutine[Any, Any, None]) -> Finish:
        """Decide about whatever comes in, until the fleet is over and its last checkpoint is written."""
        for work in background:
            self._spawn(work)
        writer = self._spawn(self._write_checkpoints())
        self._spawn(self._events.keep_writing())
        while self._finish is None:
            item = await self._inbox.get()
            if isinstance(item, BaseException):
                raise item
            self._decide(item)
        self._dirty.set()
        await asyncio.wait([writer], timeout=LAST_WRITE_SECONDS)
        await self._events.write_last()
        return self._finish

    async def _stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start background work; what fails there fails in the loop above."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._inbox.put_nowait(error)

    def _decide(self, batch: Batch) -> None:
        for event in batch:
            decision = decide(self._state, event)
            self._state = decision.state
            if self._journal and (decision.actions or not isinstance(event, ev.Tick)):
                self._journal(Entry(event, decision.actions))
            for action in decision.actions:
                self._start(action)
        self._progress.observe(self._state, self._now())

    def _start(self, action: AnyAction) -> None:
        match action:
            case Tell(message=message, warning=warning):
                self._tell(message, warning)
                if action.topic:
                    self._progress.told(action.topic, message, self._now())
                    self._happened(action.topic, message, warning=warning, application=action.application)
            case SaveCheckpoint():
                self._dirty.set()
            case Finish(succeeded=succeeded, message=message):
                self._finish = action
                said = message or "all applications succeeded"
                self._happened(Topic.SUCCEEDED if succeeded else Topic.FAILED, said, warning=not succeeded)
            case Place() | Rescue() | Remove() | Resubmit():
                self._spawn(self._act(action))
            case Inquire():
                self._spawn(self._inquire(action))

    def _happened(self, topic: Topic, message: str, *, warning: bool, application: str = "") -> None:
        for app in self._state.applications.values():
            if application in ("", app.name):
                self._events.happened(app.name, app.uid, topic.value, message, warning=warning)

    # -- acting

    async def _inquire(self, action: Inquire) -> None:
        """Reads only, and waits: neither takes a turn from those that act."""
        await self._inbox.put(await self._applier.inquire(action))

    async def _act(self, action: Place | Rescue | Remove | Resubmit) -> None:
        async with self._calls:
            if not self._store.held:
                raise FencedError
            if isinstance(action, Resubmit):
                await self._inbox.put(await self._applier.resubmit(action))
                return
            since = self._gated_since.get(action.uid)  # noted now: the watch may say that it is done before the answer
            if isinstance(action, Remove):
                events = await self._applier.remove(action)
            elif isinstance(action, Rescue):
                events = await self._applier.rescue(action)
                if not events:
                    self._rescued(action)
            elif action.uid in self._pods.pods:
                events = await self._applier.place(action, self._pods.pods[action.uid])
            else:
                return  # it was deleted while this call waited for its turn
        if since is not None and any(isinstance(event, ev.PlaceDone) for event in events):
            self._latencies.append((time.perf_counter() - since) * 1000)
            self._progress.placed(self._latencies[-1])
        await self._inbox.put(events)

    def _rescued(self, action: Rescue) -> None:
        said = f"removed {action.pod} from lost node {action.node}, so that another takes its place"
        for app in self._state.applications.values():
            if action.uid in app.executors or action.uid == app.rescuing_driver:
                self._happened(Topic.RESCUED, said, warning=True, application=app.name)

    async def _write_checkpoints(self) -> None:
        """One write at a time, of the newest state; a failed one is tried again, a lost hold ends the run."""
        written_last = False
        while not written_last:
            await self._dirty.wait()
            self._dirty.clear()
            last = self._finish is not None
            try:
                await self._store.save(self._state, tuple(self._latencies))
            except KubeError as error:
                self._tell.trouble("checkpoint", f"cannot write the checkpoint, trying again: {error}")
                self._dirty.set()
                await asyncio.sleep(TICK_SECONDS)
            else:
                written_last = last
                if self._tell.settled("checkpoint"):
                    self._tell("the checkpoint is written again")
