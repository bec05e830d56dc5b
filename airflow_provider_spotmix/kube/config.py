"""Where a cluster is and who we are there: from an Airflow connection or a kubeconfig to a client."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_spotmix.kube import kubeconfig
from airflow_provider_spotmix.kube.errors import ConfigError

if TYPE_CHECKING:
    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.retry import Limits

# Where every pod finds its service account.
# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# What changes while the credentials stay the same: an auth provider's current tokens.
_VOLATILE = ("access-token", "expiry", "expires-in", "expires-on", "id-token", "refresh-token")

# Drawn per process: a key that leaks into a log cannot be used to try passwords against it.
_IDENTITY_KEY = secrets.token_bytes(32)


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

    def __post_init__(self) -> None:
        # In the words of a connection, which is where they are from.
        words = {"in_cluster": "in_cluster", "config_file": "kube_config_path", "kube_config": "kube_config"}
        given = [word for name, word in words.items() if getattr(self, name)]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} are both set; set one source of credentials")
        if self.in_cluster and self.context:
            raise ConfigError(f"context {self.context!r} is set together with in_cluster; contexts are of kubeconfigs")

    def identity(self) -> str:
        """Return a key that is equal for the same (API server, way to verify it, credentials) in this process.

        It starts with the server's address, holds no secret, and cannot be turned back into one (keyed hash, the key
        is drawn at process start). Reads the kubeconfig: a file access. Raises :class:`~.errors.ConfigError`.
        """
        chosen = self.select()
        material = {
            "server": (public_address(chosen.server), urlsplit(chosen.server).netloc.rpartition("@")[0]),
            "verify": self.verify_tls,
            "cluster": {key: value for key, value in chosen.cluster.items() if key not in ("server", "extensions")},
            "user": _without_volatile(chosen.user),
        }
        text = json.dumps(material, sort_keys=True, default=str).encode()
        return f"{public_address(chosen.server)}#{hashlib.blake2b(text, key=_IDENTITY_KEY, digest_size=8).hexdigest()}"

    def resolve_namespace(self) -> str:
        """Return the namespace to work in when a call names none. Raises :class:`~.errors.ConfigError`."""
        return self.namespace or self.select().namespace or "default"

    def select(self) -> kubeconfig.Selected:
        """Return the cluster and user that this configuration means. Raises :class:`~.errors.ConfigError`."""
        if self.kube_config:
            return kubeconfig.select_from_text(self.kube_config, self.context)
        if self.in_cluster or (self.in_cluster is None and not self.config_file and _runs_in_pod()):
            return _service_account()
        return kubeconfig.select_from_files(self.config_file or kubeconfig.default_paths(), self.context)

    async def connect(self, limits: Limits | None = None) -> Kube:
        """Load credentials (running an exec plugin if need be) and return a client bound to the running event loop.

        The caller closes it. Tokens are renewed as long as it lives. Raises :class:`~.errors.ConfigError`.
        """
        # aiohttp and kubernetes_asyncio load when a task runs, not when a DAG file is parsed.
        from airflow_provider_spotmix.kube.rest import KubeClient

        return await KubeClient.connect(self, limits)


def public_address(server: str) -> str:
    """Return a server's URL in one spelling, and without a user name or password that it may hold."""
    parts = urlsplit(server)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2].lower()).geturl()


def _without_volatile(user: Any) -> dict[str, Any]:
    stable = dict(user)
    provider = stable.get("auth-provider")
    if isinstance(provider, dict) and isinstance(provider.get("config"), dict):
        config = {key: value for key, value in provider["config"].items() if key not in _VOLATILE}
        stable["auth-provider"] = {**provider, "config": config}
    return stable


def _runs_in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (SERVICE_ACCOUNT / "token").is_file()


def _service_account() -> kubeconfig.Selected:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigError("in_cluster is set, but $KUBERNETES_SERVICE_HOST and _PORT are not; are we in a pod?")
    if not (SERVICE_ACCOUNT / "token").is_file():
        raise ConfigError(
            f"in_cluster is set, but there is no {SERVICE_ACCOUNT / 'token'}; "
            "the pod needs a service account and automountServiceAccountToken"
        )
    namespace = SERVICE_ACCOUNT / "namespace"
    return kubeconfig.Selected(
        context="in-cluster",
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace.read_text("utf-8").strip() if namespace.is_file() else None,
        cluster={"certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")},
        user={"tokenFile": str(SERVICE_ACCOUNT / "token")},
    )
