"""Who may do what in a lab: an identity for each component, as narrow as the real thing's.

Tokens live in the lab's directory and end with it. The API server binds `system:kube-scheduler` and
`system:kube-controller-manager` to their roles by itself (https://kubernetes.io/docs/reference/access-authn-authz/rbac/).
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_spotmix.lab import parts
from airflow_provider_spotmix.lab.api import Api, Json
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.files import Files, write_private
from airflow_provider_spotmix.lab.network import Network

RBAC = "rbac.authorization.k8s.io"
KWOK_NAMESPACE, KWOK_ACCOUNT = "kube-system", "kwok-controller"
OPERATOR_NAMESPACE, OPERATOR_ACCOUNT = "spark-operator", "spark-operator-controller"
NODES_USER = "spotmix-lab:nodes"


@dataclass(frozen=True)
class Identity:
    """A user as the API server knows it."""

    user: str
    groups: tuple[str, ...] = ()


def _account(namespace: str, name: str) -> Identity:
    """Outside of a pod there is no projected token: the same user by another way."""
    user = f"system:serviceaccount:{namespace}:{name}"
    return Identity(user, ("system:serviceaccounts", f"system:serviceaccounts:{namespace}"))


ADMIN = "admin"
IDENTITIES = {
    ADMIN: Identity("admin", ("system:masters",)),
    parts.CONTROLLER_MANAGER: Identity("system:kube-controller-manager"),
    parts.SCHEDULER: Identity("system:kube-scheduler"),
    # One process is all nodes: it acts as system:node:NAME for each.
    parts.NODES: Identity(NODES_USER),
    parts.OPERATOR: _account(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT),
    parts.KWOK: _account(KWOK_NAMESPACE, KWOK_ACCOUNT),
}


def write_access(files: Files, network: Network, authority: Path) -> Path:
    """Make a token and a kubeconfig for every identity.

    Returns:
        The API server's table of tokens.

    """
    rows = []
    for name, identity in IDENTITIES.items():
        token = secrets.token_urlsafe(32)
        rows.append(f'{token},{identity.user},{identity.user},"{",".join(identity.groups)}"\n')
        path = files.kubeconfig if name == ADMIN else files.access(name)
        write_private(path, _kubeconfig(network, authority, token).encode())
    tokens = files.root / "access" / "tokens.csv"
    write_private(tokens, "".join(rows).encode())
    return tokens


def _kubeconfig(network: Network, authority: Path, token: str) -> str:
    """JSON is YAML. The certificate is inside, so that the file can be copied to anywhere."""
    name = "spotmix-lab"
    cluster = {
        "server": network.api_url,
        "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode(),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "spark"}}],
            "current-context": name,
        },
        indent=1,
    )


def client(kubeconfig: Path) -> Api:
    """A client from a kubeconfig of a lab.

    Raises:
        LabError: there is none.

    """
    try:
        content = json.loads(kubeconfig.read_text())
    except OSError as error:
        raise LabError(f"the lab has no kubeconfig: {error}", remedy="start it: spotmix lab up") from error
    entry = content["clusters"][0]["cluster"]
    authority = base64.b64decode(entry["certificate-authority-data"]).decode()
    return Api(entry["server"], content["users"][0]["user"]["token"], authority)


def apply_nodes_role(api: Api, nodes: list[str]) -> None:
    """Let the process of the nodes act as each of them, and read what their pods' names are made of: the services."""
    # https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
    users = [f"system:node:{name}" for name in nodes]
    rules: list[Json] = [
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": users},
        {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"], "resourceNames": ["system:nodes"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
    ]
    _apply_cluster_role(api, "spotmix-lab-nodes", rules, {"apiGroup": RBAC, "kind": "User", "name": NODES_USER})


def apply_operator_role(api: Api, role: Path) -> None:
    """Give the operator the permissions of its chart.

    Args:
        api: the administrator's.
        role: the ClusterRole that is shipped with this version of the operator (YAML).

    """
    api.apply(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}", _object("v1", "Namespace", {"name": OPERATOR_NAMESPACE}))
    _apply_account_role(api, OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, role)


def apply_kwok_role(api: Api, role: Path) -> None:
    """Give kwok the permissions that it is shipped with."""
    _apply_account_role(api, KWOK_NAMESPACE, KWOK_ACCOUNT, role)


def _apply_account_role(api: Api, namespace: str, name: str, role: Path) -> None:
    import yaml  # here: it takes longer than what most commands do

    metadata = {"name": name, "namespace": namespace}
    api.apply(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}", _object("v1", "ServiceAccount", metadata))
    _apply_cluster_role(api, name, yaml.safe_load(role.read_text())["rules"], {"kind": "ServiceAccount"} | metadata)


def _apply_cluster_role(api: Api, name: str, rules: list[Json], subject: Json) -> None:
    role = _object(f"{RBAC}/v1", "ClusterRole", {"name": name}) | {"rules": rules}
    api.apply(f"/apis/{RBAC}/v1/clusterroles/{name}", role)
    binding = _object(f"{RBAC}/v1", "ClusterRoleBinding", {"name": name})
    binding |= {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}, "subjects": [subject]}
    api.apply(f"/apis/{RBAC}/v1/clusterrolebindings/{name}", binding)


def _object(version: str, kind: str, metadata: dict[str, str]) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
