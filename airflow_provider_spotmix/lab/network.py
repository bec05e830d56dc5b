"""Addresses of a lab: a loopback network of its own, 127.N.0.0/16, so that several labs run side by side.

Nothing needs to be configured: Linux answers on every address of 127.0.0.0/8. N is claimed with an abstract Unix
socket, which has the same scope as the loopback device (one network namespace, all users) and goes with its holder.
"""

from __future__ import annotations

import errno
import socket
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_spotmix.lab.errors import LabError

FIRST, LAST = 96, 223  # of N: away from what systems use themselves (127.0.0.1, .0.0.53, .0.1.1)
API_PORT = 6443  # above 1023 everywhere: no privilege needed
KUBELET_PORT = 10250
ETCD_CLIENT_PORT, ETCD_PEER_PORT = 2379, 2380
CONTROLLER_MANAGER_PORT, SCHEDULER_PORT = 10257, 10259
NODES_CONTROL_PORT = 11250
OPERATOR_HEALTH_PORT = 8081
KWOK_PORT = 10247
MAX_NODES = 120


@dataclass(frozen=True)
class Network:
    """The addresses of one lab.

    Attributes:
        number: N of 127.N.0.0/16.

    """

    number: int

    @property
    def api_server(self) -> str:
        """Address of the API server: also the first address of the services, which is the service `kubernetes`."""
        return f"127.{self.number}.0.1"

    @property
    def api_url(self) -> str:
        """Where the API server listens."""
        return f"https://{self.api_server}:{API_PORT}"

    @property
    def services(self) -> str:
        """The range of cluster IPs."""
        return f"127.{self.number}.0.0/18"

    @property
    def system(self) -> str:
        """Address of everything else that belongs to the control plane, told apart by port."""
        return f"127.{self.number}.64.1"

    def node(self, index: int) -> str:
        """Address of the node with that index (0 ... 119)."""
        return f"127.{self.number}.65.{_checked(index) + 1}"

    @property
    def kwok_node(self) -> str:
        """What all played nodes give as their address; nothing is there."""
        return f"127.{self.number}.66.1"

    @property
    def kwok_pods(self) -> str:
        """The range of the addresses of played pods; nothing is there."""
        return f"127.{self.number}.248.0/21"

    def pods(self, index: int) -> str:
        """First three parts of the addresses of the pods on that node."""
        return f"127.{self.number}.{128 + _checked(index)}"

    @property
    def claim_name(self) -> str:
        """Name of the abstract socket that claims the network and through which the lab's supervisor is reached."""
        return f"\0spotmix-lab-{self.number}"


def _checked(index: int) -> int:
    if not 0 <= index < MAX_NODES:
        raise LabError(f"a lab has at most {MAX_NODES} nodes, not {index + 1}")
    return index


def claim(name: str) -> tuple[Network, socket.socket]:
    """Claim a free network, preferably always the same one for a lab's name.

    Returns:
        The network and the listening socket that holds the claim as long as any process has it open.

    Raises:
        LabError: all are taken.

    """
    for number in candidates(name):
        network = Network(number)
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            holder.bind(network.claim_name)
        except OSError as error:
            holder.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        if is_free(network):
            holder.listen()
            return network, holder
        holder.close()
    raise LabError(
        f"no free network between 127.{FIRST}.0.0/16 and 127.{LAST}.0.0/16", remedy="stop a lab: spotmix lab down"
    )


def candidates(name: str) -> Iterable[int]:
    """Every N once, starting at one that the name determines."""
    count = LAST - FIRST + 1
    start = zlib.crc32(name.encode()) % count
    return (FIRST + (start + offset) % count for offset in range(count))


def is_free(network: Network) -> bool:
    """Whether nothing else listens where the lab's main parts are going to."""
    wanted = [(network.api_server, API_PORT), (network.system, ETCD_CLIENT_PORT), (network.node(0), KUBELET_PORT)]
    for address in wanted:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the servers themselves do: connections in TIME_WAIT from a lab that just ended are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError:
                return False
    return True
