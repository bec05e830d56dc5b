"""The golden scenarios: what was decided is what the files say. See scenario.py for how to rewrite them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core import scenario


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in scenario.files()])
def test_scenario(file: Path) -> None:
    expected = file.read_text()
    assert scenario.played(expected).splitlines() == expected.splitlines()
