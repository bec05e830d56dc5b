"""What a task says of its fleet when it submits it, for tasks that run beside it. Holds no secret."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_spotmix.core.spec import FleetSpec


def announcement(spec: FleetSpec) -> dict[str, Any]:
    """Return the XCom's first value: a fleet that is submitted. Whoever looks after it writes what becomes of it."""
    from airflow_provider_spotmix.fleet.progress import Progress

    return Progress(spec).picture(time.time())
