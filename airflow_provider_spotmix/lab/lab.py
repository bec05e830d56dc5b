"""A rehearsal lab: start it, find it again, ask it, interrupt its nodes, stop it.

Each lab is a directory (``<state>/spotmix/labs/NAME``, 0700), a loopback network, and a supervisor process that is the
parent of all others. The supervisor ends the lab when its owner dies, until the owner lets go of it: an interrupted
`up` and a killed test run leave nothing behind.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_spotmix.lab import access, cluster, leftovers, locks, paths, signals
from airflow_provider_spotmix.lab.api import Api, wait_until
from airflow_provider_spotmix.lab.clients import NodesControl, ask_supervisor
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.control import Control
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import Network
from airflow_provider_spotmix.lab.processes import ProcessId
from airflow_provider_spotmix.lab.progress import Progress, Silent
from airflow_provider_spotmix.lab.state import State
from airflow_provider_spotmix.lab.status import LabStatus, read_status
from airflow_provider_spotmix.lab.toolchain import find_java, find_spark, require_linux

DEFAULT_NAME = "default"


class Lab:
    """A lab that runs. Get one from `up`, `attach` or `ephemeral`."""

    def __init__(self, state: State, *, leash: int | None = None) -> None:
        self.name = state.name
        self.state = state
        self.files = Files(paths.lab_dir(state.name))
        self.network = Network(state.network)
        self._leash = leash  # the supervisor ends the lab when this descriptor is closed

    @classmethod
    def up(cls, name: str = DEFAULT_NAME, config: LabConfig | None = None, progress: Progress | None = None) -> Lab:
        """Start a lab that stays until `down`; or find it, if it runs.

        Args:
            name: 1 to 40 of a-z, 0-9 and -.
            config: default: two spot and two on-demand nodes.
            progress: where to show what goes on; the first time programs are built, for minutes.

        Raises:
            LabError: something is missing or did not start (with the end of its log), or the lab runs with another
                configuration.

        """
        return cls._up(name, config, progress or Silent(), ephemeral=False)

    @classmethod
    @contextmanager
    def ephemeral(
        cls, config: LabConfig | None = None, progress: Progress | None = None, name: str | None = None
    ) -> Iterator[Lab]:
        """A lab for the length of a block. It ends with this process, however that dies.

        Args:
            config: as for `up`.
            progress: as for `up`.
            name: default: a unique one.

        """
        unique = name or f"tmp-{os.getpid()}-{secrets.token_hex(3)}"
        lab = cls._up(unique, config, progress or Silent(), ephemeral=True)
        try:
            yield lab
        finally:
            lab.down()

    @classmethod
    def attach(cls, name: str = DEFAULT_NAME) -> Lab:
        """Find a lab that runs.

        Raises:
            LabError: it does not.

        """
        lab = cls._find(name)
        if lab is None or not lab._supervisor.is_running():
            raise LabError(f"lab {name!r} is not running", remedy=f"start it: spotmix lab up{option(name)}")
        return lab

    @classmethod
    def stop(cls, name: str = DEFAULT_NAME) -> bool:
        """Stop a lab, dead or alive, and remove what is left of it.

        Returns:
            Whether there was anything.

        """
        directory = paths.lab_dir(name)
        with locks.exclusive(paths.lab_lock_path(name)):
            found = directory.exists() or bool(leftovers.supervisors(directory))
            cls._clean(name, cls._find(name))
        leftovers.sweep()
        return found

    @property
    def kubeconfig(self) -> Path:
        """File with the administrator's access, current namespace `spark`; valid as long as the lab runs."""
        return self.files.kubeconfig

    @property
    def api(self) -> Api:
        """A small client with the administrator's access."""
        return access.client(self.files.kubeconfig)

    @property
    def nodes(self) -> NodesControl:
        """What the provider of the machines can do."""
        return NodesControl.of(self.files, self.network)

    def status(self) -> LabStatus:
        """What runs and how it is; never raises because something does not."""
        return read_status(self.name, self.network, self.files, self.api, self.state.config["nodes"])

    def interrupt(
        self,
        node: str,
        signal_name: str = "karpenter",
        lead_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Take a node away as a provider would; returns when it is gone.

        Args:
            node: its name.
            signal_name: one of `signals.SIGNALS`.
            lead_seconds: between the notice and the end; default: the real thing's.
            progress: where to show what goes on.

        Raises:
            LabError: there is no such node or signal, or the node is dead.

        """
        signals.play(self.api, self.nodes, node, signal_name, lead_seconds, progress or Silent())

    def restore(self, node: str) -> None:
        """Give an interrupted or dead node's name to a new machine, or mend its network; returns when it is Ready.

        Raises:
            LabError: there is no such node, or it is as it should be.

        """
        signals.restore(self.api, self.nodes, node)

    def stop_component(self, name: str) -> None:
        """Stop a component until `start_component`; all others go on. Idempotent.

        What has nothing to tidy up (all but the nodes) is killed at once, as in a crash.

        Raises:
            LabError: the lab has no such component.

        """
        Control(self.files, self.network).stop(name)

    def start_component(self, name: str, progress: Progress | None = None) -> None:
        """Start a component that was stopped or has ended; returns when it is ready.

        Raises:
            LabError: there is no such component, it runs, or it does not become ready (with the end of its log).

        """
        with (progress or Silent()).step(f"Starting {name}") as step:
            Control(self.files, self.network).start(name, step)

    def restart(self, name: str, progress: Progress | None = None) -> None:
        """Stop a component and start it again, with the same state, ports and keys; returns when it is ready.

        Raises:
            LabError: as for `start_component`.

        """
        with (progress or Silent()).step(f"Restarting {name}") as step:
            Control(self.files, self.network).restart(name, step)

    def create_namespace(self, name: str) -> str:
        """Create a namespace in which Spark applications can run under the service account `spark`."""
        cluster.apply_namespace(self.api, name)
        api = self.api
        wait_until(f"namespace {name} to be usable", lambda: cluster.accounts_are_ready(api, name), seconds=30)
        return name

    def delete_namespace(self, name: str) -> None:
        """Have a namespace deleted with all that is in it; does not wait."""
        self.api.delete(f"/api/v1/namespaces/{name}")

    def down(self) -> None:
        """Stop the lab and remove its directory. Nothing but the cache stays."""
        with locks.exclusive(paths.lab_lock_path(self.name)):
            self._end()

    @classmethod
    def _up(cls, name: str, config: LabConfig | None, progress: Progress, *, ephemeral: bool) -> Lab:
        from airflow_provider_spotmix.lab import build, launch  # here: what only looks at a lab must start at once

        require_linux()
        paths.lab_dir(name)  # refuses a bad name before anything is built
        find_java(), find_spark()
        leftovers.sweep()
        waiting = f"another process starts or stops lab {name!r}: waiting for it"
        with locks.exclusive(paths.lab_lock_path(name), on_wait=lambda: progress.note(waiting)):
            lab = cls._find(name)
            if lab is not None and lab.state.complete and lab._answers():
                return lab._checked(config)._revived(progress)
            cls._clean(name, lab)
            config = config or LabConfig()
            programs = build.ensure(progress, kwok=bool(config.kwok_nodes))
            with progress.step(f"Starting lab {name!r}") as step:
                state, leash = launch.start(name, config, programs, step, ephemeral=ephemeral)
            lab = cls(state, leash=leash)
            if not ephemeral:
                lab._let_go()
            state.write(lab.files)
            return lab

    @classmethod
    def _find(cls, name: str) -> Lab | None:
        """The lab as its directory tells; it may be dead."""
        state = State.read(Files(paths.lab_dir(name)))
        return None if state is None else cls(state)

    @classmethod
    def _clean(cls, name: str, lab: Lab | None) -> None:
        """Remove what is left of a lab that is dead or ill, whatever state it is in."""
        if lab is not None:
            lab._end()
        for supervisor in leftovers.supervisors(paths.lab_dir(name)):
            leftovers.end(supervisor)
        leftovers.remove(paths.lab_dir(name))

    @property
    def _supervisor(self) -> ProcessId:
        return leftovers.supervisor_of(self.state)

    def _answers(self) -> bool:
        """Whether its supervisor does. One that is being killed still has a process, for a moment."""
        try:
            return self._supervisor.is_running() and bool(ask_supervisor(self.network, do="status"))
        except LabError:
            return False

    def _checked(self, config: LabConfig | None) -> Lab:
        if config is not None and config.to_json() != self.state.config:
            raise LabError(
                f"lab {self.name!r} runs with another configuration",
                remedy=f"stop it first: spotmix lab down{option(self.name)}",
            )
        return self

    def _revived(self, progress: Progress) -> Lab:
        """Start what was stopped or has ended meanwhile."""
        with progress.step(f"Looking after lab {self.name!r}") as step:
            try:
                Control(self.files, self.network).revive(step)
            except LabError as error:
                error.remedy = error.remedy or f"start anew: spotmix lab down{option(self.name)}"
                raise
        return self

    def _let_go(self) -> None:
        ask_supervisor(self.network, do="keep")
        self._drop_leash()

    def _drop_leash(self) -> None:
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None

    def _end(self) -> None:
        self._supervisor.end()  # before it is let go of: that would be another reason to end
        self._drop_leash()
        leftovers.end(self._supervisor)
        leftovers.remove(self.files.root)


def option(name: str) -> str:
    """How a command line names a lab; nothing for the default one."""
    return "" if name == DEFAULT_NAME else f" --name {name}"
