"""What the client does when the server, the network or a proxy misbehaves. Nothing here waits longer than a second."""

import asyncio
import json
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from airflow_provider_spotmix.kube.client import Kube, PatchType, WatchEvent
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.errors import (
    ApiError,
    ApiUnavailable,
    ConfigError,
    DecodeError,
    Gone,
    KubeError,
    ServerError,
    TooManyRequests,
    Unauthorized,
)
from airflow_provider_spotmix.kube.objects import ConfigMap
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS
from airflow_provider_spotmix.kube.rest import KubeClient
from tests.kube.wire import (
    QUICK,
    WireServer,
    hang_up,
    line,
    ok,
    page,
    refuse,
    silence,
    stream,
    thing,
)

BODY: dict[str, Any] = {"metadata": {"name": "m"}}


async def get(kube: Kube) -> object:
    return await kube.get(CONFIG_MAPS, "m", "n")


async def create(kube: Kube) -> object:
    return await kube.create(CONFIG_MAPS, BODY, "n")


async def merge(kube: Kube) -> object:
    return await kube.patch(CONFIG_MAPS, "m", BODY, "n")


async def json_patch(kube: Kube) -> object:
    return await kube.patch(CONFIG_MAPS, "m", [{"op": "test", "path": "/a", "value": 1}], "n", kind=PatchType.JSON)


async def guarded_merge(kube: Kube) -> object:
    return await kube.patch(CONFIG_MAPS, "m", {"metadata": {"resourceVersion": "1"}}, "n")


async def delete(kube: Kube) -> None:
    await kube.delete(CONFIG_MAPS, "m", "n")


async def can_i(kube: Kube) -> object:
    return await kube.can_i("get", CONFIG_MAPS, "n")


ALWAYS_REPEATED = [get, merge, delete, can_i]
NEVER_BLINDLY_REPEATED = [create, json_patch, guarded_merge]


@pytest.mark.parametrize("call", ALWAYS_REPEATED)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(refuse(500, "InternalError"), id="500"),
        pytest.param(refuse(503, "ServiceUnavailable"), id="503"),
        pytest.param(refuse(429, "TooManyRequests"), id="429"),
        pytest.param(hang_up(), id="connection-cut"),
        pytest.param(silence(), id="no-answer"),
        pytest.param(page("bad gateway", 502), id="proxy"),
    ],
)
async def test_harmless_calls_are_repeated_until_they_succeed(wire: WireServer, call: Any, fault: Any) -> None:
    wire.script(fault, fault, ok())
    async with wire.client() as kube:
        await call(kube)
    assert len(wire.requests) >= 3


@pytest.mark.parametrize("call", NEVER_BLINDLY_REPEATED)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(refuse(500, "InternalError"), ServerError, id="500"),
        pytest.param(refuse(429), TooManyRequests, id="429-without-retry-after"),
        pytest.param(hang_up(), ApiUnavailable, id="connection-cut"),
        pytest.param(silence(), ApiUnavailable, id="no-answer"),
    ],
)
async def test_calls_that_may_have_taken_effect_are_not_repeated(
    wire: WireServer, call: Any, fault: Any, error: type[KubeError]
) -> None:
    wire.script(fault, ok())
    async with wire.client() as kube:
        with pytest.raises(error) as caught:
            await call(kube)
    assert len(wire.requests) == 1
    if isinstance(caught.value, ApiUnavailable):
        assert caught.value.maybe_done


@pytest.mark.parametrize("call", NEVER_BLINDLY_REPEATED)
async def test_a_call_that_the_server_put_off_is_repeated_when_it_says(wire: WireServer, call: Any) -> None:
    wire.script(refuse(429, "TooManyRequests", **{"Retry-After": "1"}), ok())
    async with wire.client() as kube:
        started = time.monotonic()
        await call(kube)
    assert time.monotonic() - started >= QUICK.retry_after_cap_seconds
    assert len(wire.requests) == 2


@pytest.mark.parametrize("code", [400, 403, 404, 409, 422, 501])
async def test_refusals_are_final(wire: WireServer, code: int) -> None:
    wire.script(refuse(code))
    async with wire.client() as kube:
        with pytest.raises(ApiError):
            await get(kube)
    assert len(wire.requests) == 1


async def test_attempts_are_bounded(wire: WireServer) -> None:
    wire.script(refuse(503))
    async with wire.client() as kube:
        with pytest.raises(ServerError):
            await get(kube)
    assert len(wire.requests) == QUICK.attempts


async def test_a_server_that_is_not_there_certainly_did_nothing(unused_tcp_port: int) -> None:
    config = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{unused_tcp_port}"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c"}}],
    }
    kube = await KubeClient.connect(ClusterConfig(kube_config=json.dumps(config)), QUICK)
    with pytest.raises(ApiUnavailable, match="no answer from http://127") as caught:
        await create(kube)
    assert not caught.value.maybe_done
    await kube.close()


