"""Build the lab's Go programs once and keep them in the cache, named by the content of their sources.

Layout: ``<cache>/programs/<program>-<hash>/``, complete or absent (renamed into place). The hash covers the sources,
the pinned dependencies (go.mod, go.sum), the flags and the version of Go.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_spotmix.lab import locks, paths
from airflow_provider_spotmix.lab.errors import LabError, tail
from airflow_provider_spotmix.lab.progress import Progress, Silent
from airflow_provider_spotmix.lab.toolchain import Go, find_go

NEWS_SECONDS = 5.0
KUBERNETES_VERSION = "v1.36.3"
SPARK_OPERATOR_VERSION = "v2.5.2"
KWOK_VERSION = "v0.8.0"
KEEP = 3  # builds per program; each is up to 130 MB

_HERE = Path(__file__).parent
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Program:
    """One Go program of the lab.

    Attributes:
        name: of the binary.
        title: what a person is told.
        module: directory of the Go module.
        package: what `go build` builds.
        foreign: directories of the module whose sources this program does not use.
        ldflags: for the linker, beside ``-s -w``.
        share: what of a dependency is shipped beside the binary: (module path, {directory in it: name here}).

    """

    name: str
    title: str
    module: Path
    package: str
    foreign: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    share: tuple[str, dict[str, str]] | None = None


# In this order: each reuses what the one before has compiled.
PROGRAMS = (
    Program(
        "controlplane",
        f"Kubernetes {KUBERNETES_VERSION} (etcd, API server, scheduler, controllers)",
        _HERE / "go",
        "./cmd/controlplane",
        foreign=("cmd/procnode",),
        # kubectl refuses the version that an unstamped build reports.
        ldflags=tuple(
            f"-X {_VERSION_PACKAGE}.{key}={value}"
            for key, value in {
                "gitVersion": KUBERNETES_VERSION,
                "gitMajor": KUBERNETES_VERSION.removeprefix("v").split(".")[0],
                "gitMinor": KUBERNETES_VERSION.split(".")[1],
                "gitTreeState": "clean",
            }.items()
        ),
    ),
    Program("procnode", "the lab's nodes", _HERE / "go", "./cmd/procnode", foreign=("cmd/controlplane",)),
    Program(
        "spark-operator",
        f"Kubeflow spark-operator {SPARK_OPERATOR_VERSION}",
        _HERE / "go_operator",
        "github.com/kubeflow/spark-operator/v2/cmd/operator",
        share=("github.com/kubeflow/spark-operator/v2", {"config/crd/bases": "crds", "config/rbac": "rbac"}),
    ),
)
KWOK = Program(
    "kwok",
    f"kwok {KWOK_VERSION} (played nodes)",
    _HERE / "go_kwok",
    "sigs.k8s.io/kwok/cmd/kwok",
    share=("sigs.k8s.io/kwok", {"kustomize/rbac": "rbac"}),
)


@dataclass(frozen=True)
class Programs:
    """Where the built programs are.

    Attributes:
        controlplane: etcd, kube-apiserver, kube-scheduler, kube-controller-manager, chosen by the first argument.
        procnode: the nodes.
        spark_operator: the Kubeflow operator.
        crds: directory of the operator's CustomResourceDefinitions (YAML).
        operator_role: the operator's ClusterRole (YAML).
        kwok: directory of kwok and its ClusterRole; None where it is not needed.

    """

    controlplane: Path
    procnode: Path
    spark_operator: Path
    crds: Path
    operator_role: Path
    kwok: Path | None = None


def ensure(progress: Progress | None = None, *, kwok: bool = False) -> Programs:
    """Build what is not in the cache.

    Args:
        progress: where to show what goes on.
        kwok: whether that is needed too.

    Raises:
        LabError: Go is missing, or a build failed (with the end of the compiler's output).

    """
    progress = progress or Silent()
    go = find_go()
    wanted = (*PROGRAMS, KWOK) if kwok else PROGRAMS
    found = {program.name: _ensure(program, go, progress) for program in wanted}
    return Programs(
        controlplane=found["controlplane"] / "controlplane",
        procnode=found["procnode"] / "procnode",
        spark_operator=found["spark-operator"] / "spark-operator",
        crds=found["spark-operator"] / "crds",
        operator_role=found["spark-operator"] / "rbac" / "role.yaml",
        kwok=found.get("kwok"),
    )


def source_hash(program: Program, go_version: str) -> str:
    """Hash of everything that the binary depends on: 16 hexadecimal digits."""
    digest = hashlib.sha256(repr((go_version, program.package, program.ldflags, program.share)).encode())
    for path in _sources(program):
        digest.update(f"\0{path.relative_to(program.module)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(program: Program) -> Iterator[Path]:
    if not (program.module / "go.mod").is_file():
        raise LabError(
            f"the Go sources of {program.name} are not at {program.module}",
            remedy="reinstall airflow-provider-spotmix",
        )
    yield from (program.module / name for name in ("go.mod", "go.sum"))
    foreign = [program.module / name for name in program.foreign]
    for path in sorted(program.module.rglob("*.go")):
        if not path.name.endswith("_test.go") and not any(path.is_relative_to(other) for other in foreign):
            yield path


def _ensure(program: Program, go: Go, progress: Progress) -> Path:
    programs = paths.cache_dir() / "programs"
    place = programs / f"{program.name}-{source_hash(program, go.version)}"
    if not place.is_dir():
        programs.mkdir(exist_ok=True)
        waiting = f"another process builds {program.name}: waiting for it"
        with locks.exclusive(paths.lock_path("build"), on_wait=lambda: progress.note(waiting)):
            if not place.is_dir():
                _build(program, go, place, progress)
                prune(programs, program.name, KEEP)
    os.utime(place)  # what prune keeps
    return place


def prune(programs: Path, name: str, keep: int) -> None:
    """Remove all but the `keep` most recently used builds of a program, and those that run."""
    # By length too: "spark-operator-<hash>" must not be taken for a build of a program called "spark".
    entries = [p for p in programs.glob(f"{name}-*") if len(p.name) == len(name) + 17]
    for old in sorted(entries, key=lambda p: p.stat().st_mtime, reverse=True)[keep:]:
        if not _runs(old):
            shutil.rmtree(old, ignore_errors=True)


def _runs(directory: Path) -> bool:
    """Whether a lab runs a program from there: it may be told to restart it."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if (process / "exe").readlink().is_relative_to(directory):
                return True
    return False


def _build(program: Program, go: Go, place: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".building-") as scratch:
        stage = Path(scratch) / "stage"
        stage.mkdir()
        command = [str(go.binary), "build", "-trimpath", "-buildvcs=false", "-o", str(stage / program.name)]
        command += ["-ldflags", " ".join(("-s", "-w", *program.ldflags)), program.package]
        log = Path(scratch) / "build.log"
        with progress.step(f"Building {program.title}") as step:
            code = _run(command, program.module, log, step.update)
        if code != 0:
            raise LabError(
                f"building {program.name} failed ({' '.join(command[:2])} in {program.module}):\n{tail(log)}",
                remedy="are the Go module proxy and enough disk space (5 GB) within reach?",
            )
        if program.share is not None:
            for source, target in program.share[1].items():
                shutil.copytree(_module_dir(program, go) / source, stage / target)
        stage.rename(place)


def _run(command: list[str], directory: Path, log: Path, update: Callable[[str], None]) -> int:
    """Run a build with its output in `log`; stop it when this process is interrupted."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=go_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                # The compiler itself says nothing for minutes: then a download is long over.
                is_news = time.time() - log.stat().st_mtime < NEWS_SECONDS
                update(_last_line(log) if is_news else "compiling")
                time.sleep(0.2)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    return process.returncode


def _last_line(log: Path) -> str:
    # While modules are fetched, Go says which; while it compiles, it says nothing.
    return tail(log, 1)[:60]


def go_environment() -> dict[str, str]:
    """The environment of every `go` command: the machine's, without what could change what is built."""
    env = {key: value for key, value in os.environ.items() if key not in {"GOROOT", "GOARCH", "GOOS", "GOEXPERIMENT"}}
    return env | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}


def _module_dir(program: Program, go: Go) -> Path:
    if program.share is None:
        raise ValueError(f"{program.name} ships nothing of a dependency")
    command = [str(go.binary), "list", "-m", "-f", "{{.Dir}}", program.share[0]]
    done = subprocess.run(
        command, cwd=program.module, env=go_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"go list -m {program.share[0]} failed in {program.module}: {done.stderr.strip()}")
    return Path(done.stdout.strip())
