"""Observe a fleet without holding it: wait until it is as somebody wishes. Reads only, on the process's watch hub.

It works on any SparkApplication. Where executors are placed can be seen only of those that this provider places.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from msgspec import Struct

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.wish import Judgement, Seen, Verdict, Wish
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.fleet.picture import SETTLE_SECONDS, TASK, Picture, Target
from airflow_provider_spotmix.fleet.voice import TellPerson, Voice
from airflow_provider_spotmix.kube.client import Cluster, Kube
from airflow_provider_spotmix.kube.errors import NotFound
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.kube.watch import Connected, Disconnected, Synced
from airflow_provider_spotmix.manifests import labels

EXECUTORS = f"{labels.SPARK_ROLE}=executor"

_Take = Callable[[Any], None]
_News = tuple[_Take, Any]  # what to do with it, and a feed's item or error


class Outcome(Struct, frozen=True, kw_only=True):
    """How waiting ended: satisfied or not, why, and what was seen last."""

    satisfied: bool
    why: str
    seen: dict[str, Any]


async def wait_for(
    hub: Hub, cluster: Cluster, target: Target, wish: Wish, *, missing_seconds: float, tell: TellPerson
) -> Outcome:
    """Wait until the fleet is as wished, can never be, or is not there for too long. Outages are waited out.

    Args:
        hub: the process's watch hub.
        cluster: where to look.
        target: which applications.
        wish: what to wait for.
        missing_seconds: how long to wait for the first application to be there, while the API server can be asked.
        tell: called with what a person should know.

    Raises:
        KubeError: the API server refuses to let us look.

    """
    waiting = _Waiting(target, wish, missing_seconds, Voice(tell))
    async with _following(hub, cluster, target, wish, waiting) as news:
        while True:
            found = await _next(news, waiting.deadline)
            if found is None and waiting.picture.is_empty:
                return Outcome(satisfied=False, why=missing(target, missing_seconds), seen=plain(Seen()))
            waiting.take(found)
            while not news.empty():  # judge once about all that came together
                waiting.take(news.get_nowait())
            outcome = waiting.judge()
            if outcome:
                return outcome


class _Waiting:
    """What a wait has seen and until when it waits for more."""

    def __init__(self, target: Target, wish: Wish, missing_seconds: float, voice: Voice) -> None:
        self.picture = Picture(target)
        self.unread: set[_Take] = set()
        self._wish = wish
        self._missing_seconds = missing_seconds
        self._voice = voice
        self._clock = asyncio.get_running_loop().time
        self._away: set[_Take] = set()
        self._missing_at = self._clock() + missing_seconds
        self._unsettled_since: float | None = None
        self._said = ""

    @property
    def deadline(self) -> float | None:
        """When to look again although nothing has changed."""
        if self._unsettled_since is not None:
            return self._unsettled_since + SETTLE_SECONDS
        # What is not there may be there unseen, as long as the API server is away.
        return self._missing_at if self.picture.is_empty and not self._away else None

    def take(self, found: _News | None) -> None:
        """Take in what a feed says."""
        if found is None:
            return
        take, item = found
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, Disconnected):
            self._away.add(take)
            self._voice.trouble("outage", f"waiting for the API server: {item.error}")
        elif isinstance(item, Connected | Synced) and take in self._away:
            self._away.discard(take)
            self._missing_at = self._clock() + self._missing_seconds
            if not self._away and self._voice.settled("outage"):
                self._voice("the API server answers again")
        take(item)
        if isinstance(item, Synced):
            self.unread.discard(take)

    def judge(self) -> Outcome | None:
        """Judge what there is; None to wait on."""
        if self.unread:
            return None
        now = self._clock()
        if not self.picture.is_unsettled():
            self._unsettled_since = None
        elif self._unsettled_since is None:
            self._unsettled_since = now
        settled = self._unsettled_since is not None and now - self._unsettled_since >= SETTLE_SECONDS
        judgement = self.picture.judge(self._wish, settled=settled)
        if judgement.verdict is not Verdict.WAITING:
            satisfied = judgement.verdict is Verdict.SATISFIED
            return Outcome(satisfied=satisfied, why=judgement.why, seen=plain(self.picture.seen()))
        if settled:  # it is one of several that may still succeed
            self._unsettled_since = now
        if not self.picture.is_empty:
            self._missing_at = now + self._missing_seconds
        if judgement.why != self._said:
            self._said = judgement.why
            self._voice(judgement.why)
        return None


async def look(kube: Kube, target: Target, wish: Wish) -> tuple[Judgement | None, dict[str, Any]]:
    """Look once; once more after some seconds where a failed group may be submitted again.

    Returns no judgement where there is no application.

    Raises:
        KubeError: the API server refused, or did not answer.

    """
    picture = await _read(kube, target, wish)
    if picture.is_unsettled():
        await asyncio.sleep(SETTLE_SECONDS)
        picture = await _read(kube, target, wish)
    return (None if picture.is_empty else picture.judge(wish)), plain(picture.seen())


async def _read(kube: Kube, target: Target, wish: Wish) -> Picture:
    api, picture = backend(target.backend), Picture(target)
    found: tuple[Raw, ...] = ()
    if target.name:
        with suppress(NotFound):
            found = (await kube.get(api.resource, target.name, target.namespace),)
    else:
        of_task = ",".join(f"{key}={value}" for key, value in target.task.items())
        selector = target.selector or of_task or f"{labels.FLEET}={target.fleet}"
        found = (await kube.list(api.resource, target.namespace, label_selector=selector)).items
    picture.take_application(Synced(found))
    if found and wish.needs_executors:
        selector = f"{EXECUTORS},{labels.FLEET}={target.fleet}" if target.fleet else EXECUTORS
        picture.take_executor(Synced((await kube.list(PODS, target.namespace, label_selector=selector)).items))
    return picture


def plain(seen: Seen) -> dict[str, Any]:
    """What was seen, as plain values for XCom."""
    return {
        "applications": [{"name": app.name, "state": app.state} for app in seen.applications],
        "running": seen.running,
        "fallen_back": seen.fallen_back,
    }


def missing(target: Target, seconds: float) -> str:
    """Say that it is not there, and what may be wrong."""
    return (
        f"there is no {target} after {seconds:g} s; does the task that submits it run, and are name and namespace"
        " right? (missing_timeout says how long to wait)"
    )


@asynccontextmanager
async def _following(
    hub: Hub, cluster: Cluster, target: Target, wish: Wish, waiting: _Waiting
) -> AsyncGenerator[asyncio.Queue[_News], None]:
    """Everything that the feeds say, in one queue."""
    news: asyncio.Queue[_News] = asyncio.Queue()
    picture = waiting.picture
    async with AsyncExitStack() as stack:
        feeds: dict[_Take, AsyncIterator[Any]] = {
            picture.take_application: await stack.enter_async_context(_applications(hub, cluster, target))
        }
        if wish.needs_executors:
            feeds[picture.take_executor] = await stack.enter_async_context(_executors(hub, cluster, target))
        waiting.unread = set(feeds)
        followers = [asyncio.create_task(_follow(feed, take, news)) for take, feed in feeds.items()]
        try:
            yield news
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)


def _applications(hub: Hub, cluster: Cluster, target: Target) -> Any:
    """One watch for all sensors on fleets, one for all on tasks, one for all on names, one for each other selector."""
    resource = backend(target.backend).resource
    if target.fleet:
        return hub.subscribe(cluster, resource, target.namespace, key=target.fleet)
    if target.task:
        return hub.subscribe(cluster, resource, target.namespace, key=target.task[TASK], index_label=TASK)
    return hub.subscribe(cluster, resource, target.namespace, selector=target.selector or None)


def _executors(hub: Hub, cluster: Cluster, target: Target) -> Any:
    """Those of a fleet by its label, of a task by its own; else all in the namespace, through one watch."""
    if target.fleet:
        return hub.subscribe(cluster, PODS, target.namespace, key=target.fleet)
    if target.task:
        return hub.subscribe(cluster, PODS, target.namespace, key=target.task[TASK], index_label=TASK)
    return hub.subscribe(cluster, PODS, target.namespace, selector=EXECUTORS)


async def _follow(feed: AsyncIterator[Any], take: _Take, news: asyncio.Queue[_News]) -> None:
    try:
        async for item in feed:
            news.put_nowait((take, item))
    except Exception as error:  # noqa: BLE001 - it is raised again where the news are read
        news.put_nowait((take, error))


async def _next(news: asyncio.Queue[_News], deadline: float | None) -> _News | None:
    """The next news; None when the deadline is over."""
    try:
        async with asyncio.timeout_at(deadline):
            return await news.get()
    except TimeoutError:
        return None
