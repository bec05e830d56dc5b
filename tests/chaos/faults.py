"""How each fault of a schedule is done. A table: a fault more is a function more, and a row in `schedule.KINDS`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_spotmix.kube.client import PatchType
from airflow_provider_spotmix.kube.errors import Conflict, KubeError, NotFound, TooManyRequests
from airflow_provider_spotmix.kube.objects import Pod, Raw
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES, NODES, PODS, Resource
from airflow_provider_spotmix.lab import parts
from airflow_provider_spotmix.lab.signals.karpenter import DISRUPTED
from tests.chaos import actors
from tests.chaos.schedule import OUTAGE
from tests.chaos.spark import APPLICATIONS

if TYPE_CHECKING:
    from tests.chaos.machines import Machine
    from tests.chaos.play import Run
    from tests.chaos.schedule import Fault

T = TypeVar("T")
QUOTAS: Resource[Raw] = Resource("", "v1", "resourcequotas", "ResourceQuota", Raw)


class MissedError(Exception):
    """What a fault would hit is not there."""


async def strike(run: Run, fault: Fault) -> None:
    """Do it, and note that it was done."""
    run.struck.append(fault.name)
    try:
        await _FAULTS[fault.name](run, fault)
    except MissedError:
        run.struck.remove(fault.name)


# -- controllers


async def _killed(run: Run, fault: Fault) -> None:
    await _ended(run, fault, signal.SIGKILL)


async def _stopped(run: Run, fault: Fault) -> None:
    await _ended(run, fault, signal.SIGTERM)


async def _ended(run: Run, fault: Fault, how: signal.Signals) -> None:
    victim = _one(run.running(), fault)
    if run.reports():
        raise MissedError
    if how is signal.SIGKILL:
        run.killed.add(victim.pid)
    victim.send(how)
    await asyncio.sleep(fault.seconds)
    if not run.reports():
        await run.start_controller()


async def _paused(run: Run, fault: Fault) -> None:
    victim = _one(run.running(), fault)
    run.killed.add(victim.pid)  # it may be taken for dead, and then nobody deletes its first Lease but a sweep
    victim.send(signal.SIGSTOP)
    await asyncio.sleep(fault.seconds)
    victim.send(signal.SIGCONT)


async def _doubled(run: Run, fault: Fault) -> None:
    if run.reports():
        raise MissedError
    await run.start_controller()


# -- the wire


async def _answers(run: Run, fault: Fault) -> None:
    run.wire.weather.answer = int(fault.name.rpartition("-")[2])
    await asyncio.sleep(fault.seconds)
    run.wire.weather.answer = 0


async def _answers_lost(run: Run, fault: Fault) -> None:
    run.wire.weather.lose_answers = True
    await asyncio.sleep(fault.seconds)
    run.wire.weather.lose_answers = False


async def _watches_gone(run: Run, fault: Fault) -> None:
    run.wire.weather.watches_gone = True
    run.wire.cut()
    await asyncio.sleep(fault.seconds)
    run.wire.weather.watches_gone = False


async def _watches_repeat(run: Run, fault: Fault) -> None:
    run.wire.weather.repeat = True
    await asyncio.sleep(fault.seconds)
    run.wire.weather.repeat = False


async def _cut(run: Run, fault: Fault) -> None:
    run.wire.cut()


async def _refused(run: Run, fault: Fault) -> None:
    run.wire.weather.refuse = True
    run.wire.cut()
    await asyncio.sleep(fault.seconds)
    run.wire.weather.refuse = False


async def _dead(run: Run, fault: Fault) -> None:
    run.wire.weather.deaden()


async def _slow(run: Run, fault: Fault) -> None:
    run.wire.weather.delay_seconds = 0.4
    await asyncio.sleep(fault.seconds)
    run.wire.weather.delay_seconds = 0.0


async def _api_server_restarts(run: Run, fault: Fault) -> None:
    lab = run.theatre.lab
    await asyncio.to_thread(lab.stop_component, parts.API_SERVER)
    await asyncio.sleep(fault.seconds)
    await asyncio.to_thread(lab.start_component, parts.API_SERVER)
    await run.machines.say_ready()


# -- nodes


async def _node_dies(run: Run, fault: Fault) -> None:
    _victim(run, fault).alive = False


async def _node_deleted(run: Run, fault: Fault) -> None:
    victim = _victim(run, fault)
    victim.alive = victim.registered = False
    with suppress(NotFound):
        await run.theatre.clients[actors.CLOUD].delete(NODES, victim.name)


async def _drained(run: Run, fault: Fault) -> None:
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


async def _shuts_down(run: Run, fault: Fault) -> None:
    victim = _victim(run, fault)
    await run.machines.shut_down(victim, _on(run, victim))


async def _spot_unobtainable(run: Run, fault: Fault) -> None:
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


async def _out_of_memory(run: Run, fault: Fault) -> None:
    pod = _executor(run, fault)
    if pod.status.phase != "Running":
        raise MissedError
    await run.machines.end(pod, phase="Failed", code=137, word="OOMKilled")


async def _evict(run: Run, pod: Pod, actor: str) -> None:
    evictions: Resource[dict[str, Any]] = Resource("", "v1", f"pods/{pod.metadata.name}/eviction", "Eviction", dict)
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod.metadata.name}}
    with suppress(NotFound, Conflict, TooManyRequests):  # gone, or changed: then it was not evicted
        await run.theatre.clients[actor].create(evictions, body, run.stage)


# -- what is there


async def _quota(run: Run, fault: Fault) -> None:
    person, name = run.theatre.clients[actors.PERSON], f"exhausted-{fault.at:g}"
    await person.create(QUOTAS, {"metadata": {"name": name}, "spec": {"hard": {"pods": "1"}}}, run.stage)
    await asyncio.sleep(fault.seconds)
    await person.delete(QUOTAS, name, run.stage)


async def _driver_restarts(run: Run, fault: Fault) -> None:
    if not run.spark.submission or run.spark.over:
        raise MissedError
    await run.spark.restart_driver()


async def _checkpoint_deleted(run: Run, fault: Fault) -> None:
    with suppress(NotFound):
        await run.theatre.clients[actors.PERSON].delete(CONFIG_MAPS, f"spotmix-{run.plan.spec.fleet_id}", run.stage)


async def _leases_deleted(run: Run, fault: Fault) -> None:
    person = run.theatre.clients[actors.PERSON]
    for lease in (await person.list(LEASES, run.stage)).items:
        with suppress(NotFound):
            await person.delete(LEASES, lease.metadata.name, run.stage)


async def _application_deleted(run: Run, fault: Fault) -> None:
    if run.spark.over:
        raise MissedError
    run.spark.over = True
    with suppress(NotFound):
        await run.theatre.clients[actors.PERSON].delete(APPLICATIONS, run.spark.name, run.stage)


async def _scales(run: Run, fault: Fault) -> None:
    run.spark.wanted = 1 + fault.which % 8


async def _ends(run: Run, fault: Fault) -> None:
    if not run.spark.submission or run.spark.over:
        raise MissedError
    await run.spark.end(*(("COMPLETED",) if fault.which % 2 else ("FAILED", "played")))


_FAULTS: dict[str, Callable[[Run, Fault], Awaitable[None]]] = {
    "controller-killed": _killed,
    "controller-stopped": _stopped,
    "controller-paused": _paused,
    "controller-doubled": _doubled,
    "answers-429": _answers,
    "answers-500": _answers,
    "answers-401": _answers,
    "answers-lost": _answers_lost,
    "watches-gone": _watches_gone,
    "watches-repeat": _watches_repeat,
    "connections-cut": _cut,
    "connections-refused": _refused,
    "connections-dead": _dead,
    "answers-slow": _slow,
    OUTAGE: _api_server_restarts,
    "node-dies": _node_dies,
    "node-deleted": _node_deleted,
    "node-drained": _drained,
    "node-shuts-down": _shuts_down,
    "executor-evicted": _evicted,
    "executor-deleted": _deleted,
    "executor-out-of-memory": _out_of_memory,
    "spot-unobtainable": _spot_unobtainable,
    "quota-exhausted": _quota,
    "driver-restarts": _driver_restarts,
    "checkpoint-deleted": _checkpoint_deleted,
    "leases-deleted": _leases_deleted,
    "application-deleted": _application_deleted,
    "application-scales": _scales,
    "application-ends": _ends,
}


def _one(there: list[T], fault: Fault) -> T:
    if not there:
        raise MissedError
    return there[fault.which % len(there)]


def _victim(run: Run, fault: Fault) -> Machine:
    return _one([each for each in run.machines.all.values() if each.alive and not each.safe], fault)


def _on(run: Run, machine: Machine) -> list[Pod]:
    return [pod for pod in run.pods.values() if pod.spec.node_name == machine.name]


def _executor(run: Run, fault: Fault) -> Pod:
    live = [pod for pod in run.spark.executors() if pod.metadata.deletion_timestamp is None]
    return _one(live, fault)
