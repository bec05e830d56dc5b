"""`spotmix agent`: look after fleets in a namespace, without Airflow. Made to run as a Deployment (docs/agent.md)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from airflow_provider_spotmix.fleet.agent import Agent
    from airflow_provider_spotmix.kube.config import ClusterConfig

log = logging.getLogger("spotmix.agent")


@click.command()
@click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="Whose fleets; may be repeated. Default: the context's."
)
@click.option("--kubeconfig", help="Path of a kubeconfig. Default: in a pod its service account, else kubectl's own.")
@click.option("--context", help="A context of the kubeconfig. Default: its current one.")
@click.option(
    "--health-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="For probes; 0 for none."
)
@click.option("--health-host", default="0.0.0.0", show_default=True, help="Where the health port listens.")  # noqa: S104 - the kubelet comes from outside the pod
def agent(
    namespaces: tuple[str, ...], kubeconfig: str | None, context: str | None, health_port: int, health_host: str
) -> None:
    """Look after the fleets that were submitted with controller='agent', until told to end.

    Several agents in a namespace are one that works and others that wait to take over.
    """
    from airflow_provider_spotmix.kube.config import ClusterConfig

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    cluster = ClusterConfig(config_file=kubeconfig, context=context)
    asyncio.run(_run(cluster, namespaces or (cluster.resolve_namespace(),), health_host, health_port))


async def _run(cluster: ClusterConfig, namespaces: tuple[str, ...], host: str, port: int) -> None:
    from airflow_provider_spotmix.fleet.agent import Agent
    from airflow_provider_spotmix.fleet.hub import Hub

    hub = Hub.shared()
    agents = [Agent(hub, cluster, namespace, tell=_tell) for namespace in dict.fromkeys(namespaces)]
    work = asyncio.ensure_future(_all(agents))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        async with _health(agents, host, port):
            await work
    except asyncio.CancelledError:
        log.info("told to end: the fleets wait for the next agent")
    finally:
        await hub.close()


async def _all(agents: list[Agent]) -> None:
    """What one cannot go on without ends the process: whoever started it starts it again, and sees why."""
    work = [asyncio.ensure_future(each.run()) for each in agents]
    try:
        await asyncio.gather(*work)
    finally:
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)


@contextlib.asynccontextmanager
async def _health(agents: list[Agent], host: str, port: int) -> AsyncGenerator[None, None]:
    """Answer /healthz while the event loop turns, and /readyz while every Lease is held."""
    if not port:
        yield
        return
    from aiohttp import web

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"fleets": sum(each.fleets for each in agents)})

    async def readyz(_: web.Request) -> web.Response:
        ready = all(each.ready for each in agents)
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()


def _tell(message: str, warning: bool) -> None:
    log.log(logging.WARNING if warning else logging.INFO, "%s", message)
