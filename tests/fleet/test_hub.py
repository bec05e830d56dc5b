"""The hub in virtual time: who hears what, how often the server is asked, and what is left when all are gone."""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow_provider_spotmix.fleet.hub import FLEET_LABEL, FeedItem, Hub, Unavailable
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import ConfigError, Forbidden
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, NODES
from airflow_provider_spotmix.kube.watch import Changed, Connected, Disconnected, Synced
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime

Stream = AsyncIterator[FeedItem[ConfigMap]]


async def add(kube: Kube, name: str, fleet: str = "f1") -> None:
    await kube.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": {FLEET_LABEL: fleet}}}, "n")


async def relabel(kube: Kube, name: str, fleet: str | None) -> None:
    await kube.patch(CONFIG_MAPS, name, {"metadata": {"labels": {FLEET_LABEL: fleet}}}, "n")


async def settle() -> None:
    """Let everything that is due now happen: virtual time moves by a moment only when nothing else can run."""
    await asyncio.sleep(0.001)


def tell(item: FeedItem[ConfigMap]) -> Any:
    match item:
        case Synced(objects):
            return "synced", *sorted(each.metadata.name for each in objects)
        case Changed(kind, each):
            return kind, each.metadata.name
        case Disconnected():
            return "disconnected"
        case Connected():
            return "connected"
        case Unavailable(error):
            return "unavailable", type(error)


async def hear(stream: Stream, count: int = 1) -> list[Any]:
    async with asyncio.timeout(100):
        return [tell(await anext(stream)) for _ in range(count)]


async def silent(stream: Stream) -> bool:
    """Tell whether nothing is waiting; the stream cannot be used afterwards."""
    try:
        async with asyncio.timeout(1):
            await anext(stream)
    except TimeoutError:
        return True
    return False


async def test_an_event_goes_only_to_its_fleet() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()
    await add(kube, "a", "f1")
    async with (
        hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as first,
        hub.subscribe(server, CONFIG_MAPS, "n", key="f2") as second,
    ):
        assert await hear(first) == [("synced", "a")]
        assert await hear(second) == [("synced",)]
        await add(kube, "b", "f2")
        await kube.delete(CONFIG_MAPS, "a", "n")
        assert await hear(second) == [("ADDED", "b")]
        assert await hear(first) == [("DELETED", "a")]
        assert await silent(first)
        assert await silent(second)
    await hub.close()


async def test_a_hundred_fleets_cost_one_list_and_one_watch() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()

    async def fleet(number: int) -> None:
        async with hub.subscribe(server, CONFIG_MAPS, "n", key=f"f{number}") as stream:
            assert await hear(stream) == [("synced",)]
            await add(kube, f"m{number}", f"f{number}")
            assert await hear(stream) == [("ADDED", f"m{number}")]

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(fleet(number))
    assert (server.calls["list"], server.calls["watch"]) == (1, 1)
    await hub.close()


async def test_a_late_subscriber_starts_from_the_present() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()
    async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as early:
        await hear(early)
        await add(kube, "a")
        await add(kube, "b")
        assert await hear(early, 2) == [("ADDED", "a"), ("ADDED", "b")]
        async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as late:
            await kube.delete(CONFIG_MAPS, "a", "n")
            await settle()
            assert await hear(late) == [("synced", "b")]
            assert await silent(late)
    assert server.calls["list"] == 1
    await hub.close()


async def test_everything_is_heard_without_a_key() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()
    async with hub.subscribe(server, CONFIG_MAPS, "n") as stream:
        assert await hear(stream) == [("synced",)]
        await add(kube, "a", "f1")
        await kube.create(CONFIG_MAPS, {"metadata": {"name": "plain"}}, "n")
        assert await hear(stream, 2) == [("ADDED", "a"), ("ADDED", "plain")]
        assert await silent(stream)
    await hub.close()


async def test_an_object_that_changes_fleet_leaves_one_and_joins_the_other() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()
    await add(kube, "a", "f1")
    async with (
        hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as first,
        hub.subscribe(server, CONFIG_MAPS, "n", key="f2") as second,
    ):
        await hear(first)
        await hear(second)
        await relabel(kube, "a", "f2")
        assert await hear(first) == [("DELETED", "a")]
        assert await hear(second) == [("ADDED", "a")]
        await relabel(kube, "a", None)
        assert await hear(second) == [("DELETED", "a")]
        assert await silent(first)
    await hub.close()


async def test_a_slow_subscriber_gets_a_snapshot_and_holds_up_nobody() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()
    async with (
        hub.subscribe(server, CONFIG_MAPS, "n", key="f1", queue_size=3) as slow,
        hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as quick,
    ):
        await hear(slow)
        await hear(quick)
        for number in range(10):
            await add(kube, f"m{number}")
        await kube.delete(CONFIG_MAPS, "m0", "n")
        assert len(await hear(quick, 11)) == 11
        assert await hear(slow) == [("synced", *(f"m{number}" for number in range(1, 10)))]
        await add(kube, "more")
        assert await hear(slow) == [("ADDED", "more")]
    await hub.close()


