"""The audit log: the word of the API server itself about who did what. What it must never tell, it does not."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from airflow_provider_spotmix.lab import audit
from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.test_lab_cluster import phase, run_pod, until

pytestmark = pytest.mark.cluster


def events(lab: Lab, namespace: str) -> list[dict[str, Any]]:
    found = audit.read(lab.files.audit_log)
    return [event for event in found if event.get("objectRef", {}).get("namespace") == namespace]


def test_a_pods_life_is_told_with_who_did_what(lab: Lab, namespace: str) -> None:
    path = run_pod(lab, namespace, "exit 3", nodeSelector={"kubernetes.io/hostname": "spot-1"})
    until("the pod to fail", lambda: phase(lab, path) == "Failed")
    lab.api.delete(path)
    until("the pod to be gone", lambda: phase(lab, path) == "gone")
    told = [event for event in events(lab, namespace) if event["objectRef"]["resource"] == "pods"]
    writes = [event for event in told if event["verb"] not in {"get", "list", "watch"}]
    writes.sort(key=lambda event: str(event["requestReceivedTimestamp"]))
    who = [(audit.user(event), event["verb"], event["objectRef"].get("subresource", "")) for event in writes]
    waited = ("system:kube-scheduler", "patch", "status")  # a node that another test has restarted may not be Ready yet
    assert [each for each in dict.fromkeys(who) if each != waited] == [
        ("admin", "create", ""),
        ("system:kube-scheduler", "create", "binding"),
        ("system:node:spot-1", "patch", "status"),
        ("admin", "delete", ""),
        ("system:node:spot-1", "delete", ""),
    ]
    created = writes[0]["requestObject"]
    ended = next(event["responseObject"] for event in reversed(writes) if event["verb"] == "patch")
    assert created["spec"]["containers"][0]["command"] == ["sh", "-c", "exit 3"]
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert all("responseObject" not in event for event in told if event["verb"] == "get")


def test_neither_secrets_nor_tokens_are_told(lab: Lab, namespace: str) -> None:
    space, hidden = f"/api/v1/namespaces/{namespace}", secrets.token_hex(16)
    lab.api.create(f"{space}/secrets", {"metadata": {"name": "mine"}, "stringData": {"password": hidden}})
    lab.api.get(f"{space}/secrets/mine")
    lab.api.patch(f"{space}/secrets/mine", {"stringData": {"another": hidden}})
    token = lab.api.create(f"{space}/serviceaccounts/spark/token", {"spec": {}})["status"]["token"]
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    assert lab.api.create(reviews, {"spec": {"token": token}})["status"]["authenticated"]
    administrators = lab.api.headers["Authorization"].removeprefix("Bearer ")
    text = "".join(path.read_text() for path in lab.files.audit_log.parent.iterdir())
    assert f"{space}/secrets/mine" in text
    assert f"{space}/serviceaccounts/spark/token" in text
    # A JWT's last part is its signature; in base64, as in `data`, the password would look different.
    encoded = lab.api.get(f"{space}/secrets/mine")["data"]["password"]
    for secret in (hidden, encoded, token, token.rsplit(".", 1)[1], administrators):
        assert secret not in text


def test_heartbeats_and_questions_about_health_do_not_fill_it(lab: Lab) -> None:
    assert lab.api.text("/readyz") == "ok"
    told = list(audit.read(lab.files.audit_log))
    references = [event.get("objectRef", {}) for event in told]
    assert not [
        ref for ref in references if (ref.get("resource"), ref.get("namespace")) == ("leases", "kube-node-lease")
    ]
    assert not [event for event in told if event["requestURI"].startswith("/readyz")]


def test_it_is_readable_by_its_owner_only(lab: Lab) -> None:
    for path in lab.files.root.rglob("*"):
        if path.suffix in {".key", ".kubeconfig", ".token", ".csv"} or path.parent == lab.files.audit_log.parent:
            assert path.stat().st_mode & 0o077 == 0, path
