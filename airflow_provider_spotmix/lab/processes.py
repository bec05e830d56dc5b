"""Identify processes beyond their id, which the kernel gives out again after a while."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class ProcessId:
    """A process that may have ended meanwhile.

    Attributes:
        pid: its number.
        started: when it started, seconds since the epoch; with the number, unique.

    """

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Identity of a process that runs now."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it still runs: not ended, not a zombie, and not another one with the same number."""
        try:
            process = psutil.Process(self.pid)
            # create_time() is derived from the boot time, which the kernel may adjust a little.
            same = abs(process.create_time() - self.started) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def is_running(self) -> bool:
        """Whether it still runs."""
        return self.process() is not None

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if process := self.process():
                process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; False if it still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True


def memory_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
