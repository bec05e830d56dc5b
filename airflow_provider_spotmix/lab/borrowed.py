"""Somebody's cluster in place of the lab, for the demo: kind, EKS, GKE, AKS, whatever a kubeconfig leads to.

What is done to it is little, and undone at the end: a namespace of the demo's own (or objects in one that exists), and
a taint on the one node that is interrupted. No pod of anybody else is touched.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from airflow_provider_spotmix.core.pools import PRESETS, Pool
from airflow_provider_spotmix.lab import cluster
from airflow_provider_spotmix.lab.api import JSON_PATCH, Api, ApiError, Json, wait_until
from airflow_provider_spotmix.lab.config import example_dags
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.kubeconfig_api import KubeconfigApi
from airflow_provider_spotmix.lab.progress import Progress

NAMESPACE = "spotmix-demo"
JOB = "checked_shuffle.py"
CODE = "/opt/spotmix-demo"  # where the driver finds the job: the image need not have it
CONFIG_MAP = "spotmix-demo-code"
# What the AWS node-termination-handler writes (taintNode=true). Unlike Karpenter's own taint or that of the cloud's
# controller, nobody takes it away from a node that stays.
TAINT = {"key": "aws-node-termination-handler/spot-itn", "value": "spotmix-demo", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Borrowed:
    """A cluster and the demo's place in it.

    Attributes:
        kubeconfig: its file.
        context: a context of it; None: its current one.
        namespace: where everything happens. One that is not there is made, and removed at the end.
        service_account: of the driver; made if the namespace is.
        image: Spark with Python.
        preset: how its nodes say what they are, a key of `PRESETS`.

    """

    kubeconfig: Path
    context: str | None = None
    namespace: str = NAMESPACE
    service_account: str = cluster.SPARK_ACCOUNT
    image: str = "spark:4.0.4"
    preset: str = "karpenter"
    tainted: set[str] = field(default_factory=set, init=False)

    @cached_property
    def api(self) -> Api:
        """A small client with the kubeconfig's access."""
        return KubeconfigApi(self.kubeconfig, self.context)

    @property
    def pools(self) -> tuple[Pool, ...]:
        """How spot and on-demand nodes are told apart."""
        return PRESETS[self.preset]

    def connections(self) -> dict[str, Json]:
        """Airflow's connections to it."""
        where = {"kube_config_path": str(self.kubeconfig.absolute()), "cluster_context": self.context}
        return {
            "spotmix_default": {
                "conn_type": "spotmix",
                "extra": {"kubernetes_conn_id": "borrowed", "namespace": self.namespace, "pools": self.preset},
            },
            "borrowed": {"conn_type": "kubernetes", "extra": {key: value for key, value in where.items() if value}},
        }

    def interrupt(
        self, node: str, signal_name: str = "", lead_seconds: float | None = None, progress: Progress | None = None
    ) -> None:
        """Announce a node's end as its cloud would, and evict our executors from it. The machine stays."""
        path = f"/api/v1/nodes/{node}"
        body = self.api.get(path)
        self.tainted.add(node)
        _set_taints(self.api, path, [*_others(body), TAINT])
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        on_node = {"labelSelector": "spark-role=executor", "fieldSelector": f"spec.nodeName={node}"}
        for pod in self.api.items(pods, **on_node):
            name = pod["metadata"]["name"]
            metadata = {"name": name, "namespace": self.namespace}
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
            self.api.create(f"{pods}/{name}/eviction", eviction)

    def restore(self, node: str) -> None:
        """Take the announcement back."""
        path = f"/api/v1/nodes/{node}"
        if body := self.api.find(path):
            _set_taints(self.api, path, _others(body))
        self.tainted.discard(node)

    @contextmanager
    def moved_in(self) -> Iterator[None]:
        """Make namespace, service account and the job's code; remove what was made, and the taints, at the end."""
        base = f"/api/v1/namespaces/{self.namespace}"
        ours = self.api.find(base) is None
        try:
            if ours:
                cluster.apply_namespace(self.api, self.namespace)
                ready = f"namespace {self.namespace} to be usable"
                wait_until(ready, lambda: cluster.accounts_are_ready(self.api, self.namespace), seconds=30)
            code = {name: (_examples() / "jobs" / name).read_text() for name in (JOB,)}
            self.api.apply(
                f"{base}/configmaps/{CONFIG_MAP}",
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": code},
            )
            yield
        finally:
            for node in list(self.tainted):
                self.restore(node)
            self._move_out(base, ours=ours)

    def _move_out(self, base: str, *, ours: bool) -> None:
        applications = f"/apis/sparkoperator.k8s.io/v1beta2/namespaces/{self.namespace}/sparkapplications"
        with contextlib.suppress(ApiError):  # the kind is not served
            mine = [app for app in self.api.items(applications) if self.made(app)]
            for application in mine:
                self.api.delete(f"{applications}/{application['metadata']['name']}")
        self.api.delete(f"{base}/configmaps/{CONFIG_MAP}")
        if ours:
            self.api.delete(base)
            wait_until(f"namespace {self.namespace} to be gone", lambda: self.api.find(base) is None, seconds=120)

    def made(self, application: Json) -> bool:
        """Whether an application is the demo's."""
        return str(application["spec"].get("mainApplicationFile", "")).startswith(f"local://{CODE}/")

    def application(self) -> Json:
        """The example's application, for this cluster."""
        text = (_examples() / "applications" / "minimal.yaml").read_text()
        manifest: Json = yaml.safe_load(text)
        manifest["metadata"]["namespace"] = self.namespace
        spec = manifest["spec"]
        spec |= {"image": self.image, "mainApplicationFile": f"local://{CODE}/{JOB}"}
        spec["driver"] |= {"serviceAccount": self.service_account, "template": self._driver_template()}
        return manifest

    def _driver_template(self) -> Json:
        mount = {"name": "code", "mountPath": CODE}
        container = {"name": "spark-kubernetes-driver", "volumeMounts": [mount]}
        volume = {"name": "code", "configMap": {"name": CONFIG_MAP}}
        return copy.deepcopy({"spec": {"containers": [container], "volumes": [volume]}})

    def write_dags(self, folder: Path) -> Path:
        """Write the example DAG and its application, for this cluster; returns the folder."""
        (folder / "applications").mkdir(parents=True)
        shutil.copy(_examples() / "minimal.py", folder)
        (folder / "applications" / "minimal.yaml").write_text(yaml.safe_dump(self.application(), sort_keys=False))
        return folder


def _examples() -> Path:
    found = example_dags()
    if found is None:
        raise LabError("the example DAGs are not installed", remedy="install the wheel, or work in a checkout")
    return found


def _others(node: Json) -> list[Any]:
    return [taint for taint in node["spec"].get("taints") or [] if taint.get("value") != TAINT["value"]]


def _set_taints(api: Api, path: str, taints: list[Any]) -> None:
    """Replace a node's taints; again if somebody else has changed the node meanwhile."""
    for _ in range(20):
        version = api.get(path)["metadata"]["resourceVersion"]
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        try:
            api.patch(path, [test, {"op": "add", "path": "/spec/taints", "value": taints}], JSON_PATCH)
        except ApiError as error:
            if error.code not in {409, 422}:
                raise
            time.sleep(0.1)
        else:
            return
    raise LabError(f"{path} changes too often to be edited")
