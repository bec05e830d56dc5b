"""Fixtures for every test. What is expensive is made when the first test asks for it, once per session."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_spotmix.lab import build, progress
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.lab import Lab

# Importing Airflow makes files in its home: not in the person's own. Set before anything imports it.
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="spotmix-tests-airflow-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME
atexit.register(shutil.rmtree, _AIRFLOW_HOME, ignore_errors=True)

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
