"""Look after one fleet until it is over: hold it, as often as it takes.

The same runner works in a trigger, in a worker (``deferrable=False``) and in the namespace agent. It can be stopped at
any moment, by any means: what it needs to go on is in the cluster (docs/adr/0004).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from airflow_provider_spotmix.core.journal import Entry
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.checkpoint_store import CheckpointStore, FencedError
from airflow_provider_spotmix.fleet.hold import TICK_SECONDS, Hold
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.lease import ControllerLease, shared_holders, shared_lease
from airflow_provider_spotmix.fleet.outages import Outages
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.report import Report
from airflow_provider_spotmix.fleet.voice import TellPerson, Voice
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.retry import Backoff, harmless_to_repeat

# An API server that is away is asked again after this long at most.
OUTAGE_PAUSE_SECONDS = 5.0


async def run_fleet(
    hub: Hub,
    cluster: ClusterConfig,
    spec: FleetSpec,
    *,
    tell: TellPerson,
    progress: Progress | None = None,
    journal: Callable[[Entry], None] | None = None,
    now: Callable[[], float] | None = None,
) -> Report:
    """Look after a submitted fleet until all its applications are over.

    An API server that is away, however long, is waited for. A fleet that is looked after in this process already is
    waited for too: two controllers with one Lease could not tell each other apart.

    Args:
        hub: the process's watch hub.
        cluster: where the fleet runs.
        spec: the fleet.
        tell: called with each line worth a person's attention, and whether it is a warning.
        progress: follows the fleet, for whoever shows it; by default for nobody.
        journal: called with every decision, for replay.
        now: the clock, in seconds since the epoch; by default the API server's, which all times in objects are from.

    Raises:
        CheckpointError: the checkpoint was written by a newer version.
        KubeError: the API server refuses something that the fleet cannot do without.

    """
    voice, outage = Voice(tell), Backoff(base_seconds=TICK_SECONDS, cap_seconds=OUTAGE_PAUSE_SECONDS)
    outages: Outages | None = None
    progress = progress or Progress(spec)

    def new_runner(kube: Kube, lease: ControllerLease) -> Hold:
        nonlocal outages
        outages = outages or Outages(now or kube.now)
        store = CheckpointStore(kube, spec, lease)
        clock = now or kube.now
        return Hold(kube, spec, store, voice=voice, outages=outages, progress=progress, journal=journal, now=clock)

    async with hub.lock(("turn", cluster.identity(), spec.namespace, spec.fleet_id)) as turn:
        if turn.locked():
            voice("this process looks after the fleet already: waiting for that to end")
        async with turn:
            while True:
                try:
                    return await _look_after(hub, cluster, spec, new_runner, voice, outage)
                except KubeError as error:  # not even the Lease could be had
                    await _wait_out(error, voice, outage)


async def _look_after(
    hub: Hub,
    cluster: ClusterConfig,
    spec: FleetSpec,
    new_runner: Callable[[Kube, ControllerLease], Hold],
    voice: Voice,
    outage: Backoff,
) -> Report:
    """Hold the fleet, as often as it takes: what a lost hold or a failed call leaves behind is read again."""
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(hub.client(cluster))
        lease = await stack.enter_async_context(shared_lease(hub, cluster, spec.namespace))
        holders = await stack.enter_async_context(shared_holders(hub, cluster, spec.namespace))
        while True:
            runner = new_runner(kube, lease)
            try:
                return await runner.run(hub, cluster, holders)
            except FencedError:
                voice("lost hold of the fleet (lease lapsed, or another controller took over): claiming it again", True)
                await asyncio.sleep(TICK_SECONDS)
            except KubeError as error:
                await _wait_out(error, voice, outage)


async def _wait_out(error: KubeError, voice: Voice, outage: Backoff) -> None:
    """Wait before the next attempt; raises the error again when waiting would not cure it."""
    if not harmless_to_repeat(error, repeatable=True):
        raise error
    voice.trouble("outage", f"the fleet is left alone for now, and looked after again as soon as possible: {error}")
    await asyncio.sleep(outage.next_seconds())
