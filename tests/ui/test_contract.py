"""The page is tested with answers that today's Python gives."""

from __future__ import annotations

import json

import pytest

from tests.ui.stories import FIXTURES, answers

ANSWERS = answers()


@pytest.mark.parametrize("name", ANSWERS)
def test_the_pages_tests_read_what_is_really_answered(name: str) -> None:
    written = json.loads((FIXTURES / f"{name}.json").read_text())
    assert written == json.loads(json.dumps(ANSWERS[name])), "run: python -m tests.ui.stories"


def test_there_is_no_other_fixture() -> None:
    assert {path.stem for path in FIXTURES.iterdir()} == set(ANSWERS)
