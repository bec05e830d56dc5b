"""A real HTTP server on 127.0.0.1 that speaks just enough of the Kubernetes wire protocol to break it on purpose."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.rest import KubeClient
from airflow_provider_spotmix.kube.retry import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Everything fast, so that tests need not wait; the ratios are those of the defaults.
QUICK = Limits(
    connect_seconds=2.0,
    call_seconds=0.25,
    watch_seconds=1,
    watch_slack_seconds=-0.7,
    attempts=4,
    backoff_base_seconds=0.001,
    backoff_cap_seconds=0.002,
    retry_after_cap_seconds=0.05,
)


class WireServer:
    """Answers requests with a script: one answer each, in order; the last one is repeated."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.url = ""
        # Set when a client hangs up on an unfinished answer.
        self.hung_up = asyncio.Event()
        self._answers: deque[Answer] = deque()

    def script(self, *answers: Answer) -> None:
        self._answers = deque(answers)
        self.requests.clear()
        self.bodies.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.popleft()
        try:
            return await answer(request)
        except asyncio.CancelledError:
            self.hung_up.set()
            raise

    def kubeconfig(self, user: dict[str, Any] | None = None) -> str:
        return json.dumps(
            {
                "current-context": "x",
                "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                "users": [{"name": "u", "user": {"token": "t"} if user is None else user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            }
        )

    @asynccontextmanager
    async def client(
        self, user: dict[str, Any] | None = None, limits: Limits = QUICK
    ) -> AsyncGenerator[KubeClient, None]:
        client = await KubeClient.connect(ClusterConfig(kube_config=self.kubeconfig(user)), limits)
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def serving() -> AsyncGenerator[WireServer, None]:
    wire = WireServer()
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", wire.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0)
    wire.url = str(server.make_url("")).rstrip("/")
    try:
        yield wire
    finally:
        await server.close()


def ok(body: Any = None, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({} if body is None else body, headers=headers)

    return answer


def refuse(code: int, reason: str = "", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        status = {"kind": "Status", "code": code, "reason": reason, "message": f"scripted {code}"}
        return web.json_response(status, status=code, headers=headers)

    return answer


def page(html: str, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=html, content_type="text/html", status=status)

    return answer


def hang_up() -> Answer:
    """Read the request, then cut the connection without an answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        await asyncio.sleep(0)
        return web.Response()

    return answer


def silence() -> Answer:
    """Accept the request and never answer."""

    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    return answer


def stream(*chunks: bytes, then: str = "end") -> Answer:
    """Answer a watch with chunks, then ``end`` it properly, ``abort`` the connection, or keep it in ``silence``."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "abort":
            assert request.transport is not None
            request.transport.abort()
        if then == "silence":
            await asyncio.Event().wait()
        return response

    return answer


def line(kind: str, thing: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def thing(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}, **more}
