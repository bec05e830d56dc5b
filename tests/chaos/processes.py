"""The controller processes of a run: ordered, killed, paused, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import msgspec

from tests.chaos.controller import Order


class Nursery:
    """Makes controller processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def start(self, order: Order) -> Controller:
        """Start one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            return Controller(int(await self._process.stdout.readline()))


class Controller:
    """One controller process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def is_running(self) -> bool:
        """Whether it is there, paused or not."""
        return self.send(0)

    def send(self, number: int) -> bool:
        """Send a signal; False when the process is no more."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    async def ended(self) -> None:
        """Wait for its end."""
        while self.is_running:  # noqa: ASYNC110 - it is no child of ours
            await asyncio.sleep(0.05)


@asynccontextmanager
async def nursery() -> AsyncGenerator[Nursery]:
    """A process of which all controllers are forks. They are killed with it, and it with this one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.chaos.controller", str(os.getpid())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # a group of their own, which Ctrl-C does not reach and which can be killed as one
    )
    try:
        yield Nursery(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
