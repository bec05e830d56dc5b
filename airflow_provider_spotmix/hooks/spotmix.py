"""The hook of connection type ``spotmix``: from an Airflow connection to a cluster and a team's defaults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

if TYPE_CHECKING:
    from airflow_provider_spotmix.hooks.settings import SpotmixExtra
    from airflow_provider_spotmix.kube.config import ClusterConfig

_CLUSTER_FIELDS = (
    "in_cluster",
    "kube_config_path",
    "kube_config",
    "cluster_context",
    "disable_verify_ssl",
    "namespace",
)


class SpotmixHook(BaseHook):
    """Reads a connection of type ``spotmix``.

    A missing *default* connection is no error: then everything has its default, and the cluster is the one that this
    process runs in or that its kubeconfig names.

    Args:
        spotmix_conn_id: the connection.
        kubernetes_conn_id: a connection of type ``kubernetes`` that says where the cluster is, before the one that the
            spotmix connection names.

    """

    conn_name_attr = "spotmix_conn_id"
    default_conn_name = "spotmix_default"
    conn_type = "spotmix"
    hook_name = "Spotmix (Spark on spot and on-demand)"

    def __init__(
        self, spotmix_conn_id: str = default_conn_name, kubernetes_conn_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.spotmix_conn_id = spotmix_conn_id
        self.kubernetes_conn_id = kubernetes_conn_id

    def settings(self) -> SpotmixExtra:
        """Return the connection's fields.

        Raises:
            InvalidInputError: a field is wrong.
            AirflowNotFoundException: there is no such connection, and it is not the default one.

        """
        try:
            extra = self.get_connection(self.spotmix_conn_id).extra_dejson
        except AirflowNotFoundException:
            extra = self._without_connection()
        return self._read(extra)

    async def asettings(self) -> SpotmixExtra:
        """Return the connection's fields; for triggers."""
        try:
            extra = (await self.aget_connection(self.spotmix_conn_id)).extra_dejson
        except AirflowNotFoundException:
            extra = self._without_connection()
        return self._read(extra)

    def cluster(self) -> ClusterConfig:
        """Return where the cluster is."""
        settings = self.settings()
        conn_id = self.kubernetes_conn_id or settings.kubernetes_conn_id
        return self._cluster(settings, self.get_connection(conn_id).extra_dejson if conn_id else None)

    async def acluster(self) -> ClusterConfig:
        """Return where the cluster is; for triggers."""
        settings = await self.asettings()
        conn_id = self.kubernetes_conn_id or settings.kubernetes_conn_id
        return self._cluster(settings, (await self.aget_connection(conn_id)).extra_dejson if conn_id else None)

    def test_connection(self) -> tuple[bool, str]:
        """Reach the API server; what the "Test" button calls."""
        from airflow_provider_spotmix.core.errors import SpotmixError
        from airflow_provider_spotmix.kube.errors import KubeError

        try:
            version = asyncio.run(self._version())
        except (KubeError, SpotmixError, AirflowNotFoundException) as error:
            return False, str(error)
        return True, f"Kubernetes {version} answers"

    async def _version(self) -> str:
        kube = await self.cluster().connect()
        try:
            return (await kube.server_version()).git_version
        finally:
            await kube.close()

    def _without_connection(self) -> dict[str, Any]:
        if self.spotmix_conn_id != self.default_conn_name:
            raise AirflowNotFoundException(
                f"there is no connection {self.spotmix_conn_id!r}; add it (type spotmix), or leave spotmix_conn_id out"
            )
        return {}

    def _read(self, extra: Mapping[str, Any]) -> SpotmixExtra:
        from airflow_provider_spotmix.hooks.settings import read_extra

        return read_extra(extra, self.spotmix_conn_id)

    def _cluster(self, settings: SpotmixExtra, kubernetes: Mapping[str, Any] | None) -> ClusterConfig:
        """Build the cluster from the Kubernetes connection if there is one, else from our own fields."""
        from airflow_provider_spotmix.kube.config import ClusterConfig

        own = settings.model_dump(include=set(_CLUSTER_FIELDS))
        # Old Kubernetes connections carry their type's prefix.
        fields = own if kubernetes is None else {name: _field(kubernetes, name) for name in _CLUSTER_FIELDS}
        content = fields["kube_config"]
        return ClusterConfig(
            in_cluster=fields["in_cluster"] or None,
            config_file=fields["kube_config_path"] or None,
            kube_config=content if isinstance(content, str | None) else json.dumps(content),
            context=fields["cluster_context"] or None,
            namespace=settings.namespace or fields["namespace"] or None,
            verify_tls=not fields["disable_verify_ssl"],
        )


def _field(extra: Mapping[str, Any], name: str) -> Any:
    return extra.get(name, extra.get(f"extra__kubernetes__{name}")) or None