async def test_a_login_page_is_not_taken_for_an_object(wire: WireServer) -> None:
    wire.script(page("<html>please log in"))
    async with wire.client() as kube:
        with pytest.raises(DecodeError, match=r"<html>please log in.*not of a login page"):
            await get(kube)


async def test_a_list_whose_pages_expire_is_read_again_in_one_go(wire: WireServer) -> None:
    first = {"metadata": {"continue": "t", "resourceVersion": "1"}, "items": [thing("old", 1)]}
    whole = {"metadata": {"resourceVersion": "9"}, "items": [thing("a", 2), thing("b", 9)]}
    wire.script(ok(first), refuse(410, "Expired"), ok(whole))
    async with wire.client() as kube:
        listing = await kube.list(CONFIG_MAPS, "n", label_selector="a=b,c")
    assert ([each.metadata.name for each in listing.items], listing.resource_version) == (["a", "b"], "9")
    assert [dict(request.query) for request in wire.requests] == [
        {"labelSelector": "a=b,c", "limit": "500"},
        {"labelSelector": "a=b,c", "limit": "500", "continue": "t"},
        {"labelSelector": "a=b,c"},
    ]


async def test_a_null_list_is_empty(wire: WireServer) -> None:
    wire.script(ok({"metadata": {"resourceVersion": "9"}, "items": None}))
    async with wire.client() as kube:
        assert (await kube.list(CONFIG_MAPS, "n")).items == ()


async def test_preconditions_and_grace_travel_in_the_body(wire: WireServer) -> None:
    wire.script(ok())
    async with wire.client() as kube:
        await kube.delete(CONFIG_MAPS, "m", "n", grace_period_seconds=0, propagation_policy="Background", uid="u")
    assert json.loads(wire.bodies[0]) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Background",
        "preconditions": {"uid": "u"},
    }


async def test_a_redirect_is_not_followed_and_gets_no_token(wire: WireServer) -> None:
    wire.script(refuse(302, Location="/login"), ok())
    async with wire.client() as kube:
        with pytest.raises(ApiError, match="302"):
            await get(kube)
    assert len(wire.requests) == 1


async def test_proxies_of_the_environment_do_not_apply_to_loopback(
    wire: WireServer, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    wire.script(ok())
    async with wire.client() as kube:
        await get(kube)


async def test_selectors_and_names_arrive_as_they_were_meant(wire: WireServer) -> None:
    wire.script(ok())
    selector = "a in (b, c),d!=e/f,g=h+i&j"
    async with wire.client() as kube:
        await kube.list(CONFIG_MAPS, "n", label_selector=selector)
        await kube.get(CONFIG_MAPS, "a/../b?c#d", "n")
    assert wire.requests[0].query["labelSelector"] == selector
    assert wire.requests[1].raw_path == "/api/v1/namespaces/n/configmaps/a%2F..%2Fb%3Fc%23d"


async def test_logs_are_bounded_and_decoded_leniently(wire: WireServer) -> None:
    wire.script(page("last line\n"))
    async with wire.client() as kube:
        assert await kube.log("p", "n", container="main", tail_lines=5) == "last line\n"
    assert dict(wire.requests[0].query) == {"container": "main", "tailLines": "5", "limitBytes": "10485760"}


# Watches


async def watched(kube: Kube) -> list[WatchEvent[ConfigMap]]:
    async with kube.watch(CONFIG_MAPS, "n", resource_version="1") as events:
        return [event async for event in events]


async def test_lines_of_any_length_arrive_whole(wire: WireServer) -> None:
    big = line("ADDED", thing("big", 2, data={"k": "x" * 5_000_000}))
    small = line("MODIFIED", thing("small", 3))
    body = big + small
    wire.script(stream(body[:100], body[100:3_000_000], body[3_000_000:-10], body[-10:]))
    async with wire.client() as kube:
        events = await watched(kube)
    assert [(event.type, event.object.metadata.name, event.resource_version) for event in events] == [
        ("ADDED", "big", "2"),
        ("MODIFIED", "small", "3"),
    ]
    assert len(events[0].object.data["k"]) == 5_000_000


async def test_a_bookmark_moves_the_version(wire: WireServer) -> None:
    wire.script(stream(line("BOOKMARK", {"metadata": {"resourceVersion": "77", "creationTimestamp": None}})))
    async with wire.client() as kube:
        events = await watched(kube)
    assert [(event.type, event.resource_version) for event in events] == [("BOOKMARK", "77")]


async def test_an_expired_version_is_gone_at_once_or_in_the_stream(wire: WireServer) -> None:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}
    async with wire.client() as kube:
        wire.script(refuse(410, "Expired"))
        with pytest.raises(Gone):
            await watched(kube)
        wire.script(stream(line("ERROR", status)))
        with pytest.raises(Gone):
            await watched(kube)


