"""What the API server writes down about its requests: who did what, with which outcome.

An oracle that trusts nobody's own account reads it. Reads are told without their bodies; the heartbeats of nodes and
questions about health are not told. No secret and no token is ever in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROTATE, KEEP, OFF = "rotate", "keep", "off"
MODES = (ROTATE, KEEP, OFF)

ROTATE_MEGABYTES, ROTATED_FILES = 100, 3
KEEP_MEGABYTES = 1_000_000  # nowhere a limit; 0 means 100 there

_WRITES = ["create", "update", "patch", "delete", "deletecollection"]
_TOLD_WHOLE = [
    {
        "group": "",
        "resources": ["pods", "pods/*", "configmaps", "events", "nodes", "nodes/*", "namespaces", "services"],
    },
    {"group": "apps"},
    {"group": "coordination.k8s.io"},
    {"group": "events.k8s.io"},
    {"group": "policy"},
    {"group": "sparkoperator.k8s.io"},
]
_STREAMS = ["pods/log", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "nodes/proxy", "services/proxy"]
_WITH_TOKENS = [
    {"group": "", "resources": ["secrets", "serviceaccounts/token"]},
    {"group": "authentication.k8s.io"},
]

# The first rule that matches decides: https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.
POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        {"level": "Metadata", "resources": _WITH_TOKENS},
        {"level": "Metadata", "resources": [{"group": "", "resources": _STREAMS}]},
        {"level": "None", "nonResourceURLs": ["/healthz*", "/readyz*", "/livez*", "/version", "/openapi*", "/api*"]},
        {
            "level": "None",
            "namespaces": ["kube-node-lease"],
            "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
        },
        {"level": "RequestResponse", "verbs": _WRITES, "resources": _TOLD_WHOLE},
        {"level": "Metadata"},
    ],
}


def server_arguments(mode: str, policy: Path, log: Path) -> dict[str, str]:
    """The API server's flags. It waits for each line to be written: what was answered is in the log.

    Args:
        mode: one of `MODES`.
        policy: file with `POLICY`.
        log: where the events go.

    """
    if mode == OFF:
        return {}
    sizes = (KEEP_MEGABYTES, 0) if mode == KEEP else (ROTATE_MEGABYTES, ROTATED_FILES)
    return {
        "audit-policy-file": str(policy),
        "audit-log-path": str(log),
        "audit-log-mode": "blocking",
        "audit-log-maxsize": str(sizes[0]),
        "audit-log-maxbackup": str(sizes[1]),
    }


def user(event: dict[str, Any]) -> str:
    """Who has done it. The lab's nodes act as ``system:node:NAME``."""
    return str((event.get("impersonatedUser") or event["user"])["username"])


def read(log: Path) -> Iterator[dict[str, Any]]:
    """The events in the log, in the order in which they were answered, not asked: see `requestReceivedTimestamp`.

    A line that is being written is left for the next time.
    """
    with log.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)
