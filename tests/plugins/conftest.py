"""Airflow's own API application with this provider's plugin in it, on a database of its own, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.auth import viewer


@pytest.fixture(scope="module")
def airflow_app() -> Iterator[Any]:
    """Airflow's API application, whose users read only some DAGs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.support.auth.AuthManagerByDag")
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.api_fastapi.app import create_app, purge_cached_app
        from airflow.utils.db import initdb

        initdb()
        purge_cached_app()
        yield create_app(apps="core")
        purge_cached_app()
        _forget_database()  # other tests want to see what it is like to have none


@pytest.fixture
def clients(airflow_app: Any) -> Iterator[Clients]:
    """Browsers of several people, on an Airflow without any fleet."""
    made = Clients(airflow_app)
    made.empty()
    yield made
    made.empty()


def _forget_database() -> None:
    from airflow import settings

    assert settings.engine is not None
    settings.engine.dispose()
    assert settings.engine.url.database is not None
    Path(settings.engine.url.database).unlink()


class Clients:
    """Makes browsers, and what they see."""

    def __init__(self, app: Any) -> None:
        """Begin with an application."""
        self.app = app

    def of(self, name: str | None) -> TestClient:
        """Return the browser of a user; None: of somebody who has not signed in."""
        client = TestClient(self.app, raise_server_exceptions=False, follow_redirects=False)
        if name is not None:
            client.cookies.set("_token", self.app.state.auth_manager.generate_jwt(viewer(name)))
        return client

    def empty(self) -> None:
        """Remove all DAGs, runs, task instances and XComs."""
        from airflow.utils.session import create_session

        from tests.support.rows import empty

        with create_session() as session:
            empty(session)

    def task(self, *args: Any, **kwargs: Any) -> None:
        """Write a task instance with its run, DAG and XComs (`tests.support.rows`)."""
        from airflow.utils.session import create_session

        from tests.support.rows import write_task

        with create_session() as session:
            write_task(session, *args, **kwargs)


def summary(**changes: Any) -> dict[str, Any]:
    """Return a summary as `fleet/progress.py` writes it (tests/plugins/test_fleets.py holds it to that)."""
    return {
        "fleet": "f-1",
        "namespace": "spark",
        "state": "running",
        "started_at": "2026-05-04T03:00:00+00:00",
        "ended_at": None,
        "updated_at": "2026-05-04T03:01:00+00:00",
        "placement": "template",
        "executors": 10,
        "spot": 4,
        "on_demand": 6,
        "interruptions": 0,
        "replacements": 0,
        "fallbacks": 0,
        "in_fallback": False,
        "currency": "USD",
        "total": "6.5",
        "all_on_demand": "10",
        "saved": "3.5",
        "estimated": False,
        **changes,
    }


def fleet(**changes: Any) -> dict[str, Any]:
    """Return as much of a fleet's XCom as the routes look at."""
    return {"schema": 1, "fleet": "f-1", "namespace": "spark", "summary": summary(**changes), "drivers": []}
