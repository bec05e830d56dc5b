"""What an Airflow of the harness runs with: what the caller chose, what was drawn for it, and the environment of both.

The names of the settings and what they do: Airflow's configuration reference, for 3.1 and later.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sysconfig
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
# A triggerer that has been silent for this long is taken for dead, and its triggers go to another one (Airflow's
# default is 30 s). Shorter, and a triggerer on a busy machine would be taken for dead while it is at work.
TRIGGERER_SILENCE_SECONDS = 5


@dataclass(frozen=True)
class AirflowConfig:
    """What the caller chooses.

    Attributes:
        dags: folder of the DAG files.
        connections: connections by id, as URI or as mapping (``conn_type``, ``host``, ``extra`` ...).
        env: further environment of all processes; wins over everything else.
        logs: where the logs of components and tasks go; ``HOME.logs`` beside the home by default. They are removed
            unless something failed. Files of others in there are left alone.
        base_path: path below which browsers find it, such as ``/team/airflow``; none by default.

    """

    dags: Path
    connections: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    logs: Path | None = None
    base_path: str = ""


@dataclass(frozen=True)
class Settings:
    """Ports and secrets: drawn once per home, then read by whoever attaches."""

    port: int
    postgres_port: int
    database_password: str
    admin_password: str
    viewer_password: str
    fernet_key: str
    api_secret: str
    jwt_secret: str

    @classmethod
    def draw(cls) -> Settings:
        """Draw new ones."""
        port, postgres_port = _free_ports(2)
        return cls(
            port=port,
            postgres_port=postgres_port,
            database_password=secrets.token_urlsafe(16),
            admin_password=secrets.token_urlsafe(12),
            viewer_password=secrets.token_urlsafe(12),
            fernet_key=urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            api_secret=secrets.token_urlsafe(32),
            jwt_secret=secrets.token_urlsafe(64),
        )

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read them from a file.

        Raises:
            OSError: it is not there.

        """
        return cls(**json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        """Write them to a file that only its owner reads."""
        write_private(path, json.dumps(asdict(self)))


def environment(home: Path, config: AirflowConfig, settings: Settings, task_logs: Path) -> dict[str, str]:
    """Environment of every process of an Airflow.

    Args:
        home: its AIRFLOW_HOME.
        config: what the caller chose.
        settings: what was drawn.
        task_logs: directory of the tasks' and DAG files' logs.

    """
    url = f"http://{HOST}:{settings.port}"
    airflow = {
        "CORE__DAGS_FOLDER": str(config.dags.absolute()),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTION_API_SERVER_URL": f"{url}{config.base_path}/execution/",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__FERNET_KEY": settings.fernet_key,
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PARALLELISM": "4",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "CORE__TEST_CONNECTION": "Enabled",
        "API__BASE_URL": f"{url}{config.base_path}",
        "API__SECRET_KEY": settings.api_secret,
        "API_AUTH__JWT_SECRET": settings.jwt_secret,
        # The harness migrates it; the api-server starts meanwhile.
        "DATABASE__CHECK_MIGRATIONS": "False",
        "DATABASE__SQL_ALCHEMY_CONN": (
            f"postgresql+psycopg2://airflow:{settings.database_password}@{HOST}:{settings.postgres_port}/postgres"
        ),
        # Look for new and changed files every second, which is cheap; parse unchanged ones seldom, which is not.
        "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "1",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "LOGGING__BASE_LOG_FOLDER": str(task_logs),
        "SPOTMIX__INSTANCE": f"lab-{settings.port}",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_SILENCE_SECONDS),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {
        # Settings and connections of another Airflow, of which this one must know nothing, begin like this too.
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        **{f"AIRFLOW__{key}": value for key, value in airflow.items()},
        **{f"AIRFLOW_CONN_{name.upper()}": _connection(value) for name, value in config.connections.items()},
        **config.env,
    }


def write_private(path: Path, content: str) -> Path:
    """Write a file that only its owner reads, and return its path."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    return path


def _connection(value: str | Mapping[str, Any]) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all held at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
