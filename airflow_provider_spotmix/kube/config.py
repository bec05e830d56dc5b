"""Where a cluster is and who we are there: from an Airflow connection or a kubeconfig to a client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_spotmix.kube.client import Kube


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """How to reach a cluster. With no field set: in-cluster when run in a pod, else the default kubeconfig.

    - ``in_cluster``: use the pod's service account (``None``: decide as above).
    - ``config_file``: path of a kubeconfig; several paths joined by ``:`` are merged as kubectl does. Default:
      ``$KUBECONFIG``, else ``~/.kube/config``.
    - ``kube_config``: the content of a kubeconfig (YAML or JSON). A secret: never in ``repr``.
    - ``context``: a context of that kubeconfig; default: its current one.
    - ``namespace``: the default namespace; default: the context's, else the pod's, else ``default``.
    - ``verify_tls``: ``False`` accepts any server certificate.
    """

    in_cluster: bool | None = None
    config_file: str | None = None
    kube_config: str | None = field(default=None, repr=False)
    context: str | None = None
    namespace: str | None = None
    verify_tls: bool = True

    def identity(self) -> str:
        """Return a key that is equal for the same (API server, way to verify it, credentials) in this process.

        It starts with the server's address, holds no secret, and cannot be turned back into one (keyed hash, the key
        is drawn at process start). Reads the kubeconfig: a file access. Raises :class:`~.errors.ConfigError`.
        """
        raise NotImplementedError

    def resolve_namespace(self) -> str:
        """Return the namespace to work in when a call names none. Raises :class:`~.errors.ConfigError`."""
        raise NotImplementedError

    async def connect(self) -> Kube:
        """Load credentials (running an exec plugin if need be) and return a client bound to the running event loop.

        The caller closes it. Tokens are renewed as long as it lives. Raises :class:`~.errors.ConfigError`.
        """
        raise NotImplementedError
