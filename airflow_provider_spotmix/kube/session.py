"""An HTTP session to one API server, with credentials kept fresh.

kubernetes_asyncio's configuration loaders give tokens, certificates, exec plugins and auth providers. Its models, calls
and REST client are not used. This module adds what the loaders leave out: a ``tokenFile`` is read again, an exec
plugin's token is renewed before it expires, a 401 renews at once, and ``as`` (impersonation) is honoured instead of
silently dropped. As with kubectl, proxies from the environment do not apply to loopback addresses.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import ssl
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from airflow_provider_spotmix import __version__
from airflow_provider_spotmix.kube.clock import ServerClock
from airflow_provider_spotmix.kube.config import public_address
from airflow_provider_spotmix.kube.errors import ApiUnavailable, Call, ConfigError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_spotmix.kube.config import ClusterConfig
    from airflow_provider_spotmix.kube.kubeconfig import Selected
    from airflow_provider_spotmix.kube.retry import Limits

# As client-go: service account tokens are rotated on disk, so a token file is read again every minute.
_TOKEN_FILE_SECONDS: Final = 60.0
# Renew an exec plugin's token this long before it expires, or after 80 % of its life if that is later.
_RENEW_EARLY_SECONDS: Final = 300.0
_EXEC_PLUGIN_SECONDS: Final = 60.0
# A storm of 401s runs the exec plugin once, not once per call.
_RENEW_AT_MOST_EVERY_SECONDS: Final = 5.0
# Requests and watches on retired connections may finish before those are closed.
_RETIRED_SECONDS: Final = 60.0

# At once to one API server, watches included.
_CONNECTIONS: Final = 100
_READ_BUFFER_BYTES: Final = 2**18

_LOAD_ERRORS = (OSError, ValueError, TypeError, KeyError, AttributeError, AssertionError, RuntimeError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. ``body`` is plain JSON; ``query`` leaves out ``None`` values."""

    call: Call
    method: str
    path: str
    query: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    body: Mapping[str, Any] | Sequence[Any] | None = None
    content_type: str = "application/json"
    timeout: aiohttp.ClientTimeout = field(default_factory=aiohttp.ClientTimeout)


@dataclass(slots=True)
class _Credentials:
    """One loading of the configuration: connections made with it, and when it wants renewal (epoch seconds)."""

    http: aiohttp.ClientSession
    configuration: Any
    headers: CIMultiDict[str]
    renew_at: float | None
    loaded_at: float


class Session:
    """Sends requests; knows nothing of Kubernetes' objects. Bound to the event loop it was opened on."""

    def __init__(self, cluster: ClusterConfig, limits: Limits) -> None:
        self._cluster = cluster
        self._limits = limits
        self._credentials: _Credentials | None = None
        self._renewing = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self.server = public_address(cluster.select().server)
        self.clock = ServerClock()

    async def open(self) -> None:
        """Load the credentials. Raises :class:`ConfigError`."""
        self._credentials = await _load(self._cluster)

    async def send(self, request: Request) -> aiohttp.ClientResponse:
        """Send one request and return the response, whatever its status, with its body unread.

        Raises :class:`ApiUnavailable` for transport errors and :class:`ConfigError` when credentials cannot be renewed.
        """
        credentials = await self._fresh()
        headers = CIMultiDict(credentials.headers)
        headers["Content-Type"] = request.content_type
        if token := await credentials.configuration.get_api_key_with_prefix("BearerToken"):
            # A token file often ends with a newline, which a header must not.
            headers["Authorization"] = token.strip()
        query = {key: _query_value(value) for key, value in request.query.items() if value is not None}
        url = credentials.configuration.host + request.path + (f"?{urlencode(query)}" if query else "")
        asked = self.clock.asked()
        with self.transport_errors(request.call):
            response = await credentials.http.request(
                request.method,
                # The query is quoted already, and the server must see it as it is.
                URL(url, encoded=True),
                headers=headers,
                data=None if request.body is None else msgspec.json.encode(request.body),
                timeout=request.timeout,
                proxy=credentials.configuration.proxy,
                server_hostname=credentials.configuration.tls_server_name,
                # API servers do not redirect; whatever does is no API server, and gets no token.
                allow_redirects=False,
            )
        self.clock.told(response.headers.get("Date"), asked)
        return response

    async def renew(self, tried_at: float) -> bool:
        """After a 401 to a call sent at ``tried_at`` (monotonic), load the credentials anew.

        Returns whether it is worth trying again: ``False`` when they were loaded only just before that call.
        """
        async with self._renewing:
            current = self._credentials
            if current is None or current.loaded_at > tried_at:
                return current is not None
            if time.monotonic() - current.loaded_at < _RENEW_AT_MOST_EVERY_SECONDS:
                return False
            await self._replace(await _load(self._cluster))
            return True

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        credentials, self._credentials = self._credentials, None
        if credentials is not None:
            await credentials.http.close()

    @contextmanager
    def transport_errors(self, call: Call) -> Iterator[None]:
        """Turn whatever aiohttp raises inside into :class:`ApiUnavailable`."""
        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ApiUnavailable(call, self.server, _cause(error), maybe_done=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(call, self.server, _cause(error)) from error

    async def _fresh(self) -> _Credentials:
        if self._credentials is None:
            raise ConfigError(f"the client for {self.server} is closed; connect again")
        if self._credentials.renew_at is not None and time.time() >= self._credentials.renew_at:
            async with self._renewing:
                current = self._credentials
                if current.renew_at is not None and time.time() >= current.renew_at:
                    await self._replace(await _load(self._cluster))
        return self._credentials

    async def _replace(self, fresh: _Credentials) -> None:
        old, self._credentials = self._credentials, fresh
        if old is None:
            return
        task = asyncio.get_running_loop().create_task(_close_later(old.http))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)


