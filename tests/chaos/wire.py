"""What is between a schedule's controllers and the API server: an HTTP proxy that can do what networks and servers do.

Without TLS on the controllers' side, so that it can answer in the API server's place. Who asks is told by the
controller's own impersonation headers, which pass through.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

_HOP = ("host", "connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "date", "server")
_GONE = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}
_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}
_REPEAT_SECONDS = 0.5


@dataclass
class Weather:
    """How the wire is now. Faults that last set it, and set it back."""

    answer: int = 0  # HTTP status of every answer; 0 for the API server's own
    lose_answers: bool = False
    watches_gone: bool = False
    repeat: bool = False
    refuse: bool = False
    refuse_placements: bool = False
    delay_seconds: float = 0.0
    alive: asyncio.Event = field(default_factory=asyncio.Event)
    dead: list[asyncio.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alive.set()

    def deaden(self) -> None:
        """Connections of now stand open for ever without a byte."""
        self.alive.clear()
        self.dead.append(self.alive)
        self.alive = asyncio.Event()
        self.alive.set()


class Wire:
    """One proxy."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self._open: list[web.BaseRequest] = []
        self._connections: weakref.WeakKeyDictionary[asyncio.BaseTransport, asyncio.Event] = weakref.WeakKeyDictionary()
        self.weather = Weather()
        self.address = ""

    def end(self) -> None:
        """Break all connections, and wake what waits on dead ones."""
        self.cut()
        for connection in self.weather.dead:
            connection.set()

    def cut(self) -> None:
        """Break all connections that carry a request now, the watches among them."""
        for request in list(self._open):
            _abort(request)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass one request on, or do not."""
        alive = self._alive(request)
        weather = self.weather
        if weather.refuse:
            _abort(request)
        self._open.append(request)
        try:
            await alive.wait()
            await asyncio.sleep(weather.delay_seconds)
            if weather.answer:
                return _refusal(weather.answer)
            if weather.refuse_placements and request.method == "PATCH" and "/pods/" in request.path:
                return _refusal(403)
            if request.query.get("watch"):
                return await self._watch(request, alive)
            return await self._call(request, alive)
        except (ConnectionError, aiohttp.ClientError):  # the controller has had enough, or the API server is away
            _abort(request)
            return web.Response(status=503)
        finally:
            self._open.remove(request)

    def _alive(self, request: web.BaseRequest) -> asyncio.Event:
        """A connection lives as long as the weather of its first request does."""
        assert request.transport is not None
        return self._connections.setdefault(request.transport, self.weather.alive)

    async def _call(self, request: web.BaseRequest, alive: asyncio.Event) -> web.StreamResponse:
        async with self._send(request, await request.read()) as answer:
            body = await answer.read()
            await alive.wait()
            if self.weather.lose_answers and request.method != "GET":
                _abort(request)
            return web.Response(status=answer.status, body=body, headers=_headers(answer))

    async def _watch(self, request: web.BaseRequest, alive: asyncio.Event) -> web.StreamResponse:
        if self.weather.watches_gone:
            gone = json.dumps({"type": "ERROR", "object": _GONE}) + "\n"
            return web.Response(text=gone, content_type="application/json")
        async with self._send(request, b"") as answer:
            response = web.StreamResponse(status=answer.status, headers=_headers(answer))
            await response.prepare(request)
            repeats: set[asyncio.Task[None]] = set()
            try:
                async for line in answer.content:
                    await alive.wait()
                    await asyncio.sleep(self.weather.delay_seconds)
                    await response.write(line)
                    if self.weather.repeat and b'"BOOKMARK"' not in line[:20]:
                        repeats.add(asyncio.create_task(_again(response, line)))
            finally:
                for task in repeats:
                    task.cancel()
            return response

    def _send(self, request: web.BaseRequest, body: bytes) -> aiohttp.client._RequestContextManager:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = f"{self._server}{request.path_qs}"
        return self._session.request(request.method, url, headers=headers, data=body or None, timeout=_FOREVER)


_FOREVER = aiohttp.ClientTimeout(total=None, sock_connect=10)


async def _again(response: web.StreamResponse, line: bytes) -> None:
    await asyncio.sleep(_REPEAT_SECONDS)
    await response.write(line)


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}


def _refusal(status: int) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "reason": _REASONS[status], "code": status, "message": "played"}
    return web.json_response(body, status=status, headers={"Retry-After": "1"} if status == 429 else {})


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


@asynccontextmanager
async def wire(server: str, session: aiohttp.ClientSession) -> AsyncGenerator[Wire]:
    """A proxy before the API server at that address; ``session`` knows its certificate."""
    found = Wire(server, session)
    runner = web.ServerRunner(web.Server(found.handle), shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    found.address = f"http://127.0.0.1:{address[1]}"
    try:
        yield found
    finally:
        found.end()
        await runner.cleanup()
