"""Talk to the lab's own processes: its supervisor and its nodes."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import NODES_CONTROL_PORT, Network
from airflow_provider_spotmix.lab.supervision import ChildStatus, ask

REGISTRATION_SECONDS = 40.0


def ask_supervisor(network: Network, **request: Any) -> list[ChildStatus]:
    """Send one command to the supervisor of the lab on that network.

    Raises:
        LabError: it is not there, or it could not carry out the command.

    """
    return ask(network.claim_name, **request)


@dataclass(frozen=True)
class NodesControl:
    """The control API of the lab's nodes: what a provider of machines can do.

    Args:
        address: host and port.
        token: bearer token.

    """

    address: str
    token: str

    @classmethod
    def of(cls, files: Files, network: Network) -> NodesControl:
        """The control API of a lab."""
        return cls(f"{network.system}:{NODES_CONTROL_PORT}", files.control_token.read_text())

    def kill(self, node: str) -> None:
        """The machine is gone from one moment to the next, with every process on it."""
        self._call("POST", "/kill", node=node)

    def freeze(self, node: str) -> None:
        """The machine stands still from one moment to the next; its connections stay open."""
        self._call("POST", "/freeze", node=node)

    def cut(self, node: str, what: str) -> None:
        """Break the network of a node, which runs on with its pods. `what`: cut-from-api, cut-from-pods or cut-off."""
        self._call("POST", f"/{what}", node=node)

    def mend(self, node: str) -> None:
        """Make the network of a node whole again; what was held back goes on."""
        self._call("POST", "/mend", node=node)

    def cuts(self) -> dict[str, str]:
        """The nodes whose network is broken, and what of it."""
        answer: dict[str, str] = self._call("GET", "/cuts")
        return answer

    def start(self, node: str) -> None:
        """Start a new machine in place of a dead or frozen one; returns when it is registered."""
        self._call("POST", "/start", node=node)

    def alive(self) -> dict[str, bool]:
        """Every node's name, and whether its machine runs: it is neither dead nor frozen."""
        answer: dict[str, bool] = self._call("GET", "/nodes")
        return answer

    def pods(self) -> list[dict[str, Any]]:
        """The pods that have processes here, with pids and memory."""
        answer: list[dict[str, Any]] = self._call("GET", "/pods")
        return answer

    def _call(self, method: str, path: str, **query: str) -> Any:
        connection = http.client.HTTPConnection(self.address, timeout=REGISTRATION_SECONDS)
        try:
            url = path + (f"?{urlencode(query)}" if query else "")
            connection.request(method, url, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(f"the lab's nodes at {self.address} do not answer: {error}") from error
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise LabError(f"the lab's nodes refused {method} {path}: {content.decode(errors='replace').strip()}")
        return json.loads(content)
