"""Fixtures for every test. What is expensive is made when the first test asks for it, once per session."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spotmix.lab import build, progress
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.lab import Lab

RESOURCES = Path(__file__).parent / "lab" / "resources"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the lab before the first test that needs it: a test's time limit is not meant for compiling Kubernetes."""
    if not session.config.option.collectonly and any(map(_needs_lab, session.items)):
        with _visible(session.config):
            build.ensure(progress.for_person())


def _needs_lab(item: pytest.Item) -> bool:
    in_lab = item.get_closest_marker("cluster") is not None and not os.environ.get("SPOTMIX_TEST_KUBECONFIG")
    return in_lab or "lab" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of this session's own: two spot and two on-demand nodes. It ends with the session, also if that is killed.

    Take a namespace of your own (`namespace`); leave the nodes as they were. Jobs of `tests/lab/resources` are at
    ``local:///opt/tests``, those of `example_dags/jobs` at ``local:///opt/app``.
    """
    with ExitStack() as stack:
        with _visible(request.config):
            lab = stack.enter_context(Lab.ephemeral(LabConfig(mounts={"/opt/tests": RESOURCES}), progress.for_person()))
        yield lab


@pytest.fixture
def namespace(lab: Lab) -> Iterator[str]:
    """A namespace of this test's own, with the service account `spark`; deleted after it."""
    name = f"test-{secrets.token_hex(4)}"
    lab.create_namespace(name)
    yield name
    lab.delete_namespace(name)


def _visible(config: pytest.Config) -> AbstractContextManager[Any]:
    """Let progress through to the terminal: what takes minutes must say so."""
    capture = config.pluginmanager.getplugin("capturemanager")
    disabled: AbstractContextManager[Any] = capture.global_and_fixture_disabled()
    return disabled
