"""Spark in the lab: the image that is no image, and the settings that make it small and quick.

They are defaults (spark-defaults.conf) of the lab's operator: any manifest may say otherwise, and none has to say
anything that it would not say on a real cluster.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import toolchain
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.network import API_PORT

IMAGE_SOURCES = Path(__file__).parent / "image"

# A JVM that lives for a minute gains nothing from its optimising compiler or a parallel collector, and on two cores
# both take the time of the job.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"

DEFAULTS = {
    # The API server's port is not 443, which needs privileges.
    "spark.kubernetes.driver.master": f"https://kubernetes.default.svc:{API_PORT}",
    "spark.driver.defaultJavaOptions": JAVA_OPTIONS,
    "spark.executor.defaultJavaOptions": JAVA_OPTIONS,
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.kubernetes.allocation.batch.delay": "500ms",
}

_LOG4J = """\
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss.SSS} %p %c{1}: %m%n%ex
"""


def write_conf(directory: Path) -> None:
    """Make the SPARK_CONF_DIR of the operator."""
    directory.mkdir()
    lines = [f"{key} {value}\n" for key, value in DEFAULTS.items()]
    (directory / "spark-defaults.conf").write_text("".join(lines))
    (directory / "log4j2.properties").write_text(_LOG4J)


def write_java_home(directory: Path) -> None:
    """Make a JAVA_HOME that works for Spark; `SPOTMIX_JDK` in the environment says where the real one is."""
    (directory / "bin").mkdir(parents=True)
    shutil.copy(IMAGE_SOURCES / "java", directory / "bin" / "java")
    (directory / "bin" / "java").chmod(0o755)


def copy_scripts(directory: Path) -> None:
    """Copy the image's scripts, executable whatever a wheel or an unpacked archive has made of their mode."""
    directory.mkdir()
    for name in ("entrypoint.sh", "decom.sh"):
        shutil.copy(IMAGE_SOURCES / name, directory / name)
        (directory / name).chmod(0o755)


def submit_environment(java_home: Path, conf: Path) -> dict[str, str]:
    """Environment in which the operator runs spark-submit."""
    return {
        "SPARK_HOME": str(toolchain.find_spark()),
        "SPARK_CONF_DIR": str(conf),
        "SPARK_LAUNCHER_OPTS": JAVA_OPTIONS,
        "SPARK_SUBMIT_OPTS": JAVA_OPTIONS,
        "JAVA_HOME": str(java_home),
        "SPOTMIX_JDK": str(toolchain.find_java()),
    }


def images(config: LabConfig, *, java_home: Path, scripts: Path) -> list[dict[str, Any]]:
    """The images of the lab's nodes: Spark for a name with "spark" in it, the host's programs for ``lab/host``."""
    python = toolchain.find_python()
    mounts = [_bind(source, target) for target, source in config.all_mounts().items()]
    tree = [
        # Entry by entry: the driver gets a config map mounted at /opt/spark/conf.
        _bind(toolchain.find_spark(), "/opt/spark") | {"spread": True},
        _bind(toolchain.find_java(), "/opt/jdk"),
        _bind(java_home, "/opt/java"),
        _bind(scripts / "entrypoint.sh", "/opt/entrypoint.sh"),
        _bind(scripts / "decom.sh", "/opt/decom.sh"),
        *_python_tree(python),
        *mounts,
    ]
    spark = {
        "match": "spark",
        "entrypoint": ["/opt/entrypoint.sh"],
        "workdir": "/opt/spark/work-dir",
        "env": {
            "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin:/opt/spark/bin",
            "SPARK_HOME": "/opt/spark",
            "JAVA_HOME": "/opt/java",
            "SPOTMIX_JDK": "/opt/jdk",
            "SPARK_LAUNCHER_OPTS": JAVA_OPTIONS,
            "SPARK_LOCAL_IP": "$(PROCNODE_POD_IP)",  # else Spark's UI listens on every address of the machine
            "PYSPARK_PYTHON": str(python),
            "PYSPARK_DRIVER_PYTHON": str(python),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        "tree": tree,
    }
    host = {"match": "lab/host", "entrypoint": [], "workdir": "/tmp", "env": {}, "tree": mounts}  # noqa: S108 - the pod's own
    return [spark, host]


def _bind(source: Path, target: str) -> dict[str, Any]:
    return {"src": str(Path(source).resolve()), "dst": target}


def _python_tree(python: Path) -> list[dict[str, Any]]:
    """Bring the interpreter into the pod, at its own path: it may have been built for that one only."""
    prefix = python.parent.parent
    in_every_pod = prefix.is_relative_to("/usr")
    return [] if in_every_pod else [_bind(prefix, str(prefix))]
