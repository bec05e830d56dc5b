"""The reflector through all that may break, in virtual time, against the API server in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.kube.client import Listing
from airflow_provider_spotmix.kube.errors import ApiUnavailable, Forbidden, NotFound
from airflow_provider_spotmix.kube.objects import ConfigMap, ObjectMeta
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.kube.watch import Changed, Connected, Disconnected, Item, Reflector, Synced, differences
from tests.kube.memory import MemoryServer

pytestmark = pytest.mark.looptime


class Scene:
    """A server, a client that writes, and a reflector's stream. Its wall clock is the loop's plus 1000 seconds."""

    def __init__(self, **settings: Any) -> None:
        self.server = MemoryServer(**settings)
        self.kube = self.server.client()
        self.reflector = Reflector(self.kube, CONFIG_MAPS, "n", label_selector="fleet", now=self.now)

    def now(self) -> float:
        return 1000.0 + asyncio.get_running_loop().time()

    async def add(self, name: str) -> None:
        await self.kube.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": {"fleet": "1"}}}, "n")

    async def drop(self, name: str) -> None:
        await self.kube.delete(CONFIG_MAPS, name, "n")


@asynccontextmanager
async def mirrored(scene: Scene) -> AsyncGenerator[AsyncIterator[Item[ConfigMap]], None]:
    stream = scene.reflector.stream()
    try:
        yield stream
    finally:
        await stream.aclose()


def tell(item: Item[ConfigMap]) -> Any:
    match item:
        case Synced(objects):
            return "synced", *sorted(each.metadata.name for each in objects)
        case Changed(kind, each):
            return kind, each.metadata.name
        case Disconnected(_, error):
            return "disconnected", type(error)
        case Connected():
            return "connected"


async def test_a_broken_watch_is_resumed_without_a_gap() -> None:
    scene = Scene()
    async with mirrored(scene) as stream:
        assert tell(await anext(stream)) == ("synced",)
        await scene.add("a")
        assert tell(await anext(stream)) == ("ADDED", "a")
        scene.server.fail()
        assert tell(await anext(stream)) == ("disconnected", ApiUnavailable)
        scene.server.heal()
        await scene.add("b")
        await scene.drop("a")
        assert [tell(await anext(stream)) for _ in range(3)] == ["connected", ("ADDED", "b"), ("DELETED", "a")]
    assert scene.server.calls["list"] == 1


async def test_an_outage_dates_from_the_last_sign_of_life() -> None:
    scene = Scene()
    async with mirrored(scene) as stream:
        await anext(stream)
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(7)
        await scene.add("a")
        await pending
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(3)
        scene.server.fail()
        outage = await pending
        assert isinstance(outage, Disconnected)
        assert outage.since == 1007
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(100)
        scene.server.heal()
        back = await pending
        assert isinstance(back, Connected)
        assert 1110 <= back.at <= 1126


async def test_a_version_that_is_gone_leads_to_a_new_list() -> None:
    scene = Scene()
    async with mirrored(scene) as stream:
        await anext(stream)
        await scene.add("a")
        await anext(stream)
        scene.server.fail()
        await anext(stream)
        scene.server.heal()
        await scene.drop("a")
        await scene.add("b")
        scene.server.compact()
        assert [tell(await anext(stream)) for _ in range(2)] == ["connected", ("synced", "b")]


async def test_a_watch_that_the_server_ends_is_no_outage() -> None:
    scene = Scene(watch_seconds=30)
    async with mirrored(scene) as stream:
        await anext(stream)
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(95)
        await scene.add("a")
        assert tell(await pending) == ("ADDED", "a")
    assert (scene.server.calls["list"], scene.server.calls["watch"]) == (1, 4)


async def test_watches_that_end_at_once_do_not_make_a_busy_loop() -> None:
    scene = Scene(watch_seconds=0)
    async with mirrored(scene) as stream:
        await anext(stream)
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(60)
        assert scene.server.calls["watch"] < 15
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)


async def test_an_api_server_that_is_down_is_asked_less_and_less_often() -> None:
    scene = Scene()
    scene.server.fail()
    async with mirrored(scene) as stream:
        assert tell(await anext(stream)) == ("disconnected", ApiUnavailable)
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(300)
        assert 20 < scene.server.calls["list"] < 60
        scene.server.heal()
        assert tell(await pending) == ("synced",)
        assert tell(await anext(stream)) == "connected"


@pytest.mark.parametrize(
    ("code", "error"), [pytest.param(403, Forbidden, id="forbidden"), pytest.param(404, NotFound, id="no-crd")]
)
async def test_a_first_list_that_is_refused_ends_the_stream(code: int, error: type[Exception]) -> None:
    scene = Scene()
    scene.server.fail("list", code=code)
    async with mirrored(scene) as stream:
        with pytest.raises(error):
            await anext(stream)


async def test_a_later_refusal_is_ridden_out_for_some_minutes() -> None:
    scene = Scene()
    async with mirrored(scene) as stream:
        await anext(stream)
        scene.server.fail("list", code=403)
        scene.server.fail("watch", code=403)
        scene.server.break_watches()
        assert tell(await anext(stream)) == ("disconnected", Forbidden)
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(200)
        assert not pending.done()
        scene.server.heal()
        assert tell(await pending) == ("synced",)
        assert tell(await anext(stream)) == "connected"


async def test_a_refusal_that_lasts_is_raised() -> None:
    scene = Scene()
    async with mirrored(scene) as stream:
        await anext(stream)
        scene.server.fail("*", code=403)
        assert tell(await anext(stream)) == ("disconnected", Forbidden)
        with pytest.raises(Forbidden):
            await anext(stream)
        assert 300 <= asyncio.get_running_loop().time() < 330


async def test_where_watching_is_forbidden_it_polls_until_it_may_watch() -> None:
    scene = Scene()
    scene.server.fail("watch", code=403)
    async with mirrored(scene) as stream:
        assert [tell(await anext(stream)) for _ in range(2)] == [("synced",), ("synced",)]
        await scene.add("a")
        await scene.add("b")
        assert [tell(await anext(stream)) for _ in range(2)] == [("ADDED", "a"), ("ADDED", "b")]
        await scene.drop("a")
        assert tell(await anext(stream)) == ("DELETED", "a")
        scene.server.heal()
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(310)
        lists = scene.server.calls["list"]
        await asyncio.sleep(100)
        assert scene.server.calls["list"] == lists
        await scene.drop("b")
        assert tell(await pending) == ("DELETED", "b")


versions = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3))


@given(versions, versions)
def test_differences_turn_one_listing_into_the_other(old: dict[str, int], new: dict[str, int]) -> None:
    def listing(content: dict[str, int]) -> Listing[ConfigMap]:
        metas = [ObjectMeta(name=name, uid=name, resource_version=str(version)) for name, version in content.items()]
        return Listing(tuple(ConfigMap(metadata=meta) for meta in metas), "1")

    replayed = dict(old)
    for change in differences(listing(old), listing(new)):
        meta = change.object.metadata
        assert (change.type == "ADDED") == (meta.name not in replayed)
        if change.type == "DELETED":
            del replayed[meta.name]
        else:
            replayed[meta.name] = int(meta.resource_version)
    assert replayed == new
