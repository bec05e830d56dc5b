"""Backends: one file per custom resource that runs Spark applications."""

from __future__ import annotations

from airflow_provider_spotmix.backends.base import Backend
from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.core.errors import InvalidInputError, shown

_BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (Kubeflow(),)}


def backend(name: str) -> Backend:
    """Return the backend of that name.

    Raises:
        InvalidInputError: there is none.

    """
    if not isinstance(name, str) or name not in _BACKENDS:
        raise InvalidInputError(f"unknown backend {shown(name)}; known: {', '.join(_BACKENDS)}")
    return _BACKENDS[name]


def backends() -> tuple[Backend, ...]:
    """Return all of them."""
    return tuple(_BACKENDS.values())
