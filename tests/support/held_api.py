"""An API server whose answer to the creation of an application can be held back: a moment at which a worker may die."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

APPLICATIONS = "/sparkapplications"
PASSED_ON = ("Authorization", "Content-Type", "Accept")
# Nobody waits longer for an answer.
HELD_SECONDS = 120


class HeldApi:
    """Passes on single calls (no watches), and holds creations of applications back.

    Attributes:
        arrived: set when a creation has come in.
        release: set it to let creations go on.

    """

    def __init__(self, kubeconfig: Path, *, created: bool) -> None:
        content = json.loads(kubeconfig.read_text())
        cluster = content["clusters"][0]["cluster"]
        self._target = urlsplit(cluster["server"]).netloc
        self._tls = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        self._created = created
        self.arrived, self.release = threading.Event(), threading.Event()

    def forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Carry out a call. The creation of an application is held before it is carried out, or after that."""
        held = method == "POST" and urlsplit(path).path.endswith(APPLICATIONS)
        if held and not self._created:
            self._hold()
        connection = http.client.HTTPSConnection(self._target, context=self._tls, timeout=30)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if held and self._created:
            self._hold()
        return answer.status, content

    def _hold(self) -> None:
        self.arrived.set()
        if not self.release.wait(HELD_SECONDS) or not self._created:
            raise ConnectionAbortedError("whoever sent this is dead: it never arrives")


@contextmanager
def held_api(kubeconfig: Path, *, created: bool) -> Iterator[tuple[HeldApi, str]]:
    """Serve it on a port of its own.

    Args:
        kubeconfig: the API server behind it.
        created: hold the answer to a creation that was carried out; or else the creation itself.

    Yields:
        It, and the kubeconfig of its clients.

    """
    api = HeldApi(kubeconfig, created=created)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            with suppress(OSError):  # whoever asked is dead, or is to think that the network is
                status, content = api.forward(self.command, self.path, body, headers)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_POST = do_DELETE = do_PATCH = do_GET  # noqa: N815 - the names that http.server looks for

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    content = json.loads(kubeconfig.read_text())
    content["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_port}"}
    try:
        yield api, json.dumps(content)
    finally:
        api.release.set()
        server.shutdown()
        server.server_close()
