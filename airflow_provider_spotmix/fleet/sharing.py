"""Share things that are costly to open: opened by the first user, closed some time after the last.

Each shared thing is an async context manager that a task of its own enters and leaves. That task starts with an empty
``contextvars.Context``: in a triggerer the first user's context carries its task log, which would otherwise collect
what the shared task logs for everybody. When the event loop shuts down (``asyncio.run`` cancels all tasks at once), the
owner task waits for its users, who may need the thing to leave in order, and then leaves the context manager, so that
nothing stays open.
"""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Hashable

V = TypeVar("V")

# How long a shutdown waits for users to leave: less than the 10 s after which a triggerer is told to end once more.
_LEAVING_SECONDS = 8.0


@dataclass(slots=True, eq=False)
class _Entry:
    ready: asyncio.Future[Any]
    leave: asyncio.Event
    owner: asyncio.Task[None] = field(init=False)
    ending: bool = False
    users: int = 0
    closing: asyncio.TimerHandle | None = None


class Shared:
    """Reference-counted values by key. ``linger_seconds``: how long an unused value is kept for the next user."""

    def __init__(self, linger_seconds: float) -> None:
        self._linger_seconds = linger_seconds
        self._entries: dict[Hashable, _Entry] = {}

    @asynccontextmanager
    async def use(
        self,
        key: Hashable,
        opening: Callable[[], AbstractAsyncContextManager[V]],
        *,
        linger_seconds: float | None = None,
    ) -> AsyncGenerator[V, None]:
        """Use the value of ``key``, opening it if nobody has. What opening raises, every waiting user gets.

        With ``linger_seconds=0`` the last user waits until it is closed.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._open(key, opening)
        entry.users += 1
        if entry.closing is not None:
            entry.closing.cancel()
            entry.closing = None
        try:
            # Shielded: a user that is cancelled while waiting must not cancel it for the others.
            yield await asyncio.shield(entry.ready)
        finally:
            entry.users -= 1
            linger = self._linger_seconds if linger_seconds is None else linger_seconds
            if entry.users == 0:
                await self._retire(key, entry, linger)

    def forget(self, key: Hashable) -> None:
        """Let the next user open the value of ``key`` anew; present users keep what they have."""
        self._entries.pop(key, None)

    async def close(self) -> None:
        """Close everything now, used or not."""
        entries = list(self._entries.values())
        self._entries.clear()
        for entry in entries:
            entry.leave.set()
            entry.owner.cancel()
        await asyncio.gather(*(entry.owner for entry in entries), return_exceptions=True)

    def _open(self, key: Hashable, opening: Callable[[], AbstractAsyncContextManager[Any]]) -> _Entry:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Any] = loop.create_future()
        # Retrieved here once, so that a failure nobody waits for any more is not reported as lost.
        ready.add_done_callback(lambda future: future.cancelled() or future.exception())
        entry = _Entry(ready, asyncio.Event())
        entry.owner = loop.create_task(self._own(key, opening, entry), context=contextvars.Context())
        return entry

    async def _own(self, key: Hashable, opening: Callable[[], AbstractAsyncContextManager[Any]], entry: _Entry) -> None:
        ready = entry.ready
        try:
            async with opening() as value:
                ready.set_result(value)
                try:
                    await entry.leave.wait()
                except asyncio.CancelledError:
                    await _until_left(entry)
                    raise
        except BaseException as error:
            if ready.done():
                raise
            if isinstance(error, asyncio.CancelledError):
                ready.cancel()
                raise
            ready.set_exception(error)
        finally:
            if self._entries.get(key) is entry:
                del self._entries[key]

    async def _retire(self, key: Hashable, entry: _Entry, linger_seconds: float) -> None:
        if linger_seconds > 0 and not entry.ending and self._entries.get(key) is entry:
            loop = asyncio.get_running_loop()
            entry.closing = loop.call_later(linger_seconds, self._leave, key, entry, context=contextvars.Context())
            return
        self._leave(key, entry)
        # Waits without taking over the owner's failure or cancellation, and without cancelling it.
        await asyncio.wait([entry.owner])

    def _leave(self, key: Hashable, entry: _Entry) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]
        entry.leave.set()


async def _until_left(entry: _Entry) -> None:
    entry.ending = True
    if entry.users:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING_SECONDS):
                await entry.leave.wait()
