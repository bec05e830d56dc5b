"""Who does something in the played cluster. The audit log tells them apart by their names.

Each acts as a user of its own (impersonation with an administrator's rights), so the oracle need not trust anybody's
account of what was whose doing.
"""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.kube.config import ClusterConfig

PREFIX = "chaos:"
OPERATOR = f"{PREFIX}operator"
DRIVER = f"{PREFIX}driver"
KUBELET = f"{PREFIX}kubelet"
PERSON = f"{PREFIX}person"
CLOUD = f"{PREFIX}cloud"  # the provider: nodes come and go
STAGE = f"{PREFIX}stage"  # the harness itself: what is there before the fleet and after it
CONTROLLER = f"{PREFIX}controller"


def acting_as(kubeconfig: Path, actor: str, server: str | None = None) -> ClusterConfig:
    """The lab's cluster, seen by an actor; ``server``: through a proxy without TLS."""
    content: dict[str, Any] = copy.deepcopy(json.loads(kubeconfig.read_text()))
    content["users"][0]["user"] |= {"as": actor, "as-groups": ["system:masters"]}
    if server:
        content["clusters"][0]["cluster"] = {"server": server}
    return ClusterConfig(kube_config=json.dumps(content))


def authority(kubeconfig: Path) -> str:
    """The certificate of the lab's authority, PEM."""
    cluster = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def token(kubeconfig: Path) -> str:
    """The lab's credentials: a secret that may be nowhere."""
    return str(json.loads(kubeconfig.read_text())["users"][0]["user"]["token"])
