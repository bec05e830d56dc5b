"""An Airflow for the length of a test session or module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_spotmix.lab import progress
from airflow_provider_spotmix.lab.airflow import AirflowConfig, AirflowHarness


@contextmanager
def running(
    request: pytest.FixtureRequest, factory: pytest.TempPathFactory, config: AirflowConfig
) -> Iterator[AirflowHarness]:
    """Start an Airflow, and stop it at the end; its logs are kept when a test has failed meanwhile.

    Args:
        request: of the fixture that this is for.
        factory: gives it a home.
        config: see there.

    """
    failed_before = request.session.testsfailed
    harness = AirflowHarness(factory.mktemp("airflow") / "home", config, progress=progress.for_person())
    # Let progress through to the terminal: what takes many seconds must say so.
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        harness.up()
    try:
        yield harness
    finally:
        with capture.global_and_fixture_disabled():
            harness.down(keep_logs=request.session.testsfailed > failed_before)
