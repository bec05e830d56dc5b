"""A deliberately dumb API server in memory, behind the ``Kube`` protocol, for tests in virtual time.

It keeps JSON objects, numbers every write, and replays the writes to watches. ``test_kube_contract.py`` runs the same
scenarios against it and against the real API server, so that it cannot drift from what it stands for.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_spotmix.kube.access import Rules
from airflow_provider_spotmix.kube.client import Kube, Listing, PatchType, ServerVersion, WatchEvent
from airflow_provider_spotmix.kube.errors import ApiUnavailable, Call, Status, api_error
from airflow_provider_spotmix.kube.objects import Timestamp, convert
from airflow_provider_spotmix.kube.resources import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from airflow_provider_spotmix.kube.client import PropagationPolicy
    from airflow_provider_spotmix.kube.errors import ApiError, KubeError
    from airflow_provider_spotmix.kube.resources import Resource

T = TypeVar("T")
Key = tuple[str, str, str]


class MemoryServer:
    """The server's state; ``client()`` connects to it, and so does a hub, to which it looks like a cluster."""

    def __init__(self, *, watch_seconds: float = 30.0) -> None:
        self.watch_seconds = watch_seconds
        self.calls: Counter[str] = Counter()
        self.clients_open = 0
        # Faults: what every call (or only the verb) fails with from now on.
        self.failing: dict[str, KubeError] = {}
        # Verb and resource, as a Role says them: everything else is permitted.
        self.denied: set[tuple[str, str]] = set()
        self.absent: set[str] = set()  # paths of kinds that are not served, and of namespaces that are not there
        self.git_version = "v1.36.0-memory"
        self._objects: dict[Key, dict[str, Any]] = {}
        # (kind, key, object, object before)
        self._writes: list[tuple[str, Key, dict[str, Any], dict[str, Any] | None]] = []
        self._compacted = 0
        self._news = asyncio.Event()
        self._broken = 0

    def identity(self) -> str:
        return "memory#1"

    async def connect(self) -> Kube:
        self.clients_open += 1
        return MemoryKube(self)

    def client(self) -> MemoryKube:
        self.clients_open += 1
        return MemoryKube(self)

    def fail(self, verb: str = "*", *, code: int = 0, reason: str = "") -> None:
        """Make calls fail: with an HTTP status, or (0) with no answer at all, which also breaks open watches."""
        call = Call(verb, "anything")
        self.failing[verb] = api_error(Status(code, reason), call) if code else ApiUnavailable(call, "memory", "down")
        if not code:
            self.break_watches()

    def heal(self) -> None:
        self.failing.clear()

    def break_watches(self) -> None:
        """Cut the connection of every open watch."""
        self._broken += 1
        self._wake()

    def compact(self) -> None:
        """Forget old versions: resuming from any of them is answered with 410."""
        self._compacted = len(self._writes)

    def check(self, verb: str) -> None:
        self.calls[verb] += 1
        if (error := self.failing.get(verb) or self.failing.get("*")) is not None:
            raise error

    def write(self, kind: str, key: Key, thing: dict[str, Any]) -> dict[str, Any]:
        self._writes.append((kind, key, thing, self._objects.get(key)))
        thing["metadata"]["resourceVersion"] = str(len(self._writes))
        if kind == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = thing
        self._wake()
        return copy.deepcopy(thing)

    def find(self, call: Call, key: Key) -> dict[str, Any]:
        if key not in self._objects:
            raise refused(404, "NotFound", call)
        return copy.deepcopy(self._objects[key])

    def has(self, key: Key) -> bool:
        return key in self._objects

    def select(self, path: str, namespace: str | None, selector: str | None) -> list[dict[str, Any]]:
        return [
            thing
            for (kind, where, _), thing in self._objects.items()
            if kind == path and namespace in (None, where) and selected(thing, selector)
        ]

    @property
    def version(self) -> int:
        return len(self._writes)

    async def changes(
        self, call: Call, path: str, namespace: str | None, selector: str | None, version: int
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        if version < self._compacted:
            raise refused(410, "Expired", call)
        unbroken = self._broken
        loop = asyncio.get_running_loop()
        until = loop.time() + self.watch_seconds
        # Virtual time moves in microseconds: a rest that is smaller would be waited for for ever.
        while until - loop.time() > 0.001:
            for kind, key, thing, old in self._writes[version:]:
                matches = kind != "DELETED" and selected(thing, selector)
                known = old is not None and selected(old, selector)
                if key[0] == path and namespace in (None, key[1]) and (matches or known):
                    yield (("MODIFIED" if known else "ADDED") if matches else "DELETED"), thing
                version += 1
            if version < len(self._writes):
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), until - loop.time())
            if self._broken != unbroken:
                raise ApiUnavailable(call, "memory", "connection reset")

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class MemoryKube(Kube):
    """A client of a :class:`MemoryServer`."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._closed = False

    @property
    def identity(self) -> str:
        return self._server.identity()

    def now(self) -> float:
        return time.time()

    async def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        call = self._call("get", resource, namespace, name)
        if resource is NAMESPACES and resource.path(name=name) not in self._server.absent:
            return convert({"metadata": {"name": name}}, resource.type)  # they need not be created
        return convert(self._server.find(call, (resource.path(), namespace or "", name)), resource.type)

    async def list(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        page_size: int = 500,
    ) -> Listing[T]:
        self._call("list", resource, namespace)
        found = self._server.select(resource.path(), namespace, label_selector)
        return Listing(tuple(convert(each, resource.type) for each in found), str(self._server.version))

    async def create(self, resource: Resource[T], body: Mapping[str, Any], namespace: str | None = None) -> T:
        thing = copy.deepcopy(dict(body))
        name = thing["metadata"]["name"]
        call = self._call("create", resource, namespace, name)
        key = (resource.path(), namespace or "", name)
        if self._server.has(key):
            raise refused(409, "AlreadyExists", call)
        uid = f"uid-{self._server.version + 1}"
        created = Timestamp(0.0).rfc3339_micro()
        thing["metadata"] |= {"namespace": namespace or "", "uid": uid, "creationTimestamp": created}
        return convert(self._server.write("ADDED", key, thing), resource.type)

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        namespace: str | None = None,
        *,
        kind: PatchType = PatchType.MERGE,
        subresource: str | None = None,
    ) -> T:
        call = self._call("patch", resource, namespace, name)
        key = (resource.path(), namespace or "", name)
        thing = self._server.find(call, key)
        if kind is not PatchType.MERGE:
            raise NotImplementedError("the server in memory knows merge patches only")
        metadata = (dict(body).get("metadata") or {}) if isinstance(body, dict) else {}
        if metadata.get("uid") not in (None, thing["metadata"]["uid"]):
            raise refused(422, "Invalid", call)
        if metadata.get("resourceVersion") not in (None, thing["metadata"]["resourceVersion"]):
            raise refused(409, "Conflict", call)
        return convert(self._server.write("MODIFIED", key, merged(thing, body)), resource.type)

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: PropagationPolicy | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        call = self._call("delete", resource, namespace, name)
        key = (resource.path(), namespace or "", name)
        thing = self._server.find(call, key)
        for wanted, field in ((uid, "uid"), (resource_version, "resourceVersion")):
            if wanted not in (None, thing["metadata"][field]):
                raise refused(409, "Conflict", call)
        self._server.write("DELETED", key, thing)

    async def log(
        self,
        name: str,
        namespace: str,
        *,
        container: str | None = None,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
        since_time: str | None = None,
        timestamps: bool = False,
        previous: bool = False,
    ) -> str:
        raise NotImplementedError("pods in memory write no logs")

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AsyncGenerator[AsyncIterator[WatchEvent[T]], None]:
        call = self._call("watch", resource, namespace)
        changes = self._server.changes(call, resource.path(), namespace, label_selector, int(resource_version))

        async def events() -> AsyncGenerator[WatchEvent[T], None]:
            async for kind, thing in changes:
                version = thing["metadata"]["resourceVersion"]
                yield WatchEvent(kind, convert(thing, resource.type), version)  # type: ignore[arg-type]

        iterator = events()
        try:
            yield iterator
        finally:
            await iterator.aclose()
            await changes.aclose()

    async def server_version(self) -> ServerVersion:
        self._server.check("version")
        major, minor = self._server.git_version.removeprefix("v").split(".")[:2]
        return ServerVersion(int(major), int(minor), self._server.git_version)

    async def serves(self, resource: Resource[Any]) -> bool:
        self._server.check("discover")
        return resource.path() not in self._server.absent

    async def rules(self, namespace: str) -> Rules:
        """No rule is listed, as on a cluster whose authorizer lists none; `can_i` knows."""
        self._server.check("rules")
        return Rules((), complete=False)

    async def can_i(
        self,
        verb: str,
        resource: Resource[Any],
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        name: str | None = None,
    ) -> bool:
        self._server.check("review")
        return (verb, resource.rbac_name(subresource)) not in self._server.denied

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._server.clients_open -= 1

    def _call(self, verb: str, resource: Resource[Any], namespace: str | None = None, name: str | None = None) -> Call:
        self._server.check(verb)
        return Call(verb, resource.rbac_name(), namespace, name)


def refused(code: int, reason: str, call: Call) -> ApiError:
    return api_error(Status(code, reason), call)


def selected(thing: Mapping[str, Any], selector: str | None) -> bool:
    """Evaluate ``a,b=c``: presence and equality are all that the program uses."""
    labels = thing["metadata"].get("labels") or {}
    terms = [term.partition("=") for term in (selector or "").split(",") if term]
    return all(labels.get(key) == value if equals else key in labels for key, equals, value in terms)


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
