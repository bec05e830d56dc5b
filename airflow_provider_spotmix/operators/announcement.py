"""What a task says of its fleet when it submits it, for tasks that run beside it. Holds no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_spotmix.core.spec import FleetSpec

XCOM_FLEET = "spotmix_fleet"


def announcement(spec: FleetSpec) -> dict[str, Any]:
    """Return the XCom's value: the fleet's id, where it runs and what its applications are called."""
    return {
        "fleet": spec.fleet_id,
        "namespace": spec.namespace,
        "applications": [application.name for application in spec.first_attempts],
    }
