"""Name the kinds of objects that we talk to: where the API serves them, and which struct decodes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote

from airflow_provider_spotmix.kube.objects import ConfigMap, CoreEvent, Lease, Node, Pod, Raw

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resource(Generic[T]):
    """A kind, as the API serves it.

    ``group`` is empty for the core group; ``plural`` is the name in the URL and in RBAC rules; ``type`` is the struct
    (or ``dict``) that its objects decode to.
    """

    group: str
    version: str
    plural: str
    kind: str
    type: type[T]
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """``group/version``, or the bare version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def rbac_name(self, subresource: str | None = None) -> str:
        """Say the resource as a Role does: ``pods/status``, ``sparkapplications.sparkoperator.k8s.io``."""
        name = f"{self.plural}.{self.group}" if self.group else self.plural
        return f"{name}/{subresource}" if subresource else name

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Build the URL path of a collection (all namespaces when ``namespace`` is ``None``) or of one object.

        Raises ``ValueError`` when one object of a namespaced kind is asked for without its namespace.
        """
        if name is not None and not name:
            raise ValueError(f"empty name of a {self.kind}; give the object's name")
        if name is not None and self.namespaced and not namespace:
            raise ValueError(f"no namespace given for {self.kind} {name!r}; {self.plural} live in namespaces")
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        item = f"/{quote(name, safe='')}" if name else ""
        return f"{root}{scope}/{self.plural}{item}" + (f"/{subresource}" if subresource else "")


PODS: Resource[Pod] = Resource("", "v1", "pods", "Pod", Pod)
NODES: Resource[Node] = Resource("", "v1", "nodes", "Node", Node, namespaced=False)
CONFIG_MAPS: Resource[ConfigMap] = Resource("", "v1", "configmaps", "ConfigMap", ConfigMap)
EVENTS: Resource[CoreEvent] = Resource("", "v1", "events", "Event", CoreEvent)
LEASES: Resource[Lease] = Resource("coordination.k8s.io", "v1", "leases", "Lease", Lease)
NAMESPACES: Resource[Raw] = Resource("", "v1", "namespaces", "Namespace", Raw, namespaced=False)


def custom(group: str, version: str, plural: str, kind: str, *, namespaced: bool = True) -> Resource[Raw]:
    """Describe a custom kind, such as ``custom("sparkoperator.k8s.io", "v1beta2", "sparkapplications", ...)``."""
    return Resource(group, version, plural, kind, Raw, namespaced)
