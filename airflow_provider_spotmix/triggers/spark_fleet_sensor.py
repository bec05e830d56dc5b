"""`SparkFleetSensorTrigger`: waits in the triggerer until a fleet is as wished. Thin: `fleet/observe.py` does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent


class SparkFleetSensorTrigger(BaseTrigger):
    """Wait until a fleet is as wished or can never be, then fire one event.

    Its arguments are stored in Airflow's database and hold no secret: connections are named and read when it runs.

    Args:
        target: which applications, as plain values (`Target`).
        wish: what to wait for, as plain values (`Wish`).
        missing_seconds: how long to wait for the first application to be there.
        spotmix_conn_id: connection of type ``spotmix``.
        kubernetes_conn_id: connection of type ``kubernetes`` that is used before the one that the former names.

    """

    def __init__(
        self,
        *,
        target: dict[str, Any],
        wish: dict[str, Any],
        missing_seconds: float,
        spotmix_conn_id: str,
        kubernetes_conn_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.target = target
        self.wish = wish
        self.missing_seconds = missing_seconds
        self.spotmix_conn_id = spotmix_conn_id
        self.kubernetes_conn_id = kubernetes_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        names = ("target", "wish", "missing_seconds", "spotmix_conn_id", "kubernetes_conn_id")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait. What goes wrong with the cluster or the connection is the event's ``error``."""
        import msgspec

        from airflow_provider_spotmix.core.errors import SpotmixError
        from airflow_provider_spotmix.core.wish import Wish
        from airflow_provider_spotmix.fleet.hub import Hub
        from airflow_provider_spotmix.fleet.observe import wait_for
        from airflow_provider_spotmix.fleet.picture import Target
        from airflow_provider_spotmix.hooks.spotmix import SpotmixHook
        from airflow_provider_spotmix.kube.errors import KubeError

        try:
            outcome = await wait_for(
                Hub.shared(),
                await SpotmixHook(self.spotmix_conn_id, self.kubernetes_conn_id).acluster(),
                msgspec.convert(self.target, Target),
                msgspec.convert(self.wish, Wish),
                missing_seconds=self.missing_seconds,
                tell=self._tell,
            )
            payload = msgspec.to_builtins(outcome)
        except AirflowNotFoundException as error:
            payload = {"error": f"in the triggerer, {error} (an environment variable must be set there too)"}
        except (KubeError, SpotmixError) as error:
            payload = {"error": str(error)}
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow's

    def _tell(self, message: str, warning: bool) -> None:
        (self.log.warning if warning else self.log.info)("%s", message)
