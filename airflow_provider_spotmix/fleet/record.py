"""What an agent says of a fleet, for whoever waits for it: one ConfigMap with its plan, lines, and at last the report.

It belongs to no application: the report outlives them. Airflow deletes it with the fleet; what nobody fetched is found
by the sweep once its task instance is over.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.voice import Voice
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.kube.retry import Backoff, harmless_to_repeat
from airflow_provider_spotmix.manifests import labels

# What a ConfigMap may hold is 1 MiB; a report takes most of what these lines leave.
MAX_LINES = 200
MAX_LINE = 1000
# Lines that come together are written together.
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 15.0
# A picture is larger than a line, and is written less often.
PICTURE_SECONDS = 5.0

_PLAN, _LINES, _PROGRESS, _END, _AGENT = "plan", "lines", "progress", "end", "agent"


class Line(Struct, frozen=True):
    """A line for the task's log.

    Attributes:
        number: counts from 1 within a fleet; the oldest are dropped.
        at: seconds since the epoch.
        message: the line.
        warning: whether it is one.
        id: no two lines have the same one, so that a write without an answer can be repeated.

    """

    number: int
    at: float
    message: str
    warning: bool
    id: str


class Record(Struct, frozen=True, kw_only=True):
    """A fleet as its agent sees it.

    Attributes:
        spec: the fleet.
        agent: controller id of the agent that wrote last.
        lines: the last ones.
        progress: the newest picture of the fleet, as `Progress` makes it; None before there is one.
        end: what a trigger's event has: a ``report`` or an ``error``; None while it goes on.

    """

    spec: FleetSpec
    agent: str
    lines: tuple[Line, ...]
    progress: dict[str, Any] | None
    end: dict[str, Any] | None


def record_name(fleet_id: str) -> str:
    """Name of a fleet's record."""
    return f"spotmix-{fleet_id}-record"


def read(found: ConfigMap) -> Record:
    """Decode a record.

    Raises:
        msgspec.MsgspecError: somebody else has written it, or another version.

    """
    data = found.data
    return Record(
        spec=msgspec.json.decode(data.get(_PLAN, ""), type=FleetSpec),
        agent=data.get(_AGENT, ""),
        lines=msgspec.json.decode(data.get(_LINES, "[]"), type=tuple[Line, ...]),
        progress=msgspec.json.decode(data[_PROGRESS], type=dict[str, Any]) if data.get(_PROGRESS) else None,
        end=msgspec.json.decode(data[_END], type=dict[str, Any]) if data.get(_END) else None,
    )


async def delete_record(kube: Kube, spec: FleetSpec) -> None:
    """Delete a fleet's record, if there is one.

    Raises:
        KubeError: the API server refused.

    """
    try:
        await kube.delete(CONFIG_MAPS, record_name(spec.fleet_id), spec.namespace)
    except NotFound:
        return


