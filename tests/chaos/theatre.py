"""What all schedules of a run share: the lab, a client for each actor, the mother of the controllers, the audit log."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp

from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import NotFound
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.kube.retry import Limits
from airflow_provider_spotmix.lab import parts
from airflow_provider_spotmix.lab.config import LabConfig, nodes_of
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.pools import ON_DEMAND, SPOT, PoolConfig
from tests.chaos import actors, audit
from tests.chaos.processes import Nursery, nursery
from tests.chaos.spark import APPLICATIONS

# A lab for played fleets: no operator, and a node only because a lab has at least one.
IDLE = PoolConfig("idle", ON_DEMAND, nodes=1, cpu="0")
IDLE_NODE = "idle-1"
REAL = LabConfig(
    nodes=nodes_of(PoolConfig("spot", SPOT, nodes=3), PoolConfig("on-demand", ON_DEMAND, nodes=4)), audit="keep"
)
PLAYED = LabConfig(nodes=nodes_of(IDLE), without=(parts.OPERATOR,), audit="keep")
ACTORS = (actors.OPERATOR, actors.DRIVER, actors.KUBELET, actors.PERSON, actors.CLOUD, actors.STAGE)
POLL_SECONDS = 0.5
THREADS = 48  # for the lab's signals, which block while they last
# Actors outlive an outage of the API server.
PATIENT = Limits(attempts=30, backoff_cap_seconds=0.5)
# Namespaces and nodes are named so that each line of the audit log says whose it is.
_ANY = {
    "type": "Python",
    "mode": "cluster",
    "sparkVersion": "4.0.4",
    "mainApplicationFile": "local:///none.py",
    "driver": {},
    "executor": {},
}
STAGE_NAME = re.compile(r"chaos-[0-9]+-[0-9a-f]{4}")


class AuditTail:
    """Follows the audit log and sorts what is worth keeping by stage; ``nodes``: that all stages share."""

    def __init__(self, path: Path, nodes: frozenset[str] = frozenset()) -> None:
        self._path = path
        self._nodes = nodes
        self._kept: dict[str, list[audit.Line]] = defaultdict(list)
        self._rest = b""
        self._file: BinaryIO | None = None

    async def follow(self) -> None:
        """Read on, for ever."""
        while True:
            self.read_on()
            await asyncio.sleep(POLL_SECONDS)

    def read_on(self) -> None:
        """Read what has come since the last time."""
        self._file = self._file or self._path.open("rb")
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for text in lines:
            line = audit.parse_cut(text)
            if line is None:
                continue
            # Events of nodes are in no stage's namespace.
            if stage := STAGE_NAME.match(line.namespace) or STAGE_NAME.match(line.name):
                self._kept[stage.group()].append(line)
            elif line.name.partition(".")[0] in self._nodes:
                self._kept[""].append(line)

    def take(self, stage: str = "") -> list[audit.Line]:
        """All lines about a stage, or about the nodes that all share; they are forgotten here."""
        self.read_on()
        return self._kept.pop(stage, [])

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


@dataclass
class Theatre:
    """Where schedules are played. ``closing``: the lab is about to go, so nobody need tidy up.

    ``collecting``: done when Kubernetes collects garbage of all kinds.
    """

    lab: Lab
    kubeconfig: Path
    server: str
    clients: dict[str, Kube]
    nursery: Nursery
    session: aiohttp.ClientSession
    tail: AuditTail
    collecting: asyncio.Task[None]
    threads: ThreadPoolExecutor
    directory: Path
    keeps_all: bool = False
    closing: bool = False


@asynccontextmanager
async def theatre(lab: Lab, directory: Path, *, keeps_all: bool = False) -> AsyncGenerator[Theatre]:
    """Open a theatre in a lab whose audit log is kept.

    ``directory`` gets the logs of what is played, and the evidence of what is wrong; with ``keeps_all`` all of it.
    """
    async with AsyncExitStack() as stack:
        mother = await stack.enter_async_context(nursery())
        clients = {}
        for actor in ACTORS:
            clients[actor] = await actors.acting_as(lab.kubeconfig, actor).connect(PATIENT)
            stack.push_async_callback(clients[actor].close)
        chosen = actors.acting_as(lab.kubeconfig, actors.STAGE).select()
        tls = ssl.create_default_context(cadata=actors.authority(lab.kubeconfig))
        connector = aiohttp.TCPConnector(ssl=tls, limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, read_bufsize=2**22))
        tail = AuditTail(lab.files.audit_log, frozenset(lab.nodes.alive()) - {IDLE_NODE})
        stack.callback(tail.close)
        following = asyncio.create_task(tail.follow())
        stack.callback(following.cancel)
        collecting = asyncio.create_task(_until_garbage_is_collected(clients[actors.STAGE]))
        stack.callback(collecting.cancel)
        threads = ThreadPoolExecutor(THREADS)
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        yield Theatre(
            lab,
            lab.kubeconfig,
            chosen.server,
            clients,
            mother,
            session,
            tail,
            collecting,
            threads,
            directory,
            keeps_all,
        )


async def _until_garbage_is_collected(kube: Kube) -> None:
    """Wait until the garbage collector knows the applications' kind: up to 30 s after the lab's start it does not."""
    body = {"metadata": {"name": "known"}, "spec": _ANY}
    owner = await kube.create(APPLICATIONS, body, "default")
    reference = {"apiVersion": APPLICATIONS.api_version, "kind": APPLICATIONS.kind, "name": "known"}
    metadata = {"name": "known", "ownerReferences": [{**reference, "uid": owner.metadata.uid}]}
    await kube.create(CONFIG_MAPS, {"metadata": metadata}, "default")
    await kube.delete(APPLICATIONS, "known", "default")
    with suppress(NotFound):
        while True:
            await kube.get(CONFIG_MAPS, "known", "default")
            await asyncio.sleep(0.2)
