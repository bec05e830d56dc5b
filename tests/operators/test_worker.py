"""Work on an event loop beside the main thread, with real signals: how Airflow times out and kills a task."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from airflow_provider_spotmix.operators.worker import Work


class Scene:
    """Work that never ends by itself, and what became of it."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.cleaned_up = False

    async def wait(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # cleaning up may need the loop
            self.cleaned_up = True


@contextmanager
def signalled_when(started: threading.Event, handler: Any) -> Iterator[None]:
    """Have the handler called in the main thread, as Airflow's for SIGTERM is, once the work has started."""

    def send() -> None:
        assert started.wait(10)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)


async def answer() -> int:
    return 42


async def fail() -> None:
    raise KeyError("mine")


def test_it_returns_what_the_work_does() -> None:
    assert Work().run(answer) == 42


def test_it_raises_what_the_work_does() -> None:
    with pytest.raises(KeyError, match="mine"):
        Work().run(fail)


async def test_it_runs_where_a_loop_runs_already() -> None:
    assert Work().run(answer) == 42


def test_airflows_timeout_ends_the_work_before_it_is_raised() -> None:
    scene = Scene()
    with pytest.raises(AirflowTaskTimeout), timeout(1):  # type: ignore[no-untyped-call]  # Airflow's
        Work().run(scene.wait)
    assert scene.cleaned_up


def test_a_signal_handler_can_stop_it_and_do_other_work() -> None:
    scene, work, found = Scene(), Work(), []

    def on_kill(*_: Any) -> None:
        work.stop()
        found.append((scene.cleaned_up, Work().run(answer)))

    with signalled_when(scene.started, on_kill), pytest.raises(asyncio.CancelledError):
        work.run(scene.wait)
    assert found == [(True, 42)]


def test_stopped_before_it_began_it_does_nothing() -> None:
    work = Work()
    work.stop()
    with pytest.raises(asyncio.CancelledError):
        work.run(answer)


def test_stopping_what_is_over_is_harmless() -> None:
    work = Work()
    work.run(answer)
    work.stop()
