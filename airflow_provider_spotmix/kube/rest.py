"""The Kubernetes client over HTTP: typed calls, error mapping, retries. See :mod:`~.client` for the contract."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import aiohttp
import msgspec

from airflow_provider_spotmix.kube.access import Rules, read_rules
from airflow_provider_spotmix.kube.client import (
    ChangeType,
    Kube,
    Listing,
    PatchType,
    PropagationPolicy,
    ServerVersion,
    WatchEvent,
)
from airflow_provider_spotmix.kube.errors import (
    ApiError,
    ApiUnavailable,
    Call,
    DecodeError,
    Gone,
    NotFound,
    ServerError,
    Status,
    TooManyRequests,
    Unauthorized,
    api_error,
    status_of,
)
from airflow_provider_spotmix.kube.objects import decode, decoder, metadata_of
from airflow_provider_spotmix.kube.retry import Backoff, Limits, harmless_to_repeat, wait_seconds
from airflow_provider_spotmix.kube.session import Request, Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from airflow_provider_spotmix.kube.config import ClusterConfig
    from airflow_provider_spotmix.kube.resources import Resource

T = TypeVar("T")

_LOG_LIMIT_BYTES: Final = 10 * 2**20


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct, frozen=True):
    """One page of a list; the items stay undecoded, since their struct depends on the resource."""

    metadata: _ListMeta = _ListMeta()
    items: tuple[msgspec.Raw, ...] | None = None


class _Line(msgspec.Struct, Generic[T], frozen=True):
    """One line of a watch."""

    type: str
    object: T


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    major: str = ""
    minor: str = ""
    git_version: str = ""


class KubeClient(Kube):
    """One API server, seen with one set of credentials, on one event loop."""

    def __init__(self, session: Session, identity: str, limits: Limits) -> None:
        self._session = session
        self._identity = identity
        self._limits = limits
        self._decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}
        self._timeout = aiohttp.ClientTimeout(total=limits.call_seconds, sock_connect=limits.connect_seconds)

    @classmethod
    async def connect(cls, cluster: ClusterConfig, limits: Limits | None = None) -> KubeClient:
        """Load credentials and return a client; makes no call yet. Raises :class:`~.errors.ConfigError`."""
        limits = limits or Limits()
        session = Session(cluster, limits)
        await session.open()
        return cls(session, cluster.identity(), limits)

    @property
    def identity(self) -> str:
        """See :class:`Kube`."""
        return self._identity

    def now(self) -> float:
        """See :class:`Kube`."""
        return self._session.clock.now()

    async def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        """See :class:`Kube`."""
        call = Call("get", resource.rbac_name(), namespace, name)
        body = await self._call(Request(call, "GET", resource.path(namespace, name)))
        return self._decode(resource.type, body, call)

    async def list(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        page_size: int = 500,
    ) -> Listing[T]:
        """See :class:`Kube`."""
        call = Call("list", resource.rbac_name(), namespace)
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        items: list[T] = []
        token, limit = "", page_size
        while True:
            paged = {**query, "limit": limit or None, "continue": token or None}
            try:
                body = await self._call(Request(call, "GET", resource.path(namespace), paged))
            except Gone:
                if not token:
                    raise
                # The snapshot behind the pages was compacted away: read it all in one go, as client-go does.
                items, token, limit = [], "", 0
                continue
            page = self._decode(_Page, body, call)
            items.extend(self._decode(resource.type, raw, call) for raw in page.items or ())
            token = page.metadata.continue_
            if not token:
                return Listing(tuple(items), page.metadata.resource_version)

    async def create(self, resource: Resource[T], body: Mapping[str, Any], namespace: str | None = None) -> T:
        """See :class:`Kube`."""
        call = Call("create", resource.rbac_name(), namespace, (body.get("metadata") or {}).get("name"))
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        # Without it a field that the server does not know, such as one that is spelled wrong, is dropped in silence.
        request = Request(call, "POST", resource.path(namespace), {"fieldValidation": "Strict"}, body=whole)
        return self._decode(resource.type, await self._call(request, repeatable=False), call)

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
        """See :class:`Kube`."""
        call = Call("patch", resource.rbac_name(subresource), namespace, name)
        path = resource.path(namespace, name, subresource)
        request = Request(call, "PATCH", path, body=body, content_type=kind.value)
        repeatable = kind is not PatchType.JSON and not _demands_version(body)
        return self._decode(resource.type, await self._call(request, repeatable=repeatable), call)

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
        """See :class:`Kube`."""
        call = Call("delete", resource.rbac_name(), namespace, name)
        preconditions = _given(uid=uid, resourceVersion=resource_version)
        options = _given(
            gracePeriodSeconds=grace_period_seconds,
            propagationPolicy=propagation_policy,
            preconditions=preconditions or None,
        )
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        await self._call(Request(call, "DELETE", resource.path(namespace, name), body=body))

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
        """See :class:`Kube`. Never more than 10 MiB, whatever the container wrote."""
        query = {
            "container": container,
            "tailLines": tail_lines,
            "limitBytes": min(limit_bytes or _LOG_LIMIT_BYTES, _LOG_LIMIT_BYTES),
            "sinceTime": since_time,
            "timestamps": timestamps or None,
            "previous": previous or None,
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
        body = await self._call(Request(Call("get", "pods/log", namespace, name), "GET", path, query))
        return body.decode("utf-8", "replace")

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
        """See :class:`Kube`."""
        call = Call("watch", resource.rbac_name(), namespace)
        silence_seconds = self._limits.watch_seconds + self._limits.watch_slack_seconds
        query: dict[str, str | int | bool | None] = {
            "watch": True,
            "allowWatchBookmarks": True,
            "resourceVersion": resource_version,
            "timeoutSeconds": self._limits.watch_seconds,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        # sock_read bounds every wait for bytes, the headers included: a peer that vanished is noticed.
        timeout = aiohttp.ClientTimeout(sock_connect=self._limits.connect_seconds, sock_read=silence_seconds)
        response = await self._send(Request(call, "GET", resource.path(namespace), query, timeout=timeout))
        try:
            async with aclosing(self._events(resource, call, response)) as events:
                yield events
        finally:
            response.close()

    async def server_version(self) -> ServerVersion:
        """See :class:`Kube`."""
        call = Call("get", "/version")
        found = self._decode(_Version, await self._call(Request(call, "GET", "/version")), call)
        numbers = [re.match(r"\d+", part) for part in (found.major, found.minor)]
        major, minor = (int(number.group()) if number else 0 for number in numbers)
        return ServerVersion(major, minor, found.git_version)

    async def serves(self, resource: Resource[Any]) -> bool:
        """See :class:`Kube`."""
        call = Call("get", resource.rbac_name())
        path = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        try:
            found = self._decode(dict[str, Any], await self._call(Request(call, "GET", path)), call)
        except NotFound:
            return False
        return any(kind.get("name") == resource.plural for kind in found.get("resources") or ())

    async def rules(self, namespace: str) -> Rules:
        """See :class:`Kube`."""
        return read_rules(await self._review("SelfSubjectRulesReview", {"namespace": namespace}))

    async def can_i(
        self,
        verb: str,
        resource: Resource[Any],
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        name: str | None = None,
    ) -> bool:
        """See :class:`Kube`."""
        attributes = _given(
            verb=verb,
            group=resource.group,
            resource=resource.plural,
            namespace=namespace,
            subresource=subresource,
            name=name,
        )
        answer = await self._review("SelfSubjectAccessReview", {"resourceAttributes": attributes})
        return bool((answer.get("status") or {}).get("allowed"))

    async def _review(self, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Ask what our own credentials may do; such a question changes nothing, so it may be repeated."""
        plural = f"{kind.lower()}s"
        call = Call("create", f"{plural}.authorization.k8s.io")
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        request = Request(call, "POST", f"/apis/authorization.k8s.io/v1/{plural}", body=body)
        return self._decode(dict[str, Any], await self._call(request), call)

    async def close(self) -> None:
        """See :class:`Kube`."""
        await self._session.close()

    async def _call(self, request: Request, *, repeatable: bool = True) -> bytes:
        """Send a request with retries and return the body of a successful answer."""
        request = dataclasses.replace(request, timeout=self._timeout)
        backoff = Backoff(self._limits.backoff_base_seconds, self._limits.backoff_cap_seconds)
        for attempt in range(1, self._limits.attempts + 1):
            try:
                response = await self._send(request)
                with self._session.transport_errors(request.call):
                    return await response.read()
            except (ApiUnavailable, TooManyRequests, ServerError) as error:
                if attempt == self._limits.attempts or not harmless_to_repeat(error, repeatable=repeatable):
                    raise
                await asyncio.sleep(wait_seconds(error, backoff, self._limits))
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send(self, request: Request) -> aiohttp.ClientResponse:
        """Send a request once (twice when renewed credentials may cure a 401) and raise what the server refuses."""
        tried_at = time.monotonic()
        try:
            return await self._send_once(request)
        except Unauthorized:
            if not await self._session.renew(tried_at):
                raise
            return await self._send_once(request)

    async def _send_once(self, request: Request) -> aiohttp.ClientResponse:
        response = await self._session.send(request)
        if response.status < 300:
            return response
        try:
            with self._session.transport_errors(request.call):
                body = await response.read()
        finally:
            response.release()
        raise _refusal(response, body, request.call)

    async def _events(
        self, resource: Resource[T], call: Call, response: aiohttp.ClientResponse
    ) -> AsyncGenerator[WatchEvent[T], None]:
        lines = split_lines(response.content.iter_any())
        async with aclosing(lines):
            while True:
                with self._session.transport_errors(call):
                    line = await anext(lines, None)
                if line is None:
                    return
                yield self._event(resource, line, call)

    def _event(self, resource: Resource[T], line: bytes, call: Call) -> WatchEvent[T]:
        try:
            event = self._decode(_Line[resource.type], line, call)  # type: ignore[name-defined]
        except DecodeError:
            # An ERROR line carries a Status in the object's place.
            event = self._decode(_Line[Any], line, call)
        if event.type == "ERROR":
            raise api_error(self._decode(_Line[Status], line, call).object, call)
        change: ChangeType = msgspec.convert(event.type, ChangeType)
        return WatchEvent(change, event.object, metadata_of(event.object).resource_version)

    def _decode(self, kind: type[T], body: bytes | msgspec.Raw, call: Call) -> T:
        fast: msgspec.json.Decoder[T] | None = self._decoders.get(kind)
        if fast is None:
            fast = self._decoders[kind] = decoder(kind)
        try:
            return decode(fast, body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DecodeError(call, str(error), bytes(body)) from error


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Split a byte stream into non-empty lines of any length; a last line without its newline was cut off: dropped."""
    pending: list[bytes] = []
    async for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            pending.append(part)
            line = b"".join(pending)
            pending.clear()
            if line.strip():
                yield line
        if rest:
            pending.append(rest)


def _refusal(response: aiohttp.ClientResponse, body: bytes, call: Call) -> ApiError:
    try:
        retry_after = float(response.headers.get("Retry-After", 0))
    except ValueError:
        # The header may also hold a date, which API servers do not send.
        retry_after = 0.0
    return api_error(status_of(response.status, body, response.reason or ""), call, retry_after)


def _demands_version(body: Mapping[str, Any] | Sequence[Any]) -> bool:
    return isinstance(body, dict) and "resourceVersion" in (body.get("metadata") or {})


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
