"""Sweep a namespace when the first trigger there starts: what a killed task left while no triggerer looked after it.

In the background, and never in the way of a fleet. Airflow calls nobody when a deferred task is killed whose trigger
has not started yet, or while no triggerer runs.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from airflow_provider_spotmix.fleet.hub import Hub
    from airflow_provider_spotmix.fleet.sweep import TaskKey
    from airflow_provider_spotmix.kube.config import ClusterConfig
    from airflow_provider_spotmix.manifests.identity import TaskRef

log = logging.getLogger(__name__)

# A trigger that starts this long after the last sweep begins another one.
INTERVAL_SECONDS = 600.0
# Runs in one question: they become part of a URL.
_RUNS = 20

_swept: WeakKeyDictionary[Hub, dict[tuple[str, str], float]] = WeakKeyDictionary()
_sweeping: set[asyncio.Task[None]] = set()


def sweep_in_background(hub: Hub, cluster: ClusterConfig, namespace: str) -> asyncio.Task[None] | None:
    """Start a sweep, unless this process has swept there lately. What goes wrong with it is logged and no more."""
    now = asyncio.get_running_loop().time()
    last = _swept.setdefault(hub, {})
    key = (cluster.identity(), namespace)
    if key in last and now - last[key] < INTERVAL_SECONDS:
        return None
    last[key] = now
    # An empty context, or its lines would go to the log of the task whose trigger happened to be the first.
    work = asyncio.get_running_loop().create_task(_sweep(hub, cluster, namespace), context=contextvars.Context())
    _sweeping.add(work)
    work.add_done_callback(_sweeping.discard)
    return work


async def _sweep(hub: Hub, cluster: ClusterConfig, namespace: str) -> None:
    from airflow_provider_spotmix.fleet.leftovers import delete_leftover, find_dead_leases
    from airflow_provider_spotmix.fleet.sweep import sweep
    from airflow_provider_spotmix.hooks.instance import instance_name, is_distinctive

    try:
        if not is_distinctive():
            log.info(
                "fleets that were left behind are not looked for: this Airflow has no name of its own; set [spotmix]"
                " instance"
            )
            return
        async with hub.client(cluster) as kube:
            await sweep(kube, namespace, instance=instance_name(), ask=ask_states, log=_tell)
            for lease in await find_dead_leases(kube, namespace):
                if await delete_leftover(kube, lease):
                    log.info("deleted Lease %s in namespace %s: %s", lease.metadata.name, namespace, lease.why)
    except Exception as error:  # noqa: BLE001 - it must not matter to any fleet
        log.warning("fleets that were left behind in namespace %s are not looked for: %s", namespace, error)


async def ask_states(tasks: Sequence[TaskRef]) -> dict[TaskKey, str | None]:
    """Ask the triggerer's supervisor for the states of task instances; one that it does not know is gone.

    Raises:
        Exception: Airflow gives no answer.

    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from asgiref.sync import sync_to_async

    from airflow_provider_spotmix.fleet.sweep import GONE, key_of, state_name

    by_task: dict[tuple[str, str], list[TaskRef]] = {}
    for task in tasks:
        by_task.setdefault((task.dag_id, task.task_id), []).append(task)
    states: dict[TaskKey, str | None] = {}
    for (dag_id, task_id), same in by_task.items():
        runs = sorted({task.run_id for task in same})
        answer: dict[str, dict[str, str | None]] = {}
        for first in range(0, len(runs), _RUNS):
            # One task per question: in the answer, a task's map index looks like the end of another one's name.
            answer |= await sync_to_async(RuntimeTaskInstance.get_task_states)(
                dag_id=dag_id, task_ids=[task_id], run_ids=runs[first : first + _RUNS]
            )
        for task in same:
            of_run = answer.get(task.run_id, {})
            states[key_of(task)] = of_run.get(state_name(task_id, task.map_index), GONE)
    return states


def _tell(message: str, warning: bool) -> None:
    (log.warning if warning else log.info)("%s", message)
