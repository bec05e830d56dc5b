"""Many lives at a time: a line is one life, and each test waits for one line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from airflow_provider_spotmix.lab.airflow import AirflowHarness
from airflow_provider_spotmix.lab.lab import Lab
from tests.e2e.life import Life, life


class Stage:
    """Where lives are lived."""

    def __init__(self, lab: Lab, airflow: AirflowHarness) -> None:
        self.lab = lab
        self.airflow = airflow

    def life(self, dag_id: str, task_id: str = "fleet") -> AbstractContextManager[Life]:
        return life(self.lab, self.airflow, dag_id, task_id)


Line = Callable[[Stage], None]


def name(line: Any) -> str:
    """What a line is called."""
    where = f"{line.__self__.word}-" if hasattr(line, "__self__") else ""
    return f"{where}{line.__name__}".replace("_", "-")


def chosen(request: pytest.FixtureRequest, test: Callable[..., None]) -> list[Any]:
    """The lines of a test that the person who runs the tests has chosen."""
    items: list[Any] = request.session.items
    return [item.callspec.params["line"] for item in items if getattr(item, "function", None) is test]
