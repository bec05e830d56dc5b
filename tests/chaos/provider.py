"""What happens to nodes and executors: what a provider of machines does, and what its signals are.

Those of `airflow_provider_spotmix.lab.signals` are played through the API objects that the real things write, on played
nodes as on the lab's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_spotmix.kube.client import PatchType
from airflow_provider_spotmix.kube.errors import Conflict, Forbidden, KubeError, NotFound, TooManyRequests
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import NODES, PODS, Resource
from airflow_provider_spotmix.lab import access, signals
from airflow_provider_spotmix.lab.api import ApiError
from airflow_provider_spotmix.lab.progress import Silent
from airflow_provider_spotmix.lab.signals.karpenter import DISRUPTED
from airflow_provider_spotmix.lab.signals.scene import Scene
from tests.chaos import actors
from tests.chaos.schedule import SIGNAL

if TYPE_CHECKING:
    from tests.chaos.machines import Machine
    from tests.chaos.play import Run
    from tests.chaos.played import PlayedRun
    from tests.chaos.schedule import Fault

T = TypeVar("T")


class MissedError(Exception):
    """What a fault would hit is not there."""


def one(there: list[T], fault: Fault) -> T:
    """Which of them it hits."""
    if not there:
        raise MissedError
    return there[fault.which % len(there)]


async def signalled(run: Run, fault: Fault) -> None:
    """A provider's signal, with so many seconds between notice and end."""
    api = access.client(run.theatre.kubeconfig)
    api.headers |= {"Impersonate-User": actors.CLOUD, "Impersonate-Group": "system:masters"}
    node = one(run.victims(), fault)
    scene = Scene(api, run.machinery(), node, fault.seconds, Silent())
    signal = signals.SIGNALS[fault.name.removeprefix(SIGNAL)]
    loop = asyncio.get_running_loop()
    with suppress(ApiError):  # another fault has taken the node away meanwhile
        await loop.run_in_executor(run.theatre.threads, partial(signal.play, scene))


# -- nodes


async def _node_dies(run: PlayedRun, fault: Fault) -> None:
    _victim(run, fault).alive = False


async def _node_deleted(run: PlayedRun, fault: Fault) -> None:
    victim = _victim(run, fault)
    victim.alive = victim.registered = False
    with suppress(NotFound):
        await run.theatre.clients[actors.CLOUD].delete(NODES, victim.name)


async def _drained(run: PlayedRun, fault: Fault) -> None:
    """As Karpenter does: a taint, then evictions, then the node goes."""
    cloud = run.theatre.clients[actors.CLOUD]
    victim = _victim(run, fault)
    await cloud.patch(NODES, victim.name, {"spec": {"taints": [DISRUPTED]}}, kind=PatchType.STRATEGIC)
    await asyncio.sleep(fault.seconds)
    for pod in _on(run, victim):
        await _evict(run, pod, actors.CLOUD)
    await asyncio.sleep(1.0)
    victim.alive = victim.registered = False
    with suppress(NotFound):  # by another fault
        await cloud.delete(NODES, victim.name)


async def _shuts_down(run: PlayedRun, fault: Fault) -> None:
    victim = _victim(run, fault)
    await run.machines.shut_down(victim, _on(run, victim))


async def _spot_unobtainable(run: PlayedRun, fault: Fault) -> None:
    """No spot node takes a pod; those that run there stay."""
    cloud = run.theatre.clients[actors.CLOUD]
    nodes = [machine.name for machine in run.machines.all.values() if machine.pool == "spot"]
    for unschedulable in (True, False):
        for name in nodes:
            with suppress(KubeError):  # deleted by another fault
                await cloud.patch(NODES, name, {"spec": {"unschedulable": unschedulable}})
        if unschedulable:
            await asyncio.sleep(fault.seconds)


# -- executors


async def _evicted(run: Run, fault: Fault) -> None:
    await _evict(run, _executor(run, fault), actors.CLOUD)


async def _deleted(run: Run, fault: Fault) -> None:
    name = _executor(run, fault).metadata.name
    with suppress(NotFound):
        await run.theatre.clients[actors.PERSON].delete(PODS, name, run.stage)


async def _out_of_memory(run: PlayedRun, fault: Fault) -> None:
    pod = _executor(run, fault)
    if pod.status.phase != "Running":
        raise MissedError
    await run.machines.end(pod, phase="Failed", code=137, word="OOMKilled")


async def _evict(run: Run, pod: Pod, actor: str) -> None:
    evictions: Resource[dict[str, Any]] = Resource("", "v1", f"pods/{pod.metadata.name}/eviction", "Eviction", dict)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod.metadata.name}}
    with suppress(NotFound, Conflict, TooManyRequests, Forbidden):  # gone with all there is, or changed: not evicted
        await run.theatre.clients[actor].create(evictions, body, run.stage)


def _victim(run: PlayedRun, fault: Fault) -> Machine:
    return run.machines.all[one(run.victims(), fault)]


def _on(run: Run, machine: Machine) -> list[Pod]:
    return [pod for pod in run.pods.values() if pod.spec.node_name == machine.name]


def _executor(run: Run, fault: Fault) -> Pod:
    return one([pod for pod in run.executors() if pod.metadata.deletion_timestamp is None], fault)


FAULTS: dict[str, Callable[[Any, Fault], Awaitable[None]]] = {
    "node-dies": _node_dies,
    "node-deleted": _node_deleted,
    "node-drained": _drained,
    "node-shuts-down": _shuts_down,
    "executor-evicted": _evicted,
    "executor-deleted": _deleted,
    "executor-out-of-memory": _out_of_memory,
    "spot-unobtainable": _spot_unobtainable,
    **{f"{SIGNAL}{name}": signalled for name in signals.SIGNALS},
}
