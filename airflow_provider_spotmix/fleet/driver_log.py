"""The end of a driver's log: what a person looks at first when an application is over."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import ApiError, KubeError, NotFound
from airflow_provider_spotmix.manifests import labels

# Bounded, whatever its lines are like.
LIMIT_BYTES = 256 * 1024


async def tell_driver_logs(kube: Kube, spec: FleetSpec, *, lines: int, tell: Callable[[str, bool], None]) -> None:
    """Tell the last ``lines`` lines of each driver's log. A pod that is gone has none left, which fails nothing."""
    api = backend(spec.backend)
    for application in spec.applications if lines else ():
        try:
            driver = api.status(await kube.get(api.resource, application.name, spec.namespace)).driver_pod
            log = await read_driver_log(kube, spec.namespace, driver, tail_lines=lines, limit_bytes=LIMIT_BYTES)
        except KubeError as error:
            if isinstance(error, NotFound) and application.replaces:
                continue  # a second attempt that was not needed
            tell(f"no log of the driver of {application.name}: {error}", False)
            continue
        for line in log.splitlines():
            tell(f"[{driver}] {line}", False)


async def read_driver_log(kube: Kube, namespace: str, driver: str, **how: Any) -> str:
    """Read a driver's log, with the arguments of `Kube.log`.

    A pod with sidecars wants to know which container is meant; a person may have named Spark's otherwise.
    """
    try:
        return await kube.log(driver, namespace, container=labels.DRIVER_CONTAINER, **how)
    except ApiError as error:
        if error.code != HTTPStatus.BAD_REQUEST:
            raise
        return await kube.log(driver, namespace, **how)
