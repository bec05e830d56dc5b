"""Deliberate faults in our code, put in from outside: the oracle must see each (test_defects_cluster.py)."""

from __future__ import annotations

from typing import Any

from airflow_provider_spotmix.kube.client import Kube


def wrapped(kube: Kube, defect: str) -> Kube:
    """The client, with the defect of that name; unchanged for the empty one."""
    return kube


def falsified(report: dict[str, Any], defect: str) -> dict[str, Any]:
    """The report, as a controller with the defect of that name tells it."""
    return report
