"""A few calls to the lab's API server, in plain JSON.

Not `kube/`: that is asynchronous, for controllers. Not the official client: importing its models takes longer than
starting the API server does.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from airflow_provider_spotmix.lab.errors import LabError

Json = dict[str, Any]
TIMEOUT_SECONDS = 10.0

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_APPLY = "application/apply-patch+yaml"  # JSON is YAML


class ApiError(LabError):
    """The API server refused a request.

    Attributes:
        code: HTTP status.
        reason: the machine-readable reason of the Status object, for example ``NotFound``.
        causes: what is wrong with an object: field and message of each (tests/fuzz).

    """

    def __init__(self, code: int, reason: str, message: str, causes: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(f"the API server answered {code} {reason}: {message}")
        self.code, self.reason, self.causes = code, reason, frozenset(causes)


class Api:
    """Calls as one user, mostly the administrator. Not for use by several threads at once.

    Args:
        url: ``https://host:port``.
        token: bearer token.
        ca: the authority's certificate, PEM.

    Attributes:
        headers: sent with every request.

    """

    def __init__(self, url: str, token: str, ca: str) -> None:
        self._netloc = urlsplit(url).netloc
        self.headers = {"Authorization": f"Bearer {token}"}
        self._tls = ssl.create_default_context(cadata=ca)

    def get(self, path: str, **query: str) -> Json:
        """GET; `query` as the API names it, for example ``labelSelector=``."""
        return self._json("GET", path, query=query)

    def items(self, path: str, **query: str) -> list[Json]:
        """The items of a list."""
        return list(self.get(path, **query)["items"])

    def find(self, path: str) -> Json | None:
        """GET, or None when there is no such object."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.code == http.client.NOT_FOUND:
                return None
            raise

    def create(self, path: str, body: Json, **query: str) -> Json:
        """POST."""
        return self._json("POST", path, body, query=query)

    def patch(self, path: str, body: Json | list[Json], kind: str = MERGE_PATCH) -> Json:
        """PATCH of the given content type."""
        return self._json("PATCH", path, body, content_type=kind)

    def apply(self, path: str, body: Json) -> Json:
        """Server-side apply: create or change."""
        query = {"fieldManager": "spotmix-lab", "force": "true"}
        return self._json("PATCH", path, body, content_type=_APPLY, query=query)

    def delete(self, path: str, body: Json | None = None) -> None:
        """DELETE; an object that is gone already is fine."""
        try:
            self._json("DELETE", path, body)
        except ApiError as error:
            if error.code != http.client.NOT_FOUND:
                raise

    def text(self, path: str, **query: str) -> str:
        """GET of something that is not JSON: logs, health."""
        return self._request("GET", path, None, "", query).decode(errors="replace")

    def _json(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", query: Any = None
    ) -> Json:
        answer = json.loads(self._request(method, path, body, content_type, query or {}))
        return dict(answer)

    def _request(self, method: str, path: str, body: Any, content_type: str, query: dict[str, str]) -> bytes:
        url = quote(path) + (f"?{urlencode(query)}" if query else "")
        headers = self.headers | {"Content-Type": content_type}
        payload = None if body is None else json.dumps(body).encode()
        # A connection per request: they are few, and none can be stale after the API server's restart.
        connection = http.client.HTTPSConnection(self._netloc, context=self._tls, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, url, payload, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(f"the lab's API server at {self._netloc} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise error_of(answer.status, answer.reason, content)
        return content


def error_of(code: int, reason: str, content: bytes) -> ApiError:
    """The error of an answer; what is no Status object is told as it is."""
    try:
        status = json.loads(content)
        causes = (status.get("details") or {}).get("causes") or ()
        said = ((cause.get("field", ""), cause.get("message", "")) for cause in causes)
        return ApiError(code, status.get("reason", reason), status.get("message", ""), said)
    except (ValueError, AttributeError):
        return ApiError(code, reason, content[:500].decode(errors="replace"))


def wait_until(
    what: str, check: Callable[[], bool], *, seconds: float, check_alive: Callable[[], None] = lambda: None
) -> None:
    """Poll until `check` is true. An API server that is not there yet counts as false.

    Args:
        what: for the error message, for example ``the nodes to be Ready``.
        check: asked ten times a second.
        seconds: how long to wait.
        check_alive: raises when waiting is pointless.

    Raises:
        LabError: the time is over; it tells the last error.

    """
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            if check():
                return
        except LabError as error:
            last = f" (last: {error})"
        check_alive()
        time.sleep(0.1)
    raise LabError(f"waited {seconds:.0f} s for {what} in vain{last}")
