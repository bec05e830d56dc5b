"""Fixtures for every test. What is expensive is made when the first test asks for it, once per session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab import progress
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.lab import Lab

RESOURCES = Path(__file__).parent / "lab" / "resources"


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of this session's own: two spot and two on-demand nodes. It ends with the session, also if that is killed.

    Take a namespace of your own (`namespace`); leave the nodes as they were. Jobs of `tests/lab/resources` are at
    ``local:///opt/tests``, those of `example_dags/jobs` at ``local:///opt/app``.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with ExitStack() as stack:
        with capture.global_and_fixture_disabled():  # building takes minutes: say so
            lab = stack.enter_context(Lab.ephemeral(LabConfig(mounts={"/opt/tests": RESOURCES}), progress.for_person()))
        yield lab


@pytest.fixture
def namespace(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of this test's own, with the service account `spark`; deleted after it."""
    name = f"test-{secrets.token_hex(4)}"
    lab.create_namespace(name)
    yield name
    lab.delete_namespace(name)
