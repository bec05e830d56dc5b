"""docs/rehearse.md, lived: its files are written, its commands typed, and what it shows comes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab import paths
from tests.docs.pages import Block, blocks

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.airflow, pytest.mark.timeout(600)]

PAGE = "docs/rehearse.md"
UNTIL_SECONDS = 120.0
END = "the-end-of-this-command"


@dataclass
class Step:
    """A command, and parts of lines that it must print, in this order."""

    command: str
    shown: list[str]

    def missing(self, output: str) -> list[str]:
        """What of it was not printed."""
        lines = iter(map(_words, output.splitlines()))
        return [part for part in self.shown if not any(_words(part) in line for line in lines)]


def _words(line: str) -> str:
    """A line without what depends on the width of other columns."""
    return " ".join(line.split())


def steps(block: Block) -> list[Step]:
    found: list[Step] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:], []))
        else:
            found[-1].shown.append(line)
    return found


class Shell:
    """A person's shell: variables, the directory and jobs in the background stay from one command to the next."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and output."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\necho {END} $?\n")
        self.process.stdin.flush()
        output = []
        for line in self.process.stdout:
            before, end, code = line.partition(END)
            output.append(before)
            if end:
                return int(code), "".join(output)
        raise AssertionError(f"the shell ended: {''.join(output)}")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """In an empty directory, with a home whose only content is the cache of built programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "KUBECONFIG"))}
    places = {"XDG_CACHE_HOME": paths.cache_dir().parent, "XDG_STATE_HOME": tmp_path / "state", "HOME": tmp_path}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = Shell(tmp_path, {**kept, **{name: str(place) for name, place in places.items()}, "PATH": path})
    yield shell
    shell.run("cd; spotmix lab down")
    shell.close()


def test_the_page_can_be_lived(shell: Shell, tmp_path: Path) -> None:
    for block in (each for each in blocks("console", "python", "yaml") if each.page == PAGE):
        if block.file:
            (tmp_path / "rehearsal" / block.file).write_text(block.text)
        for step in steps(block) if block.language == "console" else []:
            if not step.command.startswith("pip "):
                follow(shell, step, block)
    assert list((tmp_path / "state").rglob("*")) == []


def follow(shell: Shell, step: Step, block: Block) -> None:
    deadline = time.monotonic() + (UNTIL_SECONDS if block.mark == "until" else 0)
    while True:
        code, output = shell.run(step.command)
        if code == 0 and not step.missing(output):
            return
        if time.monotonic() > deadline:
            log = shell.run("tail -n 40 run.log 2>/dev/null")[1]
            missing = "\n".join(step.missing(output))
            raise AssertionError(f"{block}: {step.command}\nended with {code}:\n{output}\nnot in it:\n{missing}\n{log}")
        time.sleep(1)
