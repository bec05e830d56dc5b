"""Controller processes, to be killed: real ones, each a fork of one that has imported everything.

``python -m tests.chaos.controller PARENT`` reads one order per line from its stdin, forks, and answers with the child's
pid. Starting Python anew for each would cost a second of CPU; 500 schedules need a few each.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_spotmix.core.spec import AGENT, FleetSpec
from airflow_provider_spotmix.fleet.agent import Agent
from airflow_provider_spotmix.fleet.follow import wait_for_fleet
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.submit import delete_patiently
from airflow_provider_spotmix.fleet.voice import TellPerson
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.clock import ServerClock
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import Forbidden, NotFound, Unauthorized
from airflow_provider_spotmix.kube.rest import KubeClient
from airflow_provider_spotmix.kube.retry import Limits
from tests.chaos import defects

# Begins the last line of a controller that the namespace is gone for.
GIVES_UP = "gives up"
PR_SET_PDEATHSIG = 1  # prctl(2)
# As the defaults, but for how soon a silent peer is given up, which a test cannot wait for.
LIMITS = Limits(connect_seconds=2, call_seconds=4, watch_seconds=4, watch_slack_seconds=2, backoff_cap_seconds=2)


class Order(Struct, frozen=True, kw_only=True):
    """What a controller process is to do. ``directory``: for its log, and for the report when there is one."""

    name: str
    kubeconfig: str
    spec: FleetSpec
    directory: str
    skew_seconds: float = 0.0
    defect: str = ""


@dataclass
class PatientCluster:
    """The cluster as the hub sees it: with this test's limits, a wrong clock, and a defect if one is ordered."""

    config: ClusterConfig
    defect: str
    skew_seconds: float

    def identity(self) -> str:
        return self.config.identity()

    async def connect(self) -> Kube:
        client = await KubeClient.connect(self.config, LIMITS)
        client._session.clock = ServerClock(wall=lambda: time.time() + self.skew_seconds)
        return defects.wrapped(client, self.defect, secret=self.config.kube_config or "")


def main() -> None:
    """Serve orders until stdin ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: reaped by the kernel
    _die_with(int(sys.argv[1]))
    mother = os.getpid()
    # What a controller imports late, here once for all.
    __import__("kubernetes_asyncio.client")
    __import__("kubernetes_asyncio.config")
    for line in sys.stdin:
        ready, to_say = os.pipe()
        pid = os.fork()
        if pid == 0:
            _die_with(mother)
            os.write(to_say, b".")
            _child(line)
        os.read(ready, 1)  # nobody may stop it before that
        os.close(ready)
        os.close(to_say)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _die_with(parent: int) -> None:
    """Be killed when the parent dies, however that does, and whether we are paused."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _child(line: str) -> None:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        order = msgspec.json.decode(line, type=Order)
        log = os.open(Path(order.directory, f"{order.name}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        asyncio.run(_control(order))
        code = 0
    except asyncio.CancelledError:
        print("stopped", flush=True)
    except Unauthorized as error:
        print(f"refused: {error}", flush=True)  # as documented: the task fails, and is tried again
    except (Forbidden, NotFound) as error:  # likewise, where nothing may be made any more
        print(f"{GIVES_UP}: {error}", flush=True)
    except BaseException:  # noqa: BLE001 - the end of a process: whatever it was is told in its log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


async def _control(order: Order) -> None:
    """Look after the fleet as a trigger does: to the report, and to the deletion of what was submitted."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    cluster: Any = PatientCluster(ClusterConfig(kube_config=order.kubeconfig), order.defect, order.skew_seconds)
    hub = Hub(linger_seconds=0)
    try:
        looking_after = _as_agent if order.spec.controller == AGENT else wait_for_fleet
        end = await looking_after(hub, cluster, order.spec, tell=_tell)
        if "report" in end:
            told = defects.falsified(end["report"], order.defect)
            _write(Path(order.directory, f"report-{order.name}.json"), json.dumps(told))
        else:
            print(f"no report: {end}", flush=True)
        async with hub.client(cluster) as kube:
            await delete_patiently(kube, order.spec)
    finally:
        await hub.close()


async def _as_agent(hub: Hub, cluster: Any, spec: FleetSpec, *, tell: TellPerson) -> dict[str, Any]:
    """A namespace agent and a task that waits for it, who live and die together."""
    agent = asyncio.create_task(Agent(hub, cluster, spec.namespace, tell=tell).run())
    task = asyncio.create_task(wait_for_fleet(hub, cluster, spec, tell=tell))
    try:
        await asyncio.wait({agent, task}, return_when=asyncio.FIRST_COMPLETED)
        return await (task if task.done() else agent) or {}
    finally:
        agent.cancel()
        task.cancel()
        await asyncio.gather(agent, task, return_exceptions=True)


def _tell(message: str, warning: bool) -> None:
    print(f"{time.time():.3f} {'W' if warning else ' '} {message}", flush=True)


def _write(path: Path, text: str) -> None:
    """Whole or not at all: this process may be killed at any moment."""
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(text)
    part.rename(path)


if __name__ == "__main__":
    main()
