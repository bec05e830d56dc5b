"""Where a lab keeps what: every path below its directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Files:
    """Files of a lab, all in its directory.

    Attributes:
        root: the directory itself.

    """

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.root / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """What the API server has been asked, one JSON object (audit.k8s.io/v1 Event) per line."""
        return self.root / "audit" / "audit.log"

    @property
    def control_token(self) -> Path:
        """Bearer token of the nodes' control API."""
        return self.root / "nodes.token"

    @property
    def nodes_config(self) -> Path:
        """What the nodes are."""
        return self.root / "nodes.json"

    @property
    def state(self) -> Path:
        """What `attach` reads."""
        return self.root / "lab.json"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def authority(self) -> Path:
        """Certificate of the lab's authority."""
        return self.pki / "ca.crt"

    def access(self, component: str) -> Path:
        """Kubeconfig of a component."""
        return self.root / "access" / f"{component}.kubeconfig"

    def log(self, component: str) -> Path:
        """Output of a component."""
        return self.root / "logs" / f"{component}.log"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