async def _close_later(http: aiohttp.ClientSession) -> None:
    try:
        await asyncio.sleep(_RETIRED_SECONDS)
    finally:
        await http.close()


async def _load(cluster: ClusterConfig) -> _Credentials:
    """Load configuration through kubernetes_asyncio. Importing it takes over a second, so a thread does that."""
    chosen = cluster.select()
    client = await asyncio.to_thread(importlib.import_module, "kubernetes_asyncio.client")
    config = importlib.import_module("kubernetes_asyncio.config")
    configuration = client.Configuration()
    try:
        async with asyncio.timeout(_EXEC_PLUGIN_SECONDS):
            loader = await config.load_kube_config_from_dict(
                _single_context(chosen), context=chosen.context, client_configuration=configuration
            )
        http = _open_http(configuration, verify=cluster.verify_tls and configuration.verify_ssl)
    except (config.ConfigException, *_LOAD_ERRORS) as error:
        raise ConfigError(f"cannot load the credentials of context {chosen.context!r}: {_cause(error)}") from error
    return _Credentials(http, configuration, _headers(chosen), _renew_at(chosen, loader), time.monotonic())


def _open_http(configuration: Any, *, verify: bool) -> aiohttp.ClientSession:
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # Go's TLS, and so kubectl, accepts CA certificates without key identifiers; Python 3.13 would not by default.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not verify:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=_CONNECTIONS),
        trust_env=not _is_loopback(urlsplit(configuration.host).hostname or ""),
        read_bufsize=_READ_BUFFER_BYTES,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _single_context(chosen: Selected) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": chosen.context,
        "contexts": [{"name": chosen.context, "context": {"cluster": "cluster", "user": "user"}}],
        "clusters": [{"name": "cluster", "cluster": {**chosen.cluster, "server": chosen.server}}],
        "users": [{"name": "user", "user": dict(chosen.user)}],
    }


def _renew_at(chosen: Selected, loader: Any) -> float | None:
    if chosen.user.get("tokenFile") and not chosen.user.get("token"):
        return time.time() + _TOKEN_FILE_SECONDS
    expiry: dt.datetime | None = getattr(loader, "exec_plugin_expiry", None)
    if expiry is None:
        return None
    life = expiry.timestamp() - time.time()
    return time.time() + max(life - _RENEW_EARLY_SECONDS, life * 0.8, _RENEW_AT_MOST_EVERY_SECONDS)


def _headers(chosen: Selected) -> CIMultiDict[str]:
    headers = CIMultiDict({"User-Agent": f"spotmix/{__version__}", "Accept": "application/json"})
    if chosen.user.get("as"):
        headers["Impersonate-User"] = str(chosen.user["as"])
        for group in chosen.user.get("as-groups") or []:
            headers.add("Impersonate-Group", str(group))
    unsupported = [key for key in ("as-uid", "as-user-extra") if chosen.user.get(key)]
    if unsupported:
        raise ConfigError(
            f"context {chosen.context!r} uses {', '.join(unsupported)}, which is not supported; remove it"
        )
    return headers


def _query_value(value: str | int | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cause(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
