"""What a task makes of the event that its fleet ended with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException


def is_over(event: Mapping[str, Any]) -> bool:
    """Whether nothing of the fleet may still run."""
    return "report" in event and not any(app.get("given_up") for app in event["report"]["applications"])


def has_failed(event: Mapping[str, Any]) -> bool:
    """Whether the task fails."""
    return "error" in event or event["report"]["result"] != "succeeded"


def report_of(event: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Return the report of a fleet that succeeded.

    Args:
        event: what it ended with.
        why: what the drivers' pods say; empty when they say nothing.

    Raises:
        AirflowException: it did not.

    """
    if "error" in event:
        raise AirflowException(event["error"])
    report: dict[str, Any] = event["report"]
    if has_failed(event):
        said = "; ".join(part for part in (report["message"], why) if part)
        raise AirflowException(f"fleet {report['fleet']} failed: {said}")
    return report
