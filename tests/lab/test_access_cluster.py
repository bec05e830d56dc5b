"""Every component has the permissions of the real thing and no more: a test of RBAC proves something here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab import access
from airflow_provider_spotmix.lab.api import Api, ApiError
from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.test_lab_cluster import phase, run_pod, until

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize(
    ("component", "may", "may_not"),
    [
        pytest.param("scheduler", "create pods/binding", "list secrets", id="scheduler"),
        pytest.param("controller-manager", "create serviceaccounts/token", "patch pods", id="controller-manager"),
        pytest.param("spark-operator", "create pods", "list secrets", id="operator"),
        pytest.param("nodes", "watch services", "list pods", id="nodes"),
    ],
)
def test_a_component_may_what_the_real_one_may(lab: Lab, component: str, may: str, may_not: str) -> None:
    api = access.client(lab.files.access(component))
    assert (allowed(api, may), allowed(api, may_not)) == (True, False)


def allowed(api: Api, what: str) -> bool:
    verb, resource = what.split()
    resource, _, subresource = resource.partition("/")
    attributes = {"namespace": "default", "verb": verb, "resource": resource, "subresource": subresource}
    body = {"spec": {"resourceAttributes": attributes}}
    answer = api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


def test_a_node_reads_the_secrets_of_its_own_pods_only(lab: Lab, namespace: str) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/node/."""
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    for name in ("used", "other"):
        lab.api.create(secrets, {"metadata": {"name": name}, "stringData": {"word": "hello"}})
    source = {"secretKeyRef": {"name": "used", "key": "word"}}
    env = [{"name": "WORD", "valueFrom": source}]
    main = {"name": "main", "image": "lab/host", "command": ["sh", "-c", "echo $WORD; sleep 600"], "env": env}
    path = run_pod(lab, namespace, "", nodeName="spot-1", containers=[main])
    until("the pod to run", lambda: phase(lab, path) == "Running")
    until("the secret to be used", lambda: lab.api.text(f"{path}/log") == "hello\n")
    one, two = (as_node(lab, name) for name in ("spot-1", "spot-2"))
    assert one.get(f"{secrets}/used")["data"]
    for api, name in [(one, "other"), (two, "used")]:
        with pytest.raises(ApiError, match="no relationship found between node"):
            api.get(f"{secrets}/{name}")


def as_node(lab: Lab, name: str) -> Api:
    api = access.client(lab.files.access("nodes"))
    api.headers |= {"Impersonate-User": f"system:node:{name}", "Impersonate-Group": "system:nodes"}
    return api


def test_a_copied_kubeconfig_needs_no_other_file(lab: Lab, tmp_path: Path) -> None:
    copy = tmp_path / "kubeconfig"
    copy.write_text(lab.kubeconfig.read_text())
    assert access.client(copy).get("/version")["gitVersion"] == "v1.36.3"
    assert json.loads(copy.read_text())["users"][0]["user"].keys() == {"token"}