class RecordWriter:
    """Writes one fleet's record, whoever else does: two agents may, while one takes over from the other.

    Args:
        kube: the cluster.
        spec: the fleet.
        agent: controller id of this agent.
        annotations: of the fleet's application; its identity and task tell a sweep whose record it is.
        now: the clock, in seconds since the epoch.

    """

    def __init__(
        self,
        kube: Kube,
        spec: FleetSpec,
        *,
        agent: str,
        annotations: Mapping[str, str],
        now: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._spec = spec
        self._agent = agent
        self._annotations = {key: annotations[key] for key in (labels.IDENTITY, labels.TASK) if key in annotations}
        self._now = now
        self._voice = Voice(lambda message, warning: None)
        self._unwritten: deque[Line] = deque(maxlen=MAX_LINES)
        self._said = 0
        self._news = asyncio.Event()
        self._picture: Callable[[], dict[str, Any]] | None = None
        self._pictured_at = float("-inf")

    def tell(self, message: str, warning: bool = False) -> None:
        """Note a line; it is written soon."""
        self._said += 1
        self._unwritten.append(Line(0, self._now(), message[:MAX_LINE], warning, f"{self._agent}/{self._said}"))
        self._news.set()

    def show(self, picture: Callable[[], dict[str, Any]]) -> None:
        """Note that there is something new to show; it is asked for when it is written."""
        self._picture = picture
        self._news.set()

    async def open(self) -> dict[str, Any] | None:
        """Make sure that there is a record. Returns the picture that an earlier agent left in it, if any.

        Raises:
            KubeError: the API server refused.

        """
        metadata = {
            "name": record_name(self._spec.fleet_id),
            "labels": {labels.RECORD: self._spec.fleet_id},
            "annotations": {labels.MANAGED_BY: labels.MANAGER, **self._annotations},
        }
        data = {_PLAN: msgspec.json.encode(self._spec).decode(), _AGENT: self._agent}
        try:
            await self._kube.create(CONFIG_MAPS, {"metadata": metadata, "data": data}, self._spec.namespace)
        except AlreadyExists:
            try:
                return read(await self._kube.get(CONFIG_MAPS, self._name, self._spec.namespace)).progress
            except (NotFound, msgspec.MsgspecError):
                pass
        return None

    async def keep_writing(self) -> None:
        """Write lines as they come. What fails is tried again with the next."""
        backoff = Backoff(base_seconds=PAUSE_SECONDS, cap_seconds=LONGEST_PAUSE_SECONDS)
        while True:
            await self._news.wait()
            if not self._unwritten:
                await asyncio.sleep(max(0.0, self._pictured_at + PICTURE_SECONDS - time.monotonic()))
            self._news.clear()
            try:
                await self._write(None)
            except KubeError:
                self._news.set()
                await asyncio.sleep(backoff.next_seconds())
            else:
                backoff = Backoff(base_seconds=PAUSE_SECONDS, cap_seconds=LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(PAUSE_SECONDS)

    async def close(self, end: dict[str, Any]) -> None:
        """Write how it ended, as soon as the API server takes it.

        Raises:
            KubeError: it will never take it.

        """
        backoff = Backoff(base_seconds=PAUSE_SECONDS, cap_seconds=LONGEST_PAUSE_SECONDS)
        while True:
            try:
                return await self._write(end)
            except KubeError as error:
                if not harmless_to_repeat(error, repeatable=True):
                    raise
                await asyncio.sleep(backoff.next_seconds())

    async def _write(self, end: dict[str, Any] | None) -> None:
        """Add what is new to what is there. A record that was deleted is not made again: nobody waits for it."""
        lines = tuple(self._unwritten)
        while True:
            try:
                found = await self._kube.get(CONFIG_MAPS, self._name, self._spec.namespace)
                data = {_AGENT: self._agent, _LINES: _with(found, lines)}
                if self._picture is not None:
                    data[_PROGRESS] = msgspec.json.encode(self._picture()).decode()
                    self._pictured_at = time.monotonic()
                if end is not None:
                    data[_END] = msgspec.json.encode(end).decode()
                body = {"metadata": {"resourceVersion": found.metadata.resource_version}, "data": data}
                await self._kube.patch(CONFIG_MAPS, self._name, body, self._spec.namespace)
            except Conflict:
                continue
            except NotFound:
                pass
            for line in lines:
                if self._unwritten and self._unwritten[0] is line:
                    self._unwritten.popleft()
            return

    @property
    def _name(self) -> str:
        return record_name(self._spec.fleet_id)


def _with(found: ConfigMap, lines: tuple[Line, ...]) -> str:
    there = msgspec.json.decode(found.data.get(_LINES, "[]"), type=tuple[Line, ...])
    known = {line.id for line in there}
    number = there[-1].number if there else 0
    new = [line for line in lines if line.id not in known]
    numbered = [msgspec.structs.replace(line, number=number + step) for step, line in enumerate(new, start=1)]
    return msgspec.json.encode((*there, *numbered)[-MAX_LINES:]).decode()
