"""What a task does in the cluster: submit, look after, tell about the end, delete. Runs on an event loop (`Work`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_spotmix.core.spec import FleetSpec
    from airflow_provider_spotmix.fleet.plan import FleetPlan
    from airflow_provider_spotmix.fleet.submit import Tell
    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.config import ClusterConfig


class ClusterWork:
    """One cluster, as a task works in it. ``tell``: called with each line for the task's log."""

    def __init__(self, cluster: ClusterConfig, tell: Tell) -> None:
        self.cluster = cluster
        self._tell = tell

    async def submit(self, plan: FleetPlan) -> None:
        """Submit the fleet, in place of earlier tries'."""
        from airflow_provider_spotmix.operators.submission import submit_patiently

        async with self._client() as kube:
            await submit_patiently(kube, plan, tell=self._tell)

    async def run(self, plan: FleetPlan) -> dict[str, Any]:
        """Submit and look after the fleet in this worker; return an event as the trigger's."""
        from airflow_provider_spotmix.core.errors import SpotmixError
        from airflow_provider_spotmix.fleet.hub import Hub
        from airflow_provider_spotmix.fleet.runner import run_fleet

        hub = Hub.shared()
        try:
            await self.submit(plan)
            report = await run_fleet(hub, self.cluster, plan.spec, tell=self._tell)
        except SpotmixError as error:
            return {"error": str(error)}
        finally:
            await hub.close()
        return {"report": report.to_dict()}

    async def tell_driver_logs(self, spec: FleetSpec, lines: int) -> None:
        """Show the end of each driver's log."""
        from airflow_provider_spotmix.fleet.driver_log import tell_driver_logs

        async with self._client() as kube:
            await tell_driver_logs(kube, spec, lines=lines, tell=self._tell)

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
