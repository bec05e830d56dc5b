"""Deliberate faults in our code, put in from outside: the oracle must see each (test_chaos_cluster.py).

A defect is what a controller with a mistake in it would look like to the API server, or would tell in its report. It
sits around the client of a controller process, so the code under test has no switch for it.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from airflow_provider_spotmix.kube.client import Kube, WatchEvent
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.resources import PODS

Report = dict[str, Any]
# Longer than any executor may be gated, plus what a fleet lives on after it.
TOO_LATE_SECONDS = 20.0  # what a loaded machine may take is forgiven, so much later than that

# Executors with a higher number were not there from the beginning.
LATE = 5


class Defective:
    """A client that passes everything on. Each defect is a subclass that does one thing wrong."""

    def __init__(self, kube: Kube, secret: str) -> None:
        self.kube = kube
        self.secret = secret

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kube, name)


class DroppedEvent(Defective):
    """The watch never tells of the executors that come later."""

    @asynccontextmanager
    async def watch(self, resource: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[AsyncIterator[WatchEvent[Any]]]:
        async with self.kube.watch(resource, *args, **kwargs) as events:
            yield self._without_some(events) if resource is PODS else events

    async def _without_some(self, events: AsyncIterator[WatchEvent[Any]]) -> AsyncIterator[WatchEvent[Any]]:
        async for event in events:
            number = event.object.metadata.labels.get("spark-exec-id", "") if event.type != "BOOKMARK" else ""
            if not (number and int(number) > LATE):
                yield event


class _Placements(Defective):
    """Does something else with the patches that place executors."""

    async def patch(self, resource: Any, name: str, body: Any, *args: Any, **kwargs: Any) -> Any:
        if resource is PODS and isinstance(body, list):
            return await self.place(name, body, *args, **kwargs)
        return await self.kube.patch(resource, name, body, *args, **kwargs)

    async def place(self, name: str, body: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        return await self.kube.patch(PODS, name, body, *args, **kwargs)


class LateUngate(_Placements):
    """Placements are thought over for too long."""

    async def place(self, name: str, body: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(TOO_LATE_SECONDS)
        return await super().place(name, body, *args, **kwargs)


class WrongSeat(_Placements):
    """Everybody gets the seat of the neighbour to the left."""

    async def place(self, name: str, body: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        seat = _value(body, "spotmix.io~1seat")
        changed = _with(body, "spotmix.io~1seat", str(max(0, int(seat) - 1)))
        return await super().place(name, changed, *args, **kwargs)


class WrongPool(_Placements):
    """All seats are made spot seats."""

    async def place(self, name: str, body: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        return await super().place(name, _with(body, "spotmix.io~1seat-pool", "spot"), *args, **kwargs)


class DoubledPatch(_Placements):
    """The same placement goes to a second executor as well."""

    async def place(self, name: str, body: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        for _ in range(20):  # until Spark has asked for another one
            listing = await self.kube.list(PODS, args[0], label_selector="spark-role=executor")
            # A later one: two that are placed at once must not merely change seats.
            gated = [pod for pod in listing.items if pod.spec.scheduling_gates]
            waiting = [pod for pod in gated if _number(pod.metadata.name) > _number(name)]
            if waiting:
                other = _with(body, "metadata/uid", waiting[0].metadata.uid)
                with suppress(KubeError):  # it has just been placed
                    await super().place(waiting[0].metadata.name, other, *args, **kwargs)
                break
            await asyncio.sleep(0.05)
        return await super().place(name, body, *args, **kwargs)


class _ConfigMaps(Defective):
    """Does something else with the checkpoint."""

    async def create(self, resource: Any, body: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.kube.create(resource, self.changed(resource, body), *args, **kwargs)

    async def patch(self, resource: Any, name: str, body: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.kube.patch(resource, name, self.changed(resource, body), *args, **kwargs)

    def changed(self, resource: Any, body: Any) -> Any:
        if resource.plural != "configmaps" or "checkpoint" not in (body.get("data") or {}):
            return body
        found: dict[str, Any] = copy.deepcopy(dict(body))
        self.change(found)
        return found

    def change(self, body: dict[str, Any]) -> None:
        raise NotImplementedError


class LostCheckpoint(_ConfigMaps):
    """Nothing but the holder is written down."""

    def change(self, body: dict[str, Any]) -> None:
        whole = json.loads(body["data"]["checkpoint"])
        kept = {key: whole[key] for key in ("schema", "fleet_id", "holder") if key in whole}
        body["data"]["checkpoint"] = json.dumps(kept)


class OrphanedCheckpoint(_ConfigMaps):
    """The checkpoint belongs to nobody, so it stays."""

    def change(self, body: dict[str, Any]) -> None:
        body["metadata"].pop("ownerReferences", None)


class ToldSecret(_ConfigMaps):
    """The credentials are written into an annotation."""

    def change(self, body: dict[str, Any]) -> None:
        body["metadata"].setdefault("annotations", {})["debug"] = self.secret


class LeakedLease(Defective):
    """A controller that ends does not let go of its Lease."""

    async def delete(self, resource: Any, *args: Any, **kwargs: Any) -> None:
        if resource.plural != "leases":
            await self.kube.delete(resource, *args, **kwargs)


class EagerRescue(_Placements):
    """As soon as somebody is placed, a healthy one is removed."""

    async def place(self, name: str, body: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        done = await super().place(name, body, *args, **kwargs)
        namespace = done.metadata.namespace
        for pod in (await self.kube.list(PODS, namespace, label_selector="spark-role=executor")).items:
            if pod.status.phase == "Running" and pod.metadata.labels.get("spark-exec-id") == "1":
                await self.kube.delete(PODS, pod.metadata.name, namespace)
        return done


def _number(executor: str) -> int:
    return int(executor.rpartition("-")[2])


def _flipped(report: Report) -> None:
    report["result"] = "failed" if report["result"] == "succeeded" else "succeeded"


def _padded(report: Report) -> None:
    for account in report["ledger"].values():
        account["executor_seconds"] += 60


def _without(key: str) -> Callable[[Report], None]:
    def forget(report: Report) -> None:
        report[key] = []

    return forget


CLIENTS: dict[str, type[Defective]] = {
    "dropped-event": DroppedEvent,
    "late-ungate": LateUngate,
    "wrong-seat": WrongSeat,
    "wrong-pool": WrongPool,
    "doubled-patch": DoubledPatch,
    "lost-checkpoint": LostCheckpoint,
    "orphaned-checkpoint": OrphanedCheckpoint,
    "leaked-lease": LeakedLease,
    "told-secret": ToldSecret,
    "eager-rescue": EagerRescue,
}
REPORTS: dict[str, Callable[[Report], None]] = {
    "wrong-result": _flipped,
    "padded-ledger": _padded,
    "forgotten-fallbacks": _without("fallbacks"),
    "forgotten-losses": _without("interruptions"),
}


def wrapped(kube: Kube, defect: str, *, secret: str) -> Kube:
    """The client, with the defect of that name; unchanged for any other. ``secret``: what it must keep to itself."""
    return cast("Kube", CLIENTS[defect](kube, secret)) if defect in CLIENTS else kube


def falsified(report: Report, defect: str) -> Report:
    """The report, as a controller with the defect of that name tells it."""
    if defect in REPORTS:
        REPORTS[defect](report)
    return report


def _value(body: list[dict[str, Any]], key: str) -> str:
    return str(next(each["value"] for each in body if each["path"].endswith(f"/{key}")))


def _with(body: list[dict[str, Any]], key: str, value: str) -> list[dict[str, Any]]:
    return [{**each, "value": value} if each["path"].endswith(f"/{key}") else each for each in body]