async def test_a_half_open_watch_is_noticed(wire: WireServer) -> None:
    wire.script(stream(line("ADDED", thing("a", 2)), then="silence"))
    async with wire.client() as kube, kube.watch(CONFIG_MAPS, "n", resource_version="1") as events:
        assert (await anext(events)).object.metadata.name == "a"
        with pytest.raises(ApiUnavailable):
            await anext(events)


async def test_a_line_cut_off_in_the_middle_is_no_event(wire: WireServer) -> None:
    whole, cut = line("ADDED", thing("a", 2)), line("ADDED", thing("b", 3))[:-20]
    async with wire.client() as kube:
        wire.script(stream(whole + cut))
        assert [event.object.metadata.name for event in await watched(kube)] == ["a"]
        wire.script(stream(whole + cut, then="abort"))
        with pytest.raises(ApiUnavailable):
            await watched(kube)


async def test_leaving_a_watch_closes_its_connection(wire: WireServer) -> None:
    wire.script(stream(line("ADDED", thing("a", 2)), then="silence"))
    async with wire.client() as kube:
        async with kube.watch(CONFIG_MAPS, "n", resource_version="1") as events:
            await anext(events)
        async with asyncio.timeout(5):
            await wire.hung_up.wait()


# Credentials


def accepting(token: str) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        right = request.headers.get("Authorization") == f"Bearer {token}"
        return web.json_response({} if right else {"code": 401, "reason": "Unauthorized"}, status=200 if right else 401)

    return answer


def age(kube: KubeClient, seconds: float) -> None:
    """Let the loaded credentials look older than they are."""
    credentials = kube._session._credentials
    assert credentials is not None
    credentials.loaded_at -= seconds
    if credentials.renew_at is not None:
        credentials.renew_at -= seconds


async def test_a_rotated_token_file_is_read_again_after_a_401(wire: WireServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    wire.script(accepting("new"))
    async with wire.client({"tokenFile": str(token)}) as kube:
        with pytest.raises(Unauthorized):
            await get(kube)
        token.write_text("new\n")
        age(kube, 6)
        await get(kube)


async def test_a_token_file_is_read_again_every_minute(wire: WireServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    wire.script(accepting("old"), accepting("new"))
    async with wire.client({"tokenFile": str(token)}) as kube:
        await get(kube)
        token.write_text("new")
        age(kube, 61)
        await get(kube)
    assert len(wire.requests) == 2


def exec_plugin(folder: Path, life_seconds: int) -> dict[str, Any]:
    """Write a plugin whose tokens are t1, t2, ... and which leaves a line per run in ``runs``."""
    script = folder / "plugin"
    script.write_text(
        f"""#!{sys.executable}
import datetime as dt, json, pathlib
runs = pathlib.Path({str(folder / "runs")!r})
runs.write_text((runs.read_text() if runs.exists() else "") + "x")
expiry = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds={life_seconds})
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{
    "token": f"t{{len(runs.read_text())}}", "expirationTimestamp": expiry.strftime("%Y-%m-%dT%H:%M:%SZ")}}}}))
"""
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "args": []}}


async def test_an_exec_plugin_runs_once_and_again_only_before_its_token_expires(
    wire: WireServer, tmp_path: Path
) -> None:
    async with wire.client(exec_plugin(tmp_path, life_seconds=900)) as kube:
        wire.script(accepting("t1"))
        for _ in range(5):
            await get(kube)
        age(kube, 899)
        wire.script(accepting("t2"))
        await asyncio.gather(*(get(kube) for _ in range(5)))
    assert (tmp_path / "runs").read_text() == "xx"


async def test_an_exec_plugin_with_short_tokens_does_not_run_for_every_call(wire: WireServer, tmp_path: Path) -> None:
    wire.script(accepting("t1"))
    async with wire.client(exec_plugin(tmp_path, life_seconds=60)) as kube:
        for _ in range(5):
            await get(kube)
    assert (tmp_path / "runs").read_text() == "x"


async def test_a_failing_exec_plugin_is_told(wire: WireServer) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nowhere/plugin", "args": []}}
    with pytest.raises(ConfigError, match=r"cannot load the credentials of context 'x'.*/nowhere/plugin"):
        async with wire.client(user):
            pass


async def test_impersonation_is_honoured(wire: WireServer) -> None:
    wire.script(ok())
    async with wire.client({"token": "t", "as": "jane", "as-groups": ["a", "b"]}) as kube:
        await get(kube)
    headers = wire.requests[0].headers
    assert (headers["Impersonate-User"], headers.getall("Impersonate-Group")) == ("jane", ["a", "b"])
    assert headers["User-Agent"].startswith("spotmix/")
