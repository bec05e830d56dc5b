"""Follow what drivers write while they run, for a person who asked for it. Bounded: a driver may write anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.driver_log import LIMIT_BYTES, read_driver_log
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.voice import TellPerson
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import KubeError

FOLLOW_SECONDS = 5.0
# Of one driver at a time; a task's log is no place for more.
MAX_LINES = 200


@asynccontextmanager
async def driver_logs_followed(
    hub: Hub, cluster: ClusterConfig, spec: FleetSpec, progress: Progress, *, tell: TellPerson
) -> AsyncGenerator[None]:
    """Tell what the fleet's drivers write, until the block is left; once more when it is left in order.

    Args:
        hub: the process's watch hub.
        cluster: where the fleet runs.
        spec: the fleet.
        progress: knows the drivers' pods.
        tell: called with each line.

    """
    async with hub.client(cluster) as kube:
        follower = DriverLogs(kube, spec.namespace, progress, tell)
        work = asyncio.create_task(follower.keep_telling())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        await follower.tell_news()


class DriverLogs:
    """Tells each line of each driver once, and says how many it leaves out."""

    def __init__(self, kube: Kube, namespace: str, progress: Progress, tell: TellPerson) -> None:
        """Begin with the end of what there is: an earlier controller may have told the rest."""
        self._kube = kube
        self._namespace = namespace
        self._progress = progress
        self._tell = tell
        self._told: dict[str, str] = {}  # time of the last line, by pod

    async def keep_telling(self) -> None:
        """Tell what is new, again and again."""
        while True:
            await self.tell_news()
            await asyncio.sleep(FOLLOW_SECONDS)

    async def tell_news(self) -> None:
        """Tell what is new. A log that cannot be read now is read the next time, or at the end."""
        for pod in self._progress.driver_pods():
            try:
                lines = await self._new_lines(pod)
            except KubeError:
                continue
            if (left_out := len(lines) - MAX_LINES) > 0:
                self._tell(f"[{pod}] ... {left_out} lines left out: the driver writes more than is followed", False)
            for line in lines[-MAX_LINES:]:
                self._tell(f"[{pod}] {line}", False)

    async def _new_lines(self, pod: str) -> list[str]:
        last = self._told.get(pod)
        how = {"since_time": last, "limit_bytes": LIMIT_BYTES} if last else {"tail_lines": MAX_LINES}
        log = await read_driver_log(self._kube, self._namespace, pod, timestamps=True, **how)
        lines = [line.partition(" ") for line in log.splitlines()]
        new = [(at, text) for at, _, text in lines if not last or _in_order(at) > _in_order(last)]
        if new:
            self._told[pod] = new[-1][0]
        return [text for _, text in new]


def _in_order(at: str) -> str:
    """Times with as many digits as needed (``...05.1Z``, ``...05.12Z``) as text that sorts like them."""
    seconds, _, fraction = at.rstrip("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"
