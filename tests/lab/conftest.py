"""Fixtures of the lab's own tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from airflow_provider_spotmix.lab.lab import Lab
from tests.lab.conformance import Stage


@pytest.fixture(scope="module")
def stage(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A namespace with a config map and a secret, in which every pod of the module's tables runs."""
    name = lab.create_namespace(f"test-{secrets.token_hex(4)}")
    spaces = f"/api/v1/namespaces/{name}"
    lab.api.create(f"{spaces}/configmaps", {"metadata": {"name": "settings"}, "data": {"a": "one", "b": "two"}})
    lab.api.create(f"{spaces}/secrets", {"metadata": {"name": "secrets"}, "stringData": {"s": "hidden"}})
    stage = Stage(lab, name)
    for case in [*request.module.CASES, *getattr(request.module, "ENDINGS", [])]:
        stage.start(case.name, case.spec)
    yield stage
    stage.close()
