"""Show a fleet's progress in its task's XCom, from the triggerer.

Its supervisor writes one XCom after the other, ahead of everybody's events: all fleets of the process share one pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import XCom, conf

from airflow_provider_spotmix.hooks.xcom import XCOM_FLEET

if TYPE_CHECKING:
    from airflow_provider_spotmix.core.spec import FleetSpec
    from airflow_provider_spotmix.fleet.hub import Hub
    from airflow_provider_spotmix.fleet.progress import Progress
    from airflow_provider_spotmix.fleet.showing import Pace
    from airflow_provider_spotmix.fleet.voice import TellPerson

WRITES_PER_SECOND = 5.0

T = TypeVar("T")

_paces: WeakKeyDictionary[Hub, Pace] = WeakKeyDictionary()
_calls: set[asyncio.Task[Any]] = set()


@asynccontextmanager
async def shown_in_xcom(ti: Any, spec: FleetSpec, hub: Hub, *, tell: TellPerson) -> AsyncGenerator[Progress, None]:
    """Follow a fleet's progress in the task's XCom and in metrics until the block is left; go on with what is there.

    Args:
        ti: the task instance; None where there is none, and nothing to write to.
        spec: the fleet.
        hub: of this process.
        tell: tells a person what cannot be shown.

    """
    from airflow_provider_spotmix.fleet.progress import Progress
    from airflow_provider_spotmix.fleet.showing import Pace, shown
    from airflow_provider_spotmix.fleet.voice import Voice
    from airflow_provider_spotmix.hooks.metrics import FleetMetrics, prepare_trigger_process

    if ti is None:
        yield Progress(spec)
        return
    if hub not in _paces:
        _paces[hub] = Pace(conf.getfloat("spotmix", "progress_writes_per_second", fallback=WRITES_PER_SECOND))
    voice = Voice(tell)
    map_index = -1 if ti.map_index is None else ti.map_index
    where = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": map_index}
    before: Any = None
    try:
        before = await _whole(_read(where))
    except Exception as error:  # noqa: BLE001 - whatever an XCom backend raises
        voice.trouble("progress", f"what was shown of the fleet before cannot be read: {error}")

    async def put(picture: dict[str, Any]) -> None:
        await _whole(_write(picture, where))

    before = before if isinstance(before, dict) else None
    prepare_trigger_process()
    metrics = FleetMetrics(ti.dag_id, ti.task_id, before=before)
    try:
        async with shown(spec, put, pace=_paces[hub], voice=voice, watch=metrics.observe, before=before) as progress:
            yield progress
    finally:
        metrics.leave()


async def _read(where: dict[str, Any]) -> Any:
    if hasattr(XCom, "aget_one"):
        return await XCom.aget_one(key=XCOM_FLEET, **where)
    return await asyncio.to_thread(XCom.get_one, key=XCOM_FLEET, **where)


async def _write(picture: dict[str, Any], where: dict[str, Any]) -> None:
    if hasattr(XCom, "aset"):
        await XCom.aset(XCOM_FLEET, picture, **where)
    else:  # before Airflow 3.3
        await asyncio.to_thread(XCom.set, XCOM_FLEET, picture, **where)


async def _whole(call: Coroutine[Any, Any, T]) -> T:
    """Let a call come to its end, be its trigger cancelled.

    Before Airflow 3.3, half a conversation with the supervisor leaves the next one with the wrong answer.
    """
    work = asyncio.create_task(call)
    _calls.add(work)
    work.add_done_callback(_calls.discard)
    return await asyncio.shield(work)
