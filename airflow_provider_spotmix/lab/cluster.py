"""Objects that the lab puts into its cluster: the operator's CRDs, namespaces, what a Spark driver may do."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_spotmix.lab.api import Api, Json, wait_until

SPARK_NAMESPACE = "spark"
SPARK_ACCOUNT = "spark"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RBAC = "rbac.authorization.k8s.io"

# https://spark.apache.org/docs/latest/running-on-kubernetes.html#rbac: a driver makes, watches and removes its
# executors, their config maps, its service and on-demand volumes.
_DRIVER_RULES = [
    {
        "apiGroups": [""],
        "resources": ["pods", "services", "configmaps", "persistentvolumeclaims"],
        "verbs": ["create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"],
    }
]


def apply_crds(api: Api, directory: Path) -> None:
    """Create the operator's CustomResourceDefinitions and wait until they are served."""
    import yaml  # here: it takes longer than what most commands do

    names = []
    for path in sorted(directory.glob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if document:
                names.append(str(document["metadata"]["name"]))
                api.create(CRDS, document)
    wait_until(
        "the operator's resources to be established",
        lambda: all(_condition(api.get(f"{CRDS}/{name}"), "Established") for name in names),
        seconds=30,
    )


def applications_are_served(api: Api) -> bool:
    """Whether the API server answers for the operator's resources: a while after they are established."""
    return "items" in api.get("/apis/sparkoperator.k8s.io/v1beta2/sparkapplications", limit="1")


def apply_namespace(api: Api, name: str) -> None:
    """Create a namespace in which Spark applications can run under the service account `spark`."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    api.apply(f"/api/v1/namespaces/{name}", namespace)
    metadata = {"name": SPARK_ACCOUNT, "namespace": name}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    api.apply(f"/api/v1/namespaces/{name}/serviceaccounts/{SPARK_ACCOUNT}", account)
    rbac = f"/apis/{_RBAC}/v1/namespaces/{name}"
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": _DRIVER_RULES}
    api.apply(f"{rbac}/roles/{SPARK_ACCOUNT}", role)
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": SPARK_ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": SPARK_ACCOUNT, "namespace": name}],
    }
    api.apply(f"{rbac}/rolebindings/{SPARK_ACCOUNT}", binding)


def accounts_are_ready(api: Api, namespace: str) -> bool:
    """Whether pods can be created there: the service account `default` and the cluster's certificate have come."""
    base = f"/api/v1/namespaces/{namespace}"
    found = [api.find(f"{base}/serviceaccounts/default"), api.find(f"{base}/configmaps/kube-root-ca.crt")]
    return all(found)


def node_is_ready(node: Json) -> bool:
    """Whether the node's condition Ready is True."""
    return _condition(node, "Ready")


def _condition(body: Json, kind: str) -> bool:
    conditions = body.get("status", {}).get("conditions") or []
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)
