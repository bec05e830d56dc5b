"""Say on the application itself what was done and why: Kubernetes Events, which `kubectl describe` shows.

Few of them: what happens again before it could be told is told as one, and nothing is told in the way of a fleet. Where
they may not be written, that is said once.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.voice import Voice
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import Forbidden, KubeError
from airflow_provider_spotmix.kube.objects import Timestamp
from airflow_provider_spotmix.kube.resources import EVENTS

COMPONENT = "spotmix"
# Thirty Events a minute and fleet at most.
PAUSE_SECONDS = 2.0
# How long a fleet that is over waits for its last ones to be written.
LAST_SECONDS = 3.0
# What the API takes (k8s.io/kubernetes/pkg/apis/core/validation).
_MAX_MESSAGE = 1024

Happening = tuple[str, str, bool]  # application, reason, whether it is a warning


class KubeEvents:
    """Writes Events of one fleet. Run `keep_writing` in the background."""

    def __init__(self, kube: Kube, spec: FleetSpec, *, voice: Voice, now: Callable[[], float] = time.time) -> None:
        self._kube = kube
        self._namespace = spec.namespace
        self._resource = backend(spec.backend).resource
        self._tell = voice
        self._now = now
        self._pending: dict[Happening, tuple[str, int, str, float]] = {}  # uid, how often, last message, since when
        self._news = asyncio.Event()
        self._forbidden = False

    def happened(self, application: str, uid: str, reason: str, message: str, *, warning: bool = False) -> None:
        """Note what is to be written. What nobody has seen yet (``uid`` is empty) cannot be written about."""
        if self._forbidden or not uid:
            return
        key = application, reason, warning
        _, count, _, since = self._pending.get(key, (uid, 0, "", self._now()))
        self._pending[key] = uid, count + 1, message, since
        self._news.set()

    async def keep_writing(self) -> None:
        """Write what has happened, one Event at a time and not too many."""
        while True:
            await self._news.wait()
            await self._write_one()
            await asyncio.sleep(PAUSE_SECONDS)

    async def write_last(self) -> None:
        """Write what is still to be written, as far as that takes no time."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                while self._pending:
                    await self._write_one()
        except TimeoutError:
            pass

    async def _write_one(self) -> None:
        if not self._pending:
            self._news.clear()
            return
        happening = next(iter(self._pending))
        noted = self._pending.pop(happening)
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._kube.create(EVENTS, self._body(happening, noted), self._namespace)
        except Forbidden as error:
            self._forbidden = True
            self._pending.clear()
            self._tell.trouble("events", f"what happens to the fleet is not told on its applications: {error}")
        except (KubeError, TimeoutError):  # only news: the task's log and the report have them
            pass

    def _body(self, happening: Happening, noted: tuple[str, int, str, float]) -> dict[str, Any]:
        (application, reason, warning), (uid, count, message, since) = happening, noted
        said = message if count == 1 else f"{count} times, last: {message}"
        return {
            "metadata": {"name": f"{application}.{secrets.token_hex(8)}"},
            "involvedObject": {
                "apiVersion": self._resource.api_version,
                "kind": self._resource.kind,
                "namespace": self._namespace,
                "name": application,
                "uid": uid,
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": said[:_MAX_MESSAGE],
            "count": count,
            "firstTimestamp": _seconds(since),
            "lastTimestamp": _seconds(self._now()),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
        }


def _seconds(moment: float) -> str:
    """Encode as ``metav1.Time``, which has whole seconds."""
    return f"{Timestamp(moment).rfc3339_micro()[:19]}Z"
