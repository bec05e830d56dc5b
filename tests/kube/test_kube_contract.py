"""The same scenarios on the API server in memory and on the real one: what the fake promises, the real thing does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow_provider_spotmix.kube.client import Kube, WatchEvent
from airflow_provider_spotmix.kube.errors import AlreadyExists, Conflict, Invalid, NotFound
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, NAMESPACES, PODS
from airflow_provider_spotmix.kube.watch import Changed, Reflector, Synced

Place = tuple[Kube, str]


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


async def test_what_is_created_can_be_read_listed_and_deleted(place: Place) -> None:
    kube, namespace = place
    made = await kube.create(CONFIG_MAPS, config_map("a", k="v"), namespace)
    assert (made.metadata.name, made.metadata.namespace, made.data) == ("a", namespace, {"k": "v"})
    assert made.metadata.uid
    assert await kube.get(CONFIG_MAPS, "a", namespace) == made
    await kube.delete(CONFIG_MAPS, "a", namespace)
    with pytest.raises(NotFound):
        await kube.get(CONFIG_MAPS, "a", namespace)
    with pytest.raises(NotFound):
        await kube.delete(CONFIG_MAPS, "a", namespace)


async def test_a_name_is_given_once(place: Place) -> None:
    kube, namespace = place
    await kube.create(CONFIG_MAPS, config_map("a"), namespace)
    with pytest.raises(AlreadyExists):
        await kube.create(CONFIG_MAPS, config_map("a"), namespace)


async def test_merge_patches_add_replace_and_remove(place: Place) -> None:
    kube, namespace = place
    made = await kube.create(CONFIG_MAPS, config_map("a", keep="1", change="2", drop="3"), namespace)
    patched = await kube.patch(CONFIG_MAPS, "a", {"data": {"change": "4", "drop": None, "add": "5"}}, namespace)
    assert patched.data == {"keep": "1", "change": "4", "add": "5"}
    assert patched.metadata.uid == made.metadata.uid
    assert patched.metadata.resource_version != made.metadata.resource_version


async def test_preconditions_of_patches_hold_or_refuse(place: Place) -> None:
    kube, namespace = place
    made = await kube.create(CONFIG_MAPS, config_map("a"), namespace)
    version, uid = made.metadata.resource_version, made.metadata.uid
    await kube.patch(
        CONFIG_MAPS, "a", {"metadata": {"resourceVersion": version, "uid": uid}, "data": {"x": "1"}}, namespace
    )
    with pytest.raises(Conflict):
        await kube.patch(CONFIG_MAPS, "a", {"metadata": {"resourceVersion": version}, "data": {"x": "2"}}, namespace)
    with pytest.raises(Invalid):
        await kube.patch(CONFIG_MAPS, "a", {"metadata": {"uid": "another"}, "data": {"x": "3"}}, namespace)
    assert (await kube.get(CONFIG_MAPS, "a", namespace)).data == {"x": "1"}


async def test_preconditions_of_deletions_hold_or_refuse(place: Place) -> None:
    kube, namespace = place
    made = await kube.create(CONFIG_MAPS, config_map("a"), namespace)
    changed = await kube.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, namespace)
    for wrong in ({"uid": "another"}, {"resource_version": made.metadata.resource_version}):
        with pytest.raises(Conflict):
            await kube.delete(CONFIG_MAPS, "a", namespace, **wrong)  # type: ignore[arg-type]
    await kube.delete(
        CONFIG_MAPS, "a", namespace, uid=made.metadata.uid, resource_version=changed.metadata.resource_version
    )


async def test_selectors_choose_by_presence_and_value(place: Place) -> None:
    kube, namespace = place
    for name, labels in (("a", {"fleet": "1"}), ("b", {"fleet": "2"}), ("c", {"other": "1"})):
        await kube.create(CONFIG_MAPS, config_map(name, labels), namespace)

    async def names(selector: str) -> set[str]:
        found = await kube.list(CONFIG_MAPS, namespace, label_selector=selector)
        return {each.metadata.name for each in found.items}

    assert await names("fleet") == {"a", "b"}
    assert await names("fleet=2") == {"b"}
    assert await names("fleet=2,other") == set()


async def test_a_watch_tells_everything_since_the_list(place: Place) -> None:
    kube, namespace = place
    await kube.create(CONFIG_MAPS, config_map("before", {"fleet": "1"}), namespace)
    version = (await kube.list(CONFIG_MAPS, namespace, label_selector="fleet")).resource_version
    # Written before the watch begins: it must not be missed.
    await kube.create(CONFIG_MAPS, config_map("a", {"fleet": "1"}), namespace)
    async with kube.watch(CONFIG_MAPS, namespace, resource_version=version, label_selector="fleet") as events:
        assert await told(events) == ("ADDED", "a")
        await kube.create(CONFIG_MAPS, config_map("unlabelled"), namespace)
        await kube.patch(CONFIG_MAPS, "a", {"data": {"x": "1"}}, namespace)
        assert await told(events) == ("MODIFIED", "a")
        await kube.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"fleet": None}}}, namespace)
        assert await told(events) == ("DELETED", "a")
        await kube.patch(CONFIG_MAPS, "unlabelled", {"metadata": {"labels": {"fleet": "2"}}}, namespace)
        assert await told(events) == ("ADDED", "unlabelled")
        await kube.delete(CONFIG_MAPS, "before", namespace)
        assert await told(events) == ("DELETED", "before")


async def told(events: AsyncIterator[WatchEvent[ConfigMap]]) -> tuple[str, str]:
    async with asyncio.timeout(10):
        async for event in events:
            if event.type != "BOOKMARK":
                return event.type, event.object.metadata.name
    raise AssertionError("the watch ended")


async def test_a_reflector_mirrors_the_collection(place: Place) -> None:
    kube, namespace = place
    await kube.create(CONFIG_MAPS, config_map("a", {"fleet": "1"}), namespace)
    seen: list[Any] = []
    stream = Reflector(kube, CONFIG_MAPS, namespace, label_selector="fleet").stream()
    async with asyncio.timeout(10):
        seen.append(await anext(stream))
        await kube.create(CONFIG_MAPS, config_map("b", {"fleet": "1"}), namespace)
        seen.append(await anext(stream))
        await kube.delete(CONFIG_MAPS, "a", namespace)
        seen.append(await anext(stream))
    await stream.aclose()
    assert [(type(item), names(item)) for item in seen] == [(Synced, ["a"]), (Changed, ["b"]), (Changed, ["a"])]


def names(item: Synced[ConfigMap] | Changed[ConfigMap]) -> list[str]:
    objects = item.objects if isinstance(item, Synced) else (item.object,)
    return [each.metadata.name for each in objects]


async def test_what_is_served_there_and_permitted_can_be_asked(place: Place) -> None:
    kube, namespace = place
    assert (await kube.server_version()).at_least(1, 27)
    assert await kube.serves(PODS)
    assert (await kube.get(NAMESPACES, namespace)).metadata.name == namespace
    rules = await kube.rules(namespace)
    assert rules.permit("patch", PODS, "status") or not rules.complete
    assert await kube.can_i("patch", PODS, namespace, subresource="status")
