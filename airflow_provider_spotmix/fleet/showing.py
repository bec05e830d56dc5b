"""Show a fleet's progress somewhere that takes few writes: on change, the newest picture, the last one always."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.progress import Progress
from airflow_provider_spotmix.fleet.voice import Voice

# Of one fleet: a page polls every two seconds, so that more would be seen by nobody.
FLEET_SECONDS = 2.0
# Costs grow although nothing happens.
STALE_SECONDS = 30.0
# A last write that takes longer is given up: the fleet's own end must not wait for it.
LAST_WRITE_SECONDS = 20.0

Put = Callable[[dict[str, Any]], Awaitable[None]]
Watch = Callable[[dict[str, Any], Progress], None]


class Pace:
    """Turns for whoever wants to write, so many per second, first come, first served."""

    def __init__(self, per_second: float) -> None:
        """Set the pace; ``per_second`` is above zero."""
        self._gap_seconds = 1 / per_second
        self._lock = asyncio.Lock()  # wakes those who wait in their order
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for one's turn."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now < self._next:
                await asyncio.sleep(self._next - now)
            self._next = max(now, self._next) + self._gap_seconds


@asynccontextmanager
async def shown(
    spec: FleetSpec,
    put: Put,
    *,
    pace: Pace,
    voice: Voice,
    watch: Watch = lambda picture, progress: None,
    before: Mapping[str, Any] | None = None,
) -> AsyncGenerator[Progress, None]:
    """Follow a fleet's progress and show it until the block is left.

    Args:
        spec: the fleet.
        put: writes a picture. Whatever it raises is told once, and harms nothing.
        pace: of all who write to the same place.
        voice: tells what cannot be shown.
        watch: sees each picture before it is written.
        before: the picture that is there, of an earlier controller.

    """
    news = asyncio.Event()
    progress = Progress(spec, before=before, changed=news.set)

    async def put_watched(picture: dict[str, Any]) -> None:
        try:
            watch(picture, progress)
        except Exception as error:  # noqa: BLE001 - nobody's fleet, and nobody's view, depends on who watches
            voice.trouble("watch", f"the fleet's metrics are not told: {error}")
        await put(picture)

    writing = asyncio.create_task(_keep_writing(progress, news, put_watched, pace, voice))
    try:
        yield progress
    except Exception as error:
        await _stop(writing)
        progress.end("failed", str(error))
        await _write_last(progress, put_watched, voice)
        raise
    except BaseException:  # stopped, not over: whoever goes on with the fleet goes on with this
        await _stop(writing)
        raise
    await _stop(writing)
    await _write_last(progress, put_watched, voice)


async def _keep_writing(progress: Progress, news: asyncio.Event, put: Put, pace: Pace, voice: Voice) -> None:
    while True:
        try:
            async with asyncio.timeout(STALE_SECONDS):
                await news.wait()
        except TimeoutError:
            if not progress.is_going_on:
                continue
        await pace.turn()
        news.clear()
        await _write(progress, put, voice)
        await asyncio.sleep(FLEET_SECONDS)


async def _write_last(progress: Progress, put: Put, voice: Voice) -> None:
    """Out of turn: there is one such write in a fleet's life, and what waits for it is a task."""
    try:
        async with asyncio.timeout(LAST_WRITE_SECONDS):
            await _write(progress, put, voice)
    except TimeoutError:
        voice.trouble("progress", "the fleet's last state is not shown: writing it takes too long")


async def _write(progress: Progress, put: Put, voice: Voice) -> None:
    try:
        await put(progress.picture())
    except Exception as error:  # noqa: BLE001 - whatever it writes to may raise; no fleet depends on it
        voice.trouble("progress", f"the fleet's progress is not shown for now: {error}")
    else:
        voice.settled("progress")


async def _stop(writing: asyncio.Task[None]) -> None:
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
