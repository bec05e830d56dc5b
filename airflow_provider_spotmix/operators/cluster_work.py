"""What a task does in the cluster: submit, look after, tell about the end, delete. Runs on an event loop (`Work`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_spotmix.core.spec import FleetSpec
    from airflow_provider_spotmix.fleet.plan import FleetPlan
    from airflow_provider_spotmix.fleet.showing import Watch
    from airflow_provider_spotmix.fleet.submit import Tell
    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.config import ClusterConfig


class ClusterWork:
    """One cluster, as a task works in it. ``tell``: called with each line for the task's log."""

    def __init__(self, cluster: ClusterConfig, tell: Tell) -> None:
        self.cluster = cluster
        self._tell = tell

    async def submit(self, plan: FleetPlan, *, reattach: bool, note: Callable[[FleetSpec], None]) -> None:
        """Submit the fleet, or take over an earlier try's; note the one that is looked after from now on."""
        from airflow_provider_spotmix.operators.submission import submit_patiently

        async with self._client() as kube:
            note(await submit_patiently(kube, plan, reattach=reattach, tell=self._tell))

    async def run(
        self,
        plan: FleetPlan,
        *,
        reattach: bool,
        note: Callable[[FleetSpec], None],
        show: Callable[[Any], None],
        watch: Watch,
        follow_driver_log: bool,
    ) -> dict[str, Any]:
        """Submit and look after the fleet in this worker; return an event as the trigger's.

        ``show`` is called, in threads, with pictures of its progress; ``watch`` sees them first.
        """
        from airflow_provider_spotmix.core.errors import SpotmixError
        from airflow_provider_spotmix.fleet.driver_follow import driver_logs_followed
        from airflow_provider_spotmix.fleet.follow import wait_for_fleet
        from airflow_provider_spotmix.fleet.hub import Hub
        from airflow_provider_spotmix.fleet.showing import FLEET_SECONDS, Pace, shown
        from airflow_provider_spotmix.fleet.voice import Voice

        hub, noted, voice = Hub.shared(), [plan.spec], Voice(self._tell)
        try:
            await self.submit(plan, reattach=reattach, note=noted.append)
            note(noted[-1])

            async def in_thread(picture: dict[str, Any]) -> None:
                await asyncio.to_thread(show, picture)

            spec, pace = noted[-1], Pace(1 / FLEET_SECONDS)
            async with AsyncExitStack() as stack:
                progress = await stack.enter_async_context(shown(spec, in_thread, pace=pace, voice=voice, watch=watch))
                if follow_driver_log:
                    followed = driver_logs_followed(hub, self.cluster, spec, progress, tell=self._tell)
                    await stack.enter_async_context(followed)
                return await wait_for_fleet(hub, self.cluster, spec, tell=self._tell, progress=progress)
        except SpotmixError as error:
            return {"error": str(error)}
        finally:
            await hub.close()

    async def fleet_of(self, plan: FleetPlan) -> FleetSpec:
        """The fleet that this try looks after, be it an earlier one's."""
        from airflow_provider_spotmix.operators.earlier_tries import fleet_of

        async with self._client() as kube:
            return await fleet_of(kube, plan)

    async def tell_end(self, spec: FleetSpec, *, lines: int, failed: bool, events: bool) -> str:
        """Show the end of each driver's log, and the Events of a failed fleet; return what its pods say of why."""
        from airflow_provider_spotmix.fleet.driver_end import tell_events, why_drivers_failed
        from airflow_provider_spotmix.fleet.driver_log import tell_driver_logs

        async with self._client() as kube:
            await tell_driver_logs(kube, spec, lines=lines, tell=self._tell)
            if failed and events:
                await tell_events(kube, spec, tell=self._tell)
            return await why_drivers_failed(kube, spec) if failed else ""

    async def delete(self, spec: FleetSpec) -> None:
        """Delete the fleet."""
        from airflow_provider_spotmix.fleet.submit import delete_fleet

        async with self._client() as kube:
            await delete_fleet(kube, spec)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Kube, None]:
        kube = await self.cluster.connect()
        try:
            yield kube
        finally:
            await kube.close()
