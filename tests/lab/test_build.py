from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_spotmix.lab import build, toolchain
from airflow_provider_spotmix.lab.build import Program, prune, source_hash
from airflow_provider_spotmix.lab.errors import LabError


@pytest.fixture
def program(tmp_path: Path) -> Program:
    for name, text in {
        "go.mod": "module m",
        "go.sum": "",
        "cmd/mine/main.go": "package main",
        "cmd/mine/main_test.go": "package main",
        "cmd/other/main.go": "package main",
        "shared/shared.go": "package shared",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Program("mine", "mine", tmp_path, "./cmd/mine", foreign=("cmd/other",))


@pytest.mark.parametrize(
    ("changed", "rebuilt"),
    [
        pytest.param("cmd/mine/main.go", True, id="own-source"),
        pytest.param("shared/shared.go", True, id="shared-source"),
        pytest.param("go.sum", True, id="dependencies"),
        pytest.param("cmd/mine/main_test.go", False, id="test"),
        pytest.param("cmd/other/main.go", False, id="another-program"),
    ],
)
def test_a_program_is_rebuilt_when_something_it_is_made_of_changes(
    program: Program, changed: str, *, rebuilt: bool
) -> None:
    before = source_hash(program, "go1.26.6")
    (program.module / changed).write_text("changed")
    assert (source_hash(program, "go1.26.6") != before) is rebuilt


def test_another_go_or_other_flags_make_another_build(program: Program) -> None:
    other_flags = replace(program, ldflags=("-X a=b",))
    hashes = {source_hash(program, "go1.26.6"), source_hash(program, "go1.27.0"), source_hash(other_flags, "go1.26.6")}
    assert len(hashes) == 3


def test_only_the_last_used_builds_of_a_program_are_kept(tmp_path: Path) -> None:
    for age, name in enumerate(["tool", "tool", "tool", "tool-x"]):
        path = tmp_path / f"{name}-{age:016x}"
        path.mkdir()
        os.utime(path, (1000 - age, 1000 - age))
    prune(tmp_path, "tool", keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"tool-{0:016x}", f"tool-{1:016x}", f"tool-x-{3:016x}"]


def test_a_build_that_runs_is_kept(tmp_path: Path) -> None:
    """A lab that has been up for long may have to restart a component."""
    running, old = (tmp_path / f"tool-{number:016x}" for number in range(2))
    for path in (running, old):
        path.mkdir()
    shutil.copy("/bin/sleep", running / "tool")
    with subprocess.Popen([running / "tool", "60"]) as process:
        prune(tmp_path, "tool", keep=0)
        assert list(tmp_path.iterdir()) == [running]
        process.kill()


def test_a_failed_build_shows_the_compilers_words(
    program: Program, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(build, "PROGRAMS", (program,))
    (program.module / "go.mod").write_text("module m\n\ngo 1.26\n")
    (program.module / "cmd/mine/main.go").write_text("package main\n\nfunc main() { undefinedThing() }\n")
    with pytest.raises(LabError, match="undefined: undefinedThing"):
        build.ensure()


@pytest.mark.parametrize(
    ("version", "release"),
    [("go1.26.6", (1, 26)), ("go1.27rc1", (1, 27)), ("go1.9", (1, 9)), ("devel", (0, 0))],
)
def test_release_of_a_go_version(version: str, release: tuple[int, int]) -> None:
    assert toolchain.go_release(version) == release
