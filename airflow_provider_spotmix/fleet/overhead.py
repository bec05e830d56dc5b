"""What interruptions cost in work: tasks that were lost with their executors, and tasks that were done twice.

Read from the REST API of the driver's Spark UI (docs: spark.apache.org/docs/latest/monitoring.html#rest-api), which is
there while the application runs, and only where the controller reaches the driver's pod. Nothing depends on it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

# A task that failed because an executor went says so in these words (Spark's `TaskEndReason.toErrorString`).
_LOST = ("ExecutorLostFailure", "FetchFailed")
CALL_SECONDS = 3.0
MAX_BYTES = 8 * 1024 * 1024
MAX_STAGES = 20  # whose failed tasks are looked at one by one: the newest
MAX_TASKS = 1000


class Overhead(Struct, frozen=True, kw_only=True):
    """Work that interruptions made void.

    Attributes:
        lost_tasks: that were cut short with an executor, or found its output gone.
        lost_task_seconds: how long these had run.
        repeated_tasks: that had succeeded and had to be done again, because their results went with an executor.
        repeated_task_seconds: how long these took; an estimate, from the mean task of each stage.

    """

    lost_tasks: int = 0
    lost_task_seconds: float = 0.0
    repeated_tasks: int = 0
    repeated_task_seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"interruptions cost {self.lost_tasks} tasks cut short ({self.lost_task_seconds:.1f} s) and"
            f" {self.repeated_tasks} done again (about {self.repeated_task_seconds:.1f} s)"
        )

    def __add__(self, other: Overhead) -> Overhead:
        return Overhead(
            lost_tasks=self.lost_tasks + other.lost_tasks,
            lost_task_seconds=round(self.lost_task_seconds + other.lost_task_seconds, 3),
            repeated_tasks=self.repeated_tasks + other.repeated_tasks,
            repeated_task_seconds=round(self.repeated_task_seconds + other.repeated_task_seconds, 3),
        )


class Stage(Struct, frozen=True, rename="camel"):
    """An attempt of a stage, as `/applications/ID/stages` lists it; ``executor_run_time`` in milliseconds."""

    stage_id: int
    attempt_id: int = 0
    num_tasks: int = 0
    num_complete_tasks: int = 0
    num_failed_tasks: int = 0
    executor_run_time: int = 0


class Task(Struct, frozen=True, rename="camel"):
    """A task, as `/stages/ID/ATTEMPT/taskList` lists it; ``duration`` in milliseconds."""

    duration: int = 0
    error_message: str = ""


def lost(tasks: Iterable[Task]) -> Overhead:
    """Sum up the failed tasks of a stage that an executor took with it."""
    found = [task for task in tasks if task.error_message.startswith(_LOST)]
    return Overhead(lost_tasks=len(found), lost_task_seconds=round(sum(task.duration for task in found) / 1000, 3))


def repeated(stages: Sequence[Stage]) -> Overhead:
    """Sum up what was computed more than once.

    Within an attempt, that is what it has completed beyond its number of tasks: Spark submits a task again whose output
    went with its executor. A later attempt exists only because output of the first one is gone: all of it.
    """
    total = Overhead()
    for stage in stages:
        again = stage.num_complete_tasks - (stage.num_tasks if stage.attempt_id == 0 else 0)
        if again <= 0 or not stage.num_complete_tasks:
            continue
        mean = stage.executor_run_time / 1000 / stage.num_complete_tasks
        total += Overhead(repeated_tasks=again, repeated_task_seconds=round(again * mean, 3))
    return total


class SparkUi:
    """The REST API of one driver's UI.

    Args:
        address: of the UI, as the driver's pod says it: an IP address with a port.
        application: what Spark calls it, ``spark-...``.

    """

    def __init__(self, address: str, application: str) -> None:
        self._base = f"http://{address}/api/v1/applications/{application}"

    async def overhead(self) -> Overhead:
        """Read what interruptions have cost so far.

        Raises:
            OSError: it cannot be reached, or does not answer in time.
            ValueError: the answer is not what Spark answers.

        """
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
                stages = await self._get(session, "stages", list[Stage])
                total = repeated(stages)
                failed = sorted((stage for stage in stages if stage.num_failed_tasks), key=lambda each: -each.stage_id)
                for stage in failed[:MAX_STAGES]:
                    path = f"stages/{stage.stage_id}/{stage.attempt_id}/taskList"
                    tasks = await self._get(session, path, list[Task], status="failed", length=str(MAX_TASKS))
                    total += lost(tasks)
                return total
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{type(error).__name__}: {error}") from error

    async def _get(self, session: aiohttp.ClientSession, path: str, kind: Any, **query: str) -> Any:
        async with session.get(f"{self._base}/{path}", params=query, allow_redirects=False) as answer:
            answer.raise_for_status()
            body = bytearray()
            async for chunk in answer.content.iter_chunked(65536):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"{path}: the answer is longer than {MAX_BYTES} bytes")
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}: {error}") from error


def ui_address(pod_ip: str, ports: Mapping[str, int]) -> str:
    """Return where a driver's UI listens; empty when its pod does not say so."""
    port = ports.get("spark-ui", 0)
    try:
        ip = ipaddress.ip_address(pod_ip)
    except ValueError:
        return ""
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    return f"{host}:{port}" if 0 < port < 65536 else ""
