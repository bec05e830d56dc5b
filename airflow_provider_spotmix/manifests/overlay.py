"""What a placement wants added to a person's application, in terms that every backend can render."""

from __future__ import annotations

from msgspec import Struct

from airflow_provider_spotmix.core.pools import Pool


class Overlay(Struct, frozen=True, kw_only=True):
    """Additions to one application. Nothing that the person wrote is removed.

    Attributes:
        name: name of the application's object.
        namespace: its namespace.
        labels: labels of the object and of all its pods.
        annotations: annotations of the object.
        executor_gates: scheduling gates of every executor.
        executor_pool: pool that every executor is born on; None when the controller places each of them.
        driver_gates: scheduling gates of the driver.
        driver_pool: pool that the driver is pinned to.
        spark_conf: Spark properties; one that the person set is kept.
        grace_seconds: termination grace period of executors, unless the person set one; None for Kubernetes' own.

    """

    name: str
    namespace: str
    labels: dict[str, str]
    annotations: dict[str, str]
    executor_gates: tuple[str, ...]
    driver_pool: Pool
    spark_conf: dict[str, str]
    grace_seconds: int | None = None
    executor_pool: Pool | None = None
    driver_gates: tuple[str, ...] = ()
