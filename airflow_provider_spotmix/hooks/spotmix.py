"""The hook of connection type ``spotmix``: from an Airflow connection to a cluster and a team's defaults."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, conf

if TYPE_CHECKING:
    from airflow_provider_spotmix.fleet.preflight import Finding
    from airflow_provider_spotmix.hooks.choice import Chosen
    from airflow_provider_spotmix.hooks.settings import KubernetesExtra, SpotmixExtra
    from airflow_provider_spotmix.kube.config import ClusterConfig

_BROKEN = "its extra is no JSON object; correct it"


class SpotmixHook(BaseHook):
    """Reads a connection of type ``spotmix``.

    A missing *default* connection is no error: then everything has its default, and the cluster is the one that this
    process runs in or that its kubeconfig names.

    Args:
        spotmix_conn_id: the connection.
        kubernetes_conn_id: a connection of type ``kubernetes`` that says where the cluster is, before the one that the
            spotmix connection names.
        in_cluster: whether to use the pod's service account; before what the connections say.
        config_file: path of a kubeconfig; before what the connections say.
        cluster_context: a context of the kubeconfig; before what the connections say.

    """

    conn_name_attr = "spotmix_conn_id"
    default_conn_name = "spotmix_default"
    conn_type = "spotmix"
    hook_name = "Spotmix (Spark on spot and on-demand)"

    def __init__(
        self,
        spotmix_conn_id: str = default_conn_name,
        kubernetes_conn_id: str | None = None,
        *,
        in_cluster: bool | None = None,
        config_file: str | None = None,
        cluster_context: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spotmix_conn_id = spotmix_conn_id
        self.kubernetes_conn_id = kubernetes_conn_id
        self.in_cluster = in_cluster
        self.config_file = config_file
        self.cluster_context = cluster_context

    def settings(self) -> SpotmixExtra:
        """Return the connection's fields.

        Raises:
            InvalidInputError: a field is wrong.
            AirflowNotFoundException: there is no such connection, and it is not the default one.

        """
        from airflow_provider_spotmix.hooks.settings import read_extra

        return read_extra(self._extra(self.spotmix_conn_id), self.spotmix_conn_id)

    async def asettings(self) -> SpotmixExtra:
        """Return the connection's fields; for triggers."""
        from airflow_provider_spotmix.hooks.settings import read_extra

        return read_extra(await self._aextra(self.spotmix_conn_id), self.spotmix_conn_id)

    def cluster(self) -> ClusterConfig:
        """Return where the cluster is."""
        from airflow_provider_spotmix.hooks.settings import read_kubernetes_extra

        settings = self.settings()
        conn_id = self.kubernetes_conn_id or settings.kubernetes_conn_id
        return self._cluster(settings, read_kubernetes_extra(self._extra(conn_id), conn_id) if conn_id else settings)

    async def acluster(self) -> ClusterConfig:
        """Return where the cluster is; for triggers."""
        from airflow_provider_spotmix.hooks.settings import read_kubernetes_extra

        settings = await self.asettings()
        conn_id = self.kubernetes_conn_id or settings.kubernetes_conn_id
        return self._cluster(
            settings, read_kubernetes_extra(await self._aextra(conn_id), conn_id) if conn_id else settings
        )

    def choose(self, argument: Mapping[str, Any] | None = None, *, priced: bool = True) -> Chosen:
        """Choose every setting between argument, connection, ``[spotmix]`` config and default.

        Args:
            argument: of the task.
            priced: whether prices are wanted.

        Raises:
            InvalidInputError: a value cannot be used; the message names it, its source and the remedy.
            AirflowNotFoundException: there is no such connection, and it is not the default one.

        """
        from airflow_provider_spotmix.hooks import choice

        return choice.choose(
            argument or {},
            self.settings().model_dump(exclude_none=True),
            {name: conf.get("spotmix", name, fallback=None) or None for name in choice.OPTIONS},
            priced=priced,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Read all fields, reach the API server and go through the preflight; what the "Test" button calls."""
        from airflow_provider_spotmix.core.errors import SpotmixError
        from airflow_provider_spotmix.fleet.preflight import Level
        from airflow_provider_spotmix.kube.errors import KubeError

        try:
            chosen = self.choose()
            findings = asyncio.run(_examine(self.cluster(), chosen))
        except (KubeError, SpotmixError, AirflowNotFoundException) as error:
            return False, str(error)
        passed = all(finding.level is not Level.MISSING for finding in findings)
        return passed, "\n".join(str(finding) for finding in findings)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields to Airflow 3.1; later ones read the provider's metadata instead."""
        wtforms = importlib.import_module("wtforms")  # real or played by Airflow; no dependency of ours
        kinds = {"boolean": "BooleanField", "integer": "IntegerField", "string": "StringField"}
        widgets = {}
        for name, field in _form()["conn-fields"].items():
            schema = field["schema"]
            kind = "PasswordField" if schema.get("format") == "password" else kinds[schema["type"][0]]
            widgets[name] = getattr(wtforms, kind)(field["label"])
        return widgets

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return which of a form's own fields to hide, to Airflow 3.1."""
        return {"hidden_fields": _form()["ui-field-behaviour"]["hidden-fields"], "relabeling": {}, "placeholders": {}}

    # -- inside

    def _cluster(self, settings: SpotmixExtra, where: SpotmixExtra | KubernetesExtra) -> ClusterConfig:
        """An argument that names a source of credentials takes the place of the connection's, whatever that is."""
        from airflow_provider_spotmix.kube.config import ClusterConfig

        content, is_own = where.kube_config, bool(self.in_cluster or self.config_file)
        return ClusterConfig(
            in_cluster=self.in_cluster if is_own or self.in_cluster is False else where.in_cluster or None,
            config_file=self.config_file if is_own else where.kube_config_path,
            kube_config=None if is_own else content if isinstance(content, str | None) else json.dumps(content),
            context=self.cluster_context or (None if self.in_cluster else where.cluster_context),
            namespace=settings.namespace or where.namespace,
            verify_tls=not where.disable_verify_ssl,
        )

    def _extra(self, conn_id: str) -> dict[str, Any]:
        try:
            connection = self.get_connection(conn_id)
        except AirflowNotFoundException:
            return self._without(conn_id)
        self._check(connection, conn_id)
        extra: dict[str, Any] = connection.extra_dejson
        return extra

    async def _aextra(self, conn_id: str) -> dict[str, Any]:
        try:
            connection = await self.aget_connection(conn_id)
        except AirflowNotFoundException:
            return self._without(conn_id)
        self._check(connection, conn_id)
        if hasattr(connection, "aextra_dejson"):  # Airflow 3.3 and later
            return dict(await connection.aextra_dejson())
        return dict(connection.extra_dejson)

    def _without(self, conn_id: str) -> dict[str, Any]:
        from airflow_provider_spotmix.core.errors import InvalidInputError, shown

        if f"AIRFLOW_CONN_{str(conn_id).upper()}" in os.environ:  # not found, says Airflow 3.1 if it cannot read it
            raise InvalidInputError(f"connection {shown(conn_id)}: {_BROKEN}") from None
        if conn_id != self.default_conn_name:
            remedy = "add it (type spotmix), or leave spotmix_conn_id out"
            if conn_id != self.spotmix_conn_id:
                remedy = "add it (type kubernetes), or leave kubernetes_conn_id out"
            raise AirflowNotFoundException(f"there is no connection {shown(conn_id)} here; {remedy}") from None
        return {}

    def _check(self, connection: Any, conn_id: str) -> None:
        """Refuse what Airflow would quietly take for an empty extra, and a connection that is mistaken for ours."""
        from airflow_provider_spotmix.core.errors import InvalidInputError

        if conn_id == self.spotmix_conn_id and connection.conn_type not in (None, "", self.conn_type):
            raise InvalidInputError(
                f"connection {conn_id!r} has type {connection.conn_type!r}, not 'spotmix'; one that says where the"
                " cluster is goes into kubernetes_conn_id"
            )
        try:
            extra = json.loads(connection.extra or "{}")
        except ValueError:
            extra = None
        if not isinstance(extra, dict):
            raise InvalidInputError(f"connection {conn_id!r}: {_BROKEN}")


async def _examine(cluster: ClusterConfig, chosen: Chosen) -> tuple[Finding, ...]:
    from airflow_provider_spotmix.fleet.preflight import examine

    kube = await cluster.connect()
    try:
        namespace = cluster.resolve_namespace()
        return await examine(kube, namespace, placement=chosen.placement, controller=chosen.controller)
    finally:
        await kube.close()


def _form() -> dict[str, Any]:
    from airflow_provider_spotmix.provider_info import PROVIDER_INFO

    found: dict[str, Any] = PROVIDER_INFO["connection-types"][0]
    return found
