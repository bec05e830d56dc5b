"""How each fault of a schedule is done. A table: a fault more is a function more, and a row in `schedule.KINDS`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_spotmix.kube.errors import NotFound
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, LEASES, NAMESPACES, Resource
from airflow_provider_spotmix.lab import parts
from tests.chaos import actors, provider
from tests.chaos.provider import MissedError, one
from tests.chaos.schedule import OUTAGE
from tests.chaos.spark import APPLICATIONS

if TYPE_CHECKING:
    from tests.chaos.play import Run
    from tests.chaos.played import PlayedRun
    from tests.chaos.schedule import Fault

QUOTAS: Resource[Raw] = Resource("", "v1", "resourcequotas", "ResourceQuota", Raw)


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
    victim = one(run.running(), fault)
    if run.reports():
        raise MissedError
    if how is signal.SIGKILL:
        run.killed.add(victim.pid)
    victim.send(how)
    await asyncio.sleep(fault.seconds)
    if not run.reports():
        await run.start_controller()


async def _paused(run: Run, fault: Fault) -> None:
    victim = one(run.running(), fault)
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


async def _placements_refused(run: Run, fault: Fault) -> None:
    """By a policy, or for want of a permission."""
    run.wire.weather.refuse_placements = True
    await asyncio.sleep(fault.seconds)
    run.wire.weather.refuse_placements = False


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
    await run.recover()


# -- what is there


async def _quota(run: Run, fault: Fault) -> None:
    person, name = run.theatre.clients[actors.PERSON], f"exhausted-{fault.at:g}"
    await person.create(QUOTAS, {"metadata": {"name": name}, "spec": {"hard": {"pods": "1"}}}, run.stage)
    await asyncio.sleep(fault.seconds)
    await person.delete(QUOTAS, name, run.stage)


async def _driver_restarts(run: PlayedRun, fault: Fault) -> None:
    if not run.spark.submission or run.spark.over:
        raise MissedError
    await run.spark.restart_driver()


async def _checkpoint_deleted(run: Run, fault: Fault) -> None:
    with suppress(NotFound):
        await run.theatre.clients[actors.PERSON].delete(CONFIG_MAPS, f"spotmix-{run.plan.spec.fleet_id}", run.stage)


async def _checkpoint_spoilt(run: Run, fault: Fault) -> None:
    body = {"data": {"checkpoint": "spoilt"}}
    with suppress(NotFound):
        person = run.theatre.clients[actors.PERSON]
        await person.patch(CONFIG_MAPS, f"spotmix-{run.plan.spec.fleet_id}", body, run.stage)


async def _namespace_deleted(run: PlayedRun, fault: Fault) -> None:
    run.spark.over = True
    await run.theatre.clients[actors.PERSON].delete(NAMESPACES, run.stage)


async def _leases_deleted(run: Run, fault: Fault) -> None:
    person = run.theatre.clients[actors.PERSON]
    for lease in (await person.list(LEASES, run.stage)).items:
        with suppress(NotFound):
            await person.delete(LEASES, lease.metadata.name, run.stage)


async def _application_deleted(run: PlayedRun, fault: Fault) -> None:
    if run.spark.over:
        raise MissedError
    run.spark.over = True
    with suppress(NotFound):
        await run.theatre.clients[actors.PERSON].delete(APPLICATIONS, run.spark.name, run.stage)


async def _scales(run: PlayedRun, fault: Fault) -> None:
    run.spark.wanted = 1 + fault.which % 8


async def _ends(run: PlayedRun, fault: Fault) -> None:
    if not run.spark.submission or run.spark.over:
        raise MissedError
    await run.spark.end(*(("COMPLETED",) if fault.which % 2 else ("FAILED", "played")))


_FAULTS: dict[str, Callable[[Any, Fault], Awaitable[None]]] = {
    **provider.FAULTS,
    "controller-killed": _killed,
    "controller-stopped": _stopped,
    "controller-paused": _paused,
    "controller-doubled": _doubled,
    "answers-429": _answers,
    "answers-500": _answers,
    "answers-401": _answers,
    "answers-lost": _answers_lost,
    "placements-refused": _placements_refused,
    "watches-gone": _watches_gone,
    "watches-repeat": _watches_repeat,
    "connections-cut": _cut,
    "connections-refused": _refused,
    "connections-dead": _dead,
    "answers-slow": _slow,
    OUTAGE: _api_server_restarts,
    "quota-exhausted": _quota,
    "driver-restarts": _driver_restarts,
    "checkpoint-deleted": _checkpoint_deleted,
    "checkpoint-spoilt": _checkpoint_spoilt,
    "leases-deleted": _leases_deleted,
    "namespace-deleted": _namespace_deleted,
    "application-deleted": _application_deleted,
    "application-scales": _scales,
    "application-ends": _ends,
}
