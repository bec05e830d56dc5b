"""A TCP proxy before a real API server, whose wires can be cut or go dead."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_spotmix.kube.config import ClusterConfig

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.retry import Limits


class Proxy:
    """Forwards bytes; TLS passes through it untouched."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._wires: set[asyncio.StreamWriter] = set()
        self._alive = asyncio.Event()
        self._alive.set()
        self._parted: list[asyncio.Event] = []
        self.refusing = False

    def cut(self) -> None:
        """Break all connections, as a server that restarts does."""
        for wire in list(self._wires):
            wire.transport.abort()

    def deaden(self) -> None:
        """Let present connections stand open for ever without a byte, as after the loss of a host or a NAT entry."""
        self.part()
        self.mend()

    def part(self) -> None:
        """Let nothing through and break nothing, until `mend`: present connections hear nothing, nor do new ones."""
        self._alive.clear()
        self._parted.append(self._alive)

    def mend(self) -> None:
        """Serve new connections again; those from before stay dead."""
        self._alive = asyncio.Event()
        self._alive.set()

    def close(self) -> None:
        """Break all connections, and let go of those that are dead."""
        self.cut()
        for alive in self._parted:
            alive.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._wires |= {writer, upstream_writer}
        alive = self._alive
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_forward(reader, upstream_writer, alive))
                group.create_task(_forward(upstream_reader, writer, alive))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, upstream_writer):
                each.transport.abort()
            self._wires -= {writer, upstream_writer}


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alive: asyncio.Event) -> None:
    while data := await reader.read(2**16):
        await alive.wait()
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


@dataclass
class ProxiedCluster:
    """The cluster as the hub sees it through the proxy, with limits that suit a test."""

    config: ClusterConfig
    limits: Limits

    def identity(self) -> str:
        return self.config.identity()

    async def connect(self) -> Kube:
        return await self.config.connect(self.limits)


@asynccontextmanager
async def proxied(cluster: ClusterConfig, limits: Limits) -> AsyncGenerator[tuple[Proxy, ProxiedCluster], None]:
    chosen = cluster.select()
    server = urlsplit(chosen.server)
    assert server.hostname is not None
    proxy = Proxy(server.hostname, server.port or 443)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    through = {**chosen.cluster, "server": f"https://127.0.0.1:{port}", "tls-server-name": server.hostname}
    content = {
        "current-context": "proxied",
        "clusters": [{"name": "c", "cluster": through}],
        "users": [{"name": "u", "user": dict(chosen.user)}],
        "contexts": [{"name": "proxied", "context": {"cluster": "c", "user": "u"}}],
    }
    try:
        yield proxy, ProxiedCluster(ClusterConfig(kube_config=json.dumps(content)), limits)
    finally:
        listener.close()
        proxy.close()
        await listener.wait_closed()
