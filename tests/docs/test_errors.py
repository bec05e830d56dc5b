"""Every message of docs/errors.md is the one that a task shows, for the input beside it; "..." leaves out an end."""

from __future__ import annotations

import ast
import copy
import json
import re
from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT
from tests.fuzz.inputs import SMALL, Task
from tests.fuzz.path import outcome

_ROW = re.compile(r"^\| `(?P<written>[^|]+)` \| `(?P<message>[^|]+)` \|$", re.MULTILINE)
ROWS = [
    pytest.param(row["written"], row["message"], id=row["written"][:60])
    for row in _ROW.finditer((ROOT / "docs" / "errors.md").read_text("utf-8"))
]


def task(written: str) -> Task:
    """A task that is right but for what is written: arguments, a connection's extra, or a field of the application."""
    arguments: dict[str, Any] = {"template_spec": copy.deepcopy(SMALL), "namespace": "spark"}
    if written.startswith("{"):
        return Task(arguments, json.loads(written))
    if re.match(r"\w+=", written):
        call = ast.parse(f"dict({written})", mode="eval").body
        assert isinstance(call, ast.Call)
        given = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}
        if "application_file" in given:
            del arguments["template_spec"]
        return Task({**arguments, **given})
    path, _, value = written.partition(": ")
    *parents, last = path.rstrip(":").split(".")
    target = arguments["template_spec"]
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = yaml.safe_load(value)
    return Task(arguments)


@pytest.mark.parametrize(("written", "message"), ROWS)
def test_the_message_is_the_one_that_is_shown(written: str, message: str) -> None:
    found = outcome(task(written))
    assert isinstance(found, Exception), "it is planned"
    beginning = message.removesuffix("...")
    assert str(found)[: len(beginning)] == beginning
    assert str(found) == message or message.endswith("...")


def test_there_are_rows() -> None:
    assert len(ROWS) > 40