async def test_outages_are_told_to_all_and_kill_nobody() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()
    async with (
        hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as first,
        hub.subscribe(server, CONFIG_MAPS, "n", key="f2") as second,
    ):
        await hear(first)
        await hear(second)
        server.fail()
        assert await hear(first) == await hear(second) == ["disconnected"]
        async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as late:
            assert await hear(late, 2) == [("synced",), "disconnected"]
            server.heal()
            await add(kube, "a")
            assert await hear(first, 2) == await hear(late, 2) == ["connected", ("ADDED", "a")]
        assert await hear(second) == ["connected"]
    await hub.close()


async def test_a_snapshot_after_an_outage_says_that_it_is_over() -> None:
    server, hub = MemoryServer(), Hub()
    kube = server.client()
    async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as stream:
        await hear(stream)
        server.fail()
        assert await hear(stream) == ["disconnected"]
        server.heal()
        await add(kube, "a")
        server.compact()
        await asyncio.sleep(60)
        assert await hear(stream, 2) == [("synced", "a"), "connected"]
    await hub.close()


async def test_a_server_that_is_down_from_the_start_is_told_and_waited_for() -> None:
    server, hub = MemoryServer(), Hub()
    server.fail()
    async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as stream:
        assert await hear(stream) == ["disconnected"]
        server.heal()
        assert await hear(stream, 2) == [("synced",), "connected"]
    await hub.close()


async def test_what_rbac_refuses_is_raised_and_asked_again_by_the_next() -> None:
    server, hub = MemoryServer(), Hub()
    server.fail("list", code=403)
    async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as stream:
        with pytest.raises(Forbidden):
            await hear(stream)
        server.heal()
        async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as next_one:
            assert await hear(next_one) == [("synced",)]
    await hub.close()


async def test_optional_feeds_are_unavailable_instead() -> None:
    server, hub = MemoryServer(), Hub()
    server.fail("list", code=403)
    async with hub.subscribe(server, NODES, optional=True) as stream:
        items = [item async for item in stream]
    assert [type(item) for item in items] == [Unavailable]
    await hub.close()


async def test_watches_and_clients_end_some_time_after_their_last_user() -> None:
    server, hub = MemoryServer(watch_seconds=5), Hub(linger_seconds=10)
    for _ in range(3):
        async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as stream:
            assert await hear(stream) == [("synced",)]
        await asyncio.sleep(5)
    assert server.calls["list"] == 1
    assert server.clients_open == 1
    await asyncio.sleep(30)
    watches = server.calls["watch"]
    assert server.clients_open == 0
    await asyncio.sleep(60)
    assert server.calls["watch"] == watches


async def test_background_tasks_carry_nothing_of_their_first_user() -> None:
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="none")
    seen: list[str] = []

    class Curious(MemoryServer):
        async def connect(self) -> Kube:
            seen.append(mark.get())
            return await super().connect()

        def check(self, verb: str) -> None:
            seen.append(mark.get())
            super().check(verb)

    mark.set("the first user's task log")
    server, hub = Curious(), Hub()
    async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as stream:
        await hear(stream)
        await asyncio.sleep(40)
    assert set(seen) == {"none"}
    assert len(seen) >= 4
    await hub.close()


async def test_a_subscriber_that_is_cancelled_while_connecting_cancels_nobody_else() -> None:
    class Slow(MemoryServer):
        async def connect(self) -> Kube:
            await asyncio.sleep(10)
            return await super().connect()

    server, hub = Slow(), Hub()

    async def use() -> list[Any]:
        async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as stream:
            return await hear(stream)

    first, second = asyncio.create_task(use()), asyncio.create_task(use())
    await asyncio.sleep(1)
    first.cancel()
    assert await second == [("synced",)]
    await hub.close()


async def test_credentials_that_cannot_be_loaded_fail_every_waiting_user_and_the_next_one_tries_again() -> None:
    class Locked(MemoryServer):
        locked = True

        async def connect(self) -> Kube:
            await asyncio.sleep(1)
            if self.locked:
                raise ConfigError("no token")
            return await super().connect()

    server, hub = Locked(), Hub()

    async def use() -> Kube:
        async with hub.client(server) as kube:
            return kube

    results = await asyncio.gather(use(), use(), return_exceptions=True)
    assert [type(result) for result in results] == [ConfigError, ConfigError]
    server.locked = False
    assert (await use()).identity == server.identity()
    await hub.close()


async def test_a_defect_is_raised_instead_of_leaving_everybody_waiting() -> None:
    class Broken(MemoryServer):
        def check(self, verb: str) -> None:
            raise ZeroDivisionError(verb)

    hub = Hub()
    async with hub.subscribe(Broken(), CONFIG_MAPS, "n", key="f1") as stream:
        with pytest.raises(RuntimeError, match="because of a defect") as caught:
            await hear(stream)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    await hub.close()


@pytest.mark.looptime(False)
def test_each_event_loop_has_its_own_hub_and_leaves_nothing_open() -> None:
    servers: list[MemoryServer] = []

    async def run() -> int:
        server = MemoryServer()
        servers.append(server)
        hub = Hub.shared()
        assert Hub.shared() is hub
        async with hub.subscribe(server, CONFIG_MAPS, "n", key="f1") as stream:
            await hear(stream)
        return id(hub)

    hubs = [asyncio.run(run()) for _ in range(2)]
    assert len(hubs) == 2
    # Nobody closed the hubs: the end of the loop did.
    assert [server.clients_open for server in servers] == [0, 0]


async def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ValueError, match="empty key"):
        async with Hub().subscribe(MemoryServer(), CONFIG_MAPS, "n", key=""):
            pass
