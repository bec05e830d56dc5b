"""The same few calls as `Api`, to whatever cluster a kubeconfig leads to: certificates, tokens, exec plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab.api import TIMEOUT_SECONDS, Api, error_of
from airflow_provider_spotmix.lab.errors import LabError


class KubeconfigApi(Api):
    """Calls as a kubeconfig's user, through the official client, which knows every way to log in.

    Args:
        path: the file.
        context: a context of it; None: its current one.

    Raises:
        LabError: the file or the context is not there.

    """

    def __init__(self, path: Path, context: str | None = None) -> None:
        import kubernetes

        try:
            self._client = kubernetes.config.new_client_from_config(str(path), context)
        except (kubernetes.config.ConfigException, OSError) as error:
            raise LabError(
                f"{path} cannot be used: {error}", remedy="give another --kubeconfig or --context"
            ) from error

    def _request(self, method: str, path: str, body: Any, content_type: str, query: dict[str, str]) -> bytes:
        import kubernetes
        import urllib3

        try:
            answer = self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "*/*", "Content-Type": content_type or "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=3 * TIMEOUT_SECONDS,
            )
        except kubernetes.client.ApiException as error:
            content = (error.body or "").encode() if isinstance(error.body, str) else error.body or b""
            raise error_of(error.status, error.reason or "", content) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise LabError(f"{self._client.configuration.host} does not answer: {error}") from error
        return bytes(answer.data)
