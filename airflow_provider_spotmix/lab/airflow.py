"""A real Airflow for the demo, the tests and a person: PostgreSQL, api-server, scheduler, dag-processor, triggerer.

Each is a process of its own below one supervisor, with its own AIRFLOW_HOME and free ports on 127.0.0.1. Nothing
outlives the supervisor; an ephemeral one does not outlive its owner either, whatever ends it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from airflow_provider_spotmix.lab import airflow_postgres as postgres
from airflow_provider_spotmix.lab.airflow_api import AirflowApi
from airflow_provider_spotmix.lab.airflow_settings import HOST, AirflowConfig, Settings, environment, write_private
from airflow_provider_spotmix.lab.errors import LabError, tail
from airflow_provider_spotmix.lab.processes import ProcessId
from airflow_provider_spotmix.lab.progress import Progress, Silent
from airflow_provider_spotmix.lab.supervision import Supervision

__all__ = ["COMPONENTS", "AirflowConfig", "AirflowHarness"]

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
START_SECONDS = 180.0
END_SECONDS = 20.0
_SETTINGS = "settings.json"  # also tells that a directory is a home of ours
_TAIL_LINES = 30
_FOR_ALL = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)


class AirflowHarness:
    """One Airflow in a directory of its own. A context manager: up on entry, down on exit.

    Args:
        home: its directory, made by `up` and removed by `down`.
        config: DAGs, connections, environment, place of the logs.
        progress: told what is going on.
        ephemeral: end with the process that started it.

    """

    def __init__(
        self, home: Path, config: AirflowConfig, *, progress: Progress | None = None, ephemeral: bool = True
    ) -> None:
        self.home = home.absolute()
        self.config = config
        self.logs = (config.logs or _logs_beside(self.home)).absolute()
        self._progress = progress or Silent()
        self._ephemeral = ephemeral
        self._supervision: Supervision | None = None
        self._settings: Settings | None = None
        self._api: AirflowApi | None = None

    # -- up and down

    def __enter__(self) -> AirflowHarness:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down(keep_logs=_is_failure(error))

    def up(self) -> AirflowHarness:
        """Start everything and wait until it is healthy.

        Raises:
            LabError: the home is in use or somebody else's, or a component did not start: the message has the end of
                its log.

        """
        _claim(self.home)
        supervision = Supervision.start(self.home, ephemeral=self._ephemeral)
        self._supervision, self._settings, self._api = supervision, Settings.draw(), None
        try:
            self._remove_logs()
            self.logs.mkdir(parents=True, exist_ok=True)
            self.settings.save(self.home / _SETTINGS)
            passwords = {"admin": self.password, "viewer": self.viewer_password}
            write_private(self.home / "passwords.json", json.dumps(passwords))
            with self._progress.step("Airflow: starting PostgreSQL and making Airflow's tables") as step:
                # It needs no database to start, and takes longest.
                self.start("api-server")
                self._start_postgres()
                self._migrate(step.update)
            with self._progress.step("Airflow: starting api-server, scheduler, dag-processor, triggerer") as step:
                for component in COMPONENTS[1:]:
                    self.start(component)
                self.wait_until_healthy(update=step.update)
        except BaseException as error:
            self.down(keep_logs=_is_failure(error))
            raise
        return self

    def down(self, *, keep_logs: bool = False) -> None:
        """Stop everything and remove the home, and the logs unless they are to be kept; idempotent.

        Processes get a SIGTERM and eight seconds.
        """
        if self._supervision is None:
            return
        self._supervision.shutdown()
        self._supervision = None
        shutil.rmtree(self.home, ignore_errors=True)
        if keep_logs:
            self._progress.note(f"Airflow's logs are in {self.logs}")
        else:
            self._remove_logs()

    @classmethod
    def attach(cls, home: Path, config: AirflowConfig) -> AirflowHarness:
        """Return the Airflow that another process started in that home.

        Raises:
            LabError: there is none.

        """
        harness = cls(home, config, ephemeral=False)
        try:
            harness._settings = Settings.load(harness.home / _SETTINGS)
        except OSError:
            raise LabError(f"no Airflow in {home}", remedy="start one with `spotmix up`") from None
        harness._supervision = Supervision.attach(harness.home)
        return harness

    @classmethod
    def stop(cls, home: Path) -> None:
        """Stop the Airflow of that home, if there is one, and remove it with its logs."""
        harness = cls(home, AirflowConfig(dags=home))
        if _is_supervised(harness.home):
            harness._supervision = Supervision.attach(harness.home)
            harness.down()
        elif (harness.home / _SETTINGS).exists():  # left by a crash of the machine
            shutil.rmtree(harness.home)
            harness._remove_logs()

    # -- components

    def start(self, component: str, *, instance: int = 1) -> None:
        """Start a component (again), without waiting for it.

        Args:
            component: one of `COMPONENTS`.
            instance: 2 and more for a second triggerer and so on, beside the first.

        Raises:
            LabError: there is no such component, or it is running.

        """
        options = {
            "api-server": ["--host", HOST, "--port", str(self.settings.port), "--workers", "1"],
            # All share one disk, and the log servers would listen on all addresses.
            "scheduler": ["--skip-serve-logs"],
            "dag-processor": [],
            "triggerer": ["--skip-serve-logs"],
        }
        if component not in options:
            raise LabError(f"unknown component {component!r} of Airflow; there are {', '.join(COMPONENTS)}")
        command = [sys.executable, "-m", "airflow", component, *options[component]]
        self._run(_name(component, instance), command, env=self.environment())

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL, *, instance: int = 1) -> None:
        """Send a signal to a component and wait until it and all that it has started have ended.

        Args:
            component: one of `COMPONENTS`.
            number: SIGKILL, SIGSTOP and SIGCONT reach its children too, others only itself, which then ends them.
                After SIGSTOP and SIGCONT nothing ends, and nothing is waited for.
            instance: which of several.

        Raises:
            LabError: it does not run, or has not ended in time.

        """
        name = _name(component, instance)
        parent = self._process(name)
        members = [ProcessId.of(process.pid) for process in (parent, *parent.children(recursive=True))]
        for member in members if number in _FOR_ALL else members[:1]:
            member.end(number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            return
        deadline = time.monotonic() + END_SECONDS
        for member in members:
            if not member.wait(max(0.0, deadline - time.monotonic())):
                raise LabError(f"process {member.pid} of {name} still runs {END_SECONDS:.0f} s after {number.name}")
        # A process is a zombie before the last of its threads has ended, and its parent hears of it only then.
        while self.processes().get(name) == parent.pid and time.monotonic() < deadline:
            time.sleep(0.02)

    def restart(self, component: str, *, instance: int = 1) -> None:
        """Stop a component as an administrator would, start it, and wait until it is healthy."""
        self.supervision.stop(_name(component, instance))
        self.start(component, instance=instance)
        self.wait_until_healthy(component)

    def processes(self) -> dict[str, int]:
        """Return the process ids of what runs, by component (``triggerer-2`` is the second triggerer)."""
        return self.supervision.pids()

    def wait_until_healthy(
        self,
        *components: str,
        timeout: float = START_SECONDS,
        update: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Wait until components (by default all) say that they are healthy.

        A component that was killed is believed to be healthy until its heartbeat is too old.

        Raises:
            LabError: one has ended, or is not healthy in time; the message has the end of its log.

        """
        expected = components or COMPONENTS
        waiting: list[str] = []

        def healthy() -> bool:
            waiting[:] = [name for name in self.api.unhealthy() if name in expected]
            if waiting:
                update("waiting for " + ", ".join(waiting))
            return not waiting

        self._wait(healthy, waiting, (*expected, "postgres"), timeout)

    # -- what a user does: see AirflowApi

    @property
    def api(self) -> AirflowApi:
        """The stable REST API, as the admin."""
        if self._api is None:
            self._api = AirflowApi(self.ui, "admin", self.password)
        return self._api

    @property
    def url(self) -> str:
        """Address of the REST API, and of the UI unless it is below a path."""
        return f"http://{HOST}:{self.settings.port}"

    @property
    def ui(self) -> str:
        """Address of the UI."""
        return f"{self.url}{self.config.base_path}"

    @property
    def password(self) -> str:
        """Password of the user ``admin``."""
        return self.settings.admin_password

    @property
    def viewer_password(self) -> str:
        """Password of the user ``viewer``, who may look but not touch."""
        return self.settings.viewer_password

    @property
    def settings(self) -> Settings:
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

    def environment(self) -> dict[str, str]:
        """Environment of every process of this Airflow."""
        return environment(self.home, self.config, self.settings, self.logs / "airflow")

    # -- inside

    def _start_postgres(self) -> None:
        data = self.home / "postgres"
        password = write_private(self.home / "postgres.password", self.settings.database_password)
        postgres.initialize(data, user="airflow", password_file=password)
        port = self.settings.postgres_port
        self._run("postgres", postgres.server(data, host=HOST, port=port), env=dict(os.environ))
        self._wait(lambda: postgres.accepts(HOST, port), ["postgres"], ["postgres"], START_SECONDS)

    def _migrate(self, update: Callable[[str], None]) -> None:
        """Make Airflow's tables. A child of the supervisor too, so that it ends with its owner as all others do."""
        self._run("db-migrate", [sys.executable, "-m", "airflow", "db", "migrate"], env=self.environment())

        def over() -> bool:
            update("")
            return self.supervision.ended().get("db-migrate") == 0

        self._wait(over, ["db-migrate"], ("postgres", "api-server"), START_SECONDS)

    def _run(self, name: str, command: Sequence[str], *, env: dict[str, str]) -> None:
        self.supervision.run(name, command, env=env, log=self._log(name), graceful=True)

    def _wait(self, check: Callable[[], bool], waiting: Sequence[str], needed: Sequence[str], timeout: float) -> None:
        """Wait for a condition.

        Args:
            check: the condition.
            waiting: which components are being waited for; may change meanwhile.
            needed: which must not end before that.
            timeout: in seconds.

        """
        deadline = time.monotonic() + timeout
        while not check():
            for name, code in self.supervision.ended().items():
                if name in needed or (name in waiting and code):
                    raise LabError(f"{name} ended with {code}; {self._end_of_log(name)}")
            if time.monotonic() > deadline:
                ends = "\n".join(self._end_of_log(name) for name in waiting)
                raise LabError(f"{' and '.join(waiting)} not ready after {timeout:.0f} s; {ends}")
            time.sleep(0.1)

    def _process(self, name: str) -> psutil.Process:
        with suppress(KeyError, psutil.NoSuchProcess):
            return psutil.Process(self.processes()[name])
        raise LabError(f"{name} does not run; {self._end_of_log(name)}")

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _end_of_log(self, name: str) -> str:
        log = self._log(name)
        return f"the end of {log}:\n{tail(log, _TAIL_LINES)}"

    def _remove_logs(self) -> None:
        """Remove what earlier processes logged, and nothing else: the caller may have chosen a shared directory."""
        shutil.rmtree(self.logs / "airflow", ignore_errors=True)
        for log in _component_logs(self.logs):
            log.unlink(missing_ok=True)
        with suppress(OSError):
            self.logs.rmdir()


def _component_logs(directory: Path) -> Iterator[Path]:
    for name in ("postgres", "db-migrate", *COMPONENTS):
        yield from directory.glob(f"{name}.log")
        yield from directory.glob(f"{name}-[0-9].log")


def _claim(home: Path) -> None:
    """Make an empty home; one that a crash has left is emptied.

    Raises:
        LabError: it is in use, or has files that are not ours.

    """
    if home.exists():
        if _is_supervised(home):
            raise LabError(f"an Airflow is running in {home}", remedy="stop it first, or name another directory")
        if any(home.iterdir()) and not (home / _SETTINGS).exists():
            raise LabError(f"{home} has files of somebody else", remedy="name a directory that is empty or not there")
        shutil.rmtree(home)
    home.mkdir(parents=True, mode=0o700)


def _is_supervised(home: Path) -> bool:
    try:
        Supervision.attach(home)
    except LabError:
        return False
    return True


def _logs_beside(home: Path) -> Path:
    return home.with_name(home.name + ".logs")


def _name(component: str, instance: int) -> str:
    return component if instance == 1 else f"{component}-{instance}"


def _is_failure(error: BaseException | None) -> bool:
    """Whether somebody will want to read the logs: not after Ctrl-C."""
    return isinstance(error, Exception)
