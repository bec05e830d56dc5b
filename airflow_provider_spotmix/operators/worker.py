"""Run asynchronous work from a task's main thread, and end it cleanly when a signal comes.

Airflow ends a task in a worker by signals: their handlers call ``on_kill`` or raise (a timeout) in the main thread. If
an event loop ran there, they would strike in the middle of any callback, whose task would swallow the exception, and
``on_kill`` could start no loop of its own. So the loop gets a thread, and the main thread does nothing but wait for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

# Airflow kills five seconds after it asked, and the fleet has yet to be deleted in that time.
STOP_SECONDS = 2.5


class Work:
    """One piece of asynchronous work, on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self._known = threading.RLock()  # a second signal may strike in `stop` itself
        self._stopped = False
        self._task: asyncio.Task[Any] | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run it and return its result. Whatever is raised in this thread meanwhile stops the work first.

        Raises:
            asyncio.CancelledError: it was stopped.

        """
        outcome: Future[T] = Future()

        def on_loop() -> None:
            try:
                outcome.set_result(asyncio.run(self._main(work)))
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                outcome.set_exception(error)

        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(on_loop,), name="spotmix", daemon=True
        )
        try:
            self._thread.start()
            return outcome.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cancel the work and wait until it has cleaned up, but not longer than `STOP_SECONDS`. Idempotent."""
        with self._known:
            self._stopped, task = True, self._task
        if task is not None and not task.get_loop().is_closed():
            try:
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:  # the loop was closed this very moment: the work is over
                return
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    async def _main(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with self._known:
            if self._stopped:
                raise asyncio.CancelledError
            self._task = asyncio.current_task()
        return await work()
