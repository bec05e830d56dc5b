"""`SparkFleetTrigger`: looks after a submitted fleet in the triggerer. Thin: the runner does the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from airflow_provider_spotmix.kube.config import ClusterConfig

# Deletions under way: an event loop itself keeps no task alive.
_deleting: set[asyncio.Task[None]] = set()


class SparkFleetTrigger(BaseTrigger):
    """Look after a fleet until it is over, then fire one event with its report.

    Its arguments are stored in Airflow's database and hold no secret: connections are named and read when it runs.

    Args:
        spec: the fleet, as plain values (`FleetSpec`).
        spotmix_conn_id: connection of type ``spotmix``.
        kubernetes_conn_id: connection of type ``kubernetes`` that is used before the one that the former names.
        in_cluster: whether to use the pod's service account; before what the connections say.
        config_file: path of a kubeconfig on the triggerer; before what the connections say.
        cluster_context: a context of the kubeconfig; before what the connections say.
        follow_driver_log: show what the drivers write while they run.

    """

    def __init__(
        self,
        *,
        spec: dict[str, Any],
        spotmix_conn_id: str,
        kubernetes_conn_id: str | None = None,
        in_cluster: bool | None = None,
        config_file: str | None = None,
        cluster_context: str | None = None,
        follow_driver_log: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.spec = spec
        self.spotmix_conn_id = spotmix_conn_id
        self.kubernetes_conn_id = kubernetes_conn_id
        self.in_cluster = in_cluster
        self.config_file = config_file
        self.cluster_context = cluster_context
        self.follow_driver_log = follow_driver_log
        self._fired = False
        self._cluster: ClusterConfig | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "spec": self.spec,
                "spotmix_conn_id": self.spotmix_conn_id,
                "kubernetes_conn_id": self.kubernetes_conn_id,
                "in_cluster": self.in_cluster,
                "config_file": self.config_file,
                "cluster_context": self.cluster_context,
                "follow_driver_log": self.follow_driver_log,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look after the fleet. What goes wrong with the cluster or the connection is the event's ``error``."""
        import msgspec

        from airflow_provider_spotmix.core.errors import SpotmixError
        from airflow_provider_spotmix.core.spec import FleetSpec
        from airflow_provider_spotmix.fleet.driver_follow import driver_logs_followed
        from airflow_provider_spotmix.fleet.follow import wait_for_fleet
        from airflow_provider_spotmix.fleet.hub import Hub
        from airflow_provider_spotmix.kube.errors import KubeError
        from airflow_provider_spotmix.triggers.progress import shown_in_xcom
        from airflow_provider_spotmix.triggers.sweep import sweep_in_background

        payload: dict[str, Any] = {"spec": self.spec}
        try:
            spec, hub, cluster = msgspec.convert(self.spec, FleetSpec), Hub.shared(), await self._where()
            sweep_in_background(hub, cluster, spec.namespace)
            async with AsyncExitStack() as stack:
                shown = shown_in_xcom(self.task_instance, spec, hub, tell=self._tell)
                progress = await stack.enter_async_context(shown)
                if self.follow_driver_log:
                    followed = driver_logs_followed(hub, cluster, spec, progress, tell=self._tell)
                    await stack.enter_async_context(followed)
                payload |= await wait_for_fleet(hub, cluster, spec, tell=self._tell, progress=progress)
        except AirflowNotFoundException as error:
            payload["error"] = f"in the triggerer, {error} (an environment variable must be set there too)"
        except (KubeError, SpotmixError) as error:
            payload["error"] = str(error)
        self._fired = True
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow's

    async def on_kill(self) -> None:
        """A person killed the task (Airflow 3.3 and later): delete its fleet.

        Airflow also calls this when the trigger moves to another triggerer; then the task is still deferred, and the
        fleet stays.
        """
        await self._delete_if_killed()

    async def cleanup(self) -> None:
        """Before Airflow 3.3 this is the only call that a killed task's trigger gets; a shutdown makes it too."""
        if not hasattr(BaseTrigger, "on_kill"):
            await self._delete_if_killed()

    async def _delete_if_killed(self) -> None:
        """Delete the fleet, unless the task is over by itself or still waits.

        Airflow 3.3 cancels a killed trigger anew every second, also while it is in here, and its first answer about a
        task's state can take longer than that. So this is done by a task of its own, which lives until it is done.
        """
        if self._fired:
            return
        work = asyncio.create_task(self._delete_unless_deferred())
        _deleting.add(work)
        work.add_done_callback(_deleting.discard)
        await asyncio.shield(work)

    async def _delete_unless_deferred(self) -> None:
        import msgspec

        from airflow_provider_spotmix.core.spec import FleetSpec
        from airflow_provider_spotmix.fleet.hub import Hub
        from airflow_provider_spotmix.fleet.submit import delete_patiently

        spec = msgspec.convert(self.spec, FleetSpec)
        try:
            if await self._is_deferred():
                return
            self.log.info("the task was killed: deleting fleet %s", spec.fleet_id)
            async with Hub.shared().client(await self._where()) as kube:
                await delete_patiently(kube, spec)
        except Exception:
            names = " ".join(application.name for application in spec.applications)
            self.log.exception(
                "cannot delete fleet %s of a killed task; the next sweep or `spotmix gc` will, or delete it yourself"
                " (kubectl --namespace %s delete sparkapplication %s)",
                spec.fleet_id,
                spec.namespace,
                names,
            )

    async def _is_deferred(self) -> bool:
        """Ask Airflow about the task instance; without an answer it counts as deferred, and nothing is deleted."""
        from asgiref.sync import sync_to_async

        ti = self.task_instance
        if ti is None:
            return True
        try:
            from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

            states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
            )
        except Exception:
            self.log.warning("cannot ask for the task's state: its fleet is left alone", exc_info=True)
            return True
        key = f"{ti.task_id}_{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ti.task_id
        return bool(states.get(ti.run_id, {}).get(key) == "deferred")

    async def _where(self) -> ClusterConfig:
        """Ask Airflow once: what deletes a killed task's fleet should not depend on it."""
        from airflow_provider_spotmix.hooks.spotmix import SpotmixHook

        if self._cluster is None:
            hook = SpotmixHook(
                self.spotmix_conn_id,
                self.kubernetes_conn_id,
                in_cluster=self.in_cluster,
                config_file=self.config_file,
                cluster_context=self.cluster_context,
            )
            self._cluster = await hook.acluster()
        return self._cluster

    def _tell(self, message: str, warning: bool) -> None:
        (self.log.warning if warning else self.log.info)("%s", message)
