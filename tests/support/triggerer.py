"""Airflow's own trigger runner without its processes, and its supervisor played: it knows states of task instances."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
from airflow.triggers.base import BaseTrigger


class PlayedSupervisor:
    """Answers what a trigger asks of Airflow: the states of task instances.

    ``states`` are by task id, or by ``task id_map index``, as Airflow's execution API names them. An exception in their
    place is raised. An answer takes so many seconds: Airflow's first one takes several.
    """

    def __init__(self, states: dict[str, str | None] | Exception, *, seconds: float = 0) -> None:
        self.states = states
        self.seconds = seconds
        self.asked: list[GetTaskStates] = []

    def send(self, message: Any) -> TaskStatesResult:
        """Answer."""
        assert isinstance(message, GetTaskStates)
        self.asked.append(message)
        time.sleep(self.seconds)
        if isinstance(self.states, Exception):
            raise self.states
        (run_id,) = message.run_ids or []
        return TaskStatesResult(task_states={run_id: self.states})

    def install(self, monkeypatch: pytest.MonkeyPatch) -> PlayedSupervisor:
        """Be the one that this process asks."""
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", self, raising=False)
        return self


class Triggerer:
    """Runs one trigger as a triggerer does."""

    def __init__(self, trigger: BaseTrigger, task_instance: Any) -> None:
        self.runner = TriggerRunner()  # type: ignore[no-untyped-call]  # Airflow's
        trigger.task_instance = task_instance
        self.runner.triggers[1] = {"task": None, "is_watcher": False, "name": "test", "events": 0}  # type: ignore[typeddict-item]
        self.task = asyncio.create_task(self.runner.run_trigger(1, trigger))

    async def end(self, *reason: str) -> list[Any]:
        """Cancel it, for this reason, again and again until it has ended, as a triggerer does; its events."""
        while not self.task.done():
            self.task.cancel(*reason)
            await asyncio.wait([self.task], timeout=0.05)
        return self.events

    @property
    def events(self) -> list[Any]:
        """What was fired."""
        return [entry.event.payload for entry in self.runner.events]
