"""What the documentation shows can be typed, and works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from airflow_provider_spotmix.cli import main
from tests.docs.pages import ROOT, Block, blocks

# Commands of others that a page may show without our being able to try them.
FOREIGN = {
    "airflow",
    "apt",
    "cd",
    "export",
    "git",
    "grep",
    "helm",
    "kind",
    "kubectl",
    "mkdir",
    "pip",
    "sleep",
    "touch",
    "uv",
    "wait",
}

COMMANDS = [
    pytest.param(words, id=f"{block}-{'_'.join(words)[:40]}")
    for block in blocks("console")
    for words in block.commands()
]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_exist(words: list[str]) -> None:
    words = [word for number, word in enumerate(words) if number or "=" not in word]
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert [w for w in words[1:] if "=" not in w and w not in targets] == []
    elif words[0] == "spotmix":
        assert_is_understood(main, words[1:])
    elif words[0].startswith("."):
        assert (ROOT / words[0]).exists() or words[0].startswith(".venv/")
    else:
        assert words[0] in FOREIGN


def assert_is_understood(command: click.Command, words: list[str]) -> None:
    """Follow subcommands to the last one; every option on the way must exist."""
    with click.Context(command, info_name=command.name) as context:
        known = {
            option
            for parameter in command.get_params(context)
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for number, word in enumerate(words):
            if word.startswith("-"):
                assert word.partition("=")[0] in known, f"{command.name} has no option {word}"
            elif isinstance(command, click.Group):
                subcommand = command.get_command(context, word)
                assert subcommand is not None, f"{command.name} has no command {word}"
                return assert_is_understood(subcommand, words[number + 1 :])
    return None


def test_the_makefile_calls_what_there_is() -> None:
    for words in re.findall(r"\$\(BIN\)/spotmix ([a-z ]+)", (ROOT / "Makefile").read_text("utf-8")):
        assert_is_understood(main, words.split())


@pytest.mark.parametrize("block", [pytest.param(b, id=str(b)) for b in blocks("console") if b.mark == "run"])
def test_marked_commands_run(block: Block) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for words in block.commands():
        done = subprocess.run(
            words, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", [pytest.param(b, id=str(b)) for b in blocks("python") if not b.file])
def test_python_runs(block: Block, tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "false"}
    done = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", [pytest.param(b, id=str(b)) for b in blocks("yaml", "json")])
def test_data_parses(block: Block) -> None:
    parsed = json.loads(block.text) if block.language == "json" else list(yaml.safe_load_all(block.text))
    assert parsed
