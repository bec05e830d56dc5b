"""Start a lab's processes in order, each when what it needs is there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from airflow_provider_spotmix.lab import (
    access,
    cluster,
    components,
    kwok,
    network,
    parts,
    paths,
    provision,
    supervisor,
)
from airflow_provider_spotmix.lab.api import wait_until
from airflow_provider_spotmix.lab.build import Programs
from airflow_provider_spotmix.lab.clients import ask_supervisor
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.control import START_SECONDS, Control
from airflow_provider_spotmix.lab.errors import LabError, tail
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.processes import ProcessId
from airflow_provider_spotmix.lab.progress import Step
from airflow_provider_spotmix.lab.provision import Credentials, Setting
from airflow_provider_spotmix.lab.state import State
from airflow_provider_spotmix.lab.supervision import spawn


def start(name: str, config: LabConfig, programs: Programs, step: Step, *, ephemeral: bool) -> tuple[State, int]:
    """Start everything and wait until it is ready.

    Returns:
        The lab's state, and a descriptor: the supervisor ends the lab when it is closed, until told to `keep` it.

    Raises:
        LabError: something did not start, with the end of its log. Nothing is left behind.

    """
    files = Files(paths.lab_dir(name))
    net, claim = network.claim(name)
    setting = Setting(files, net, programs, config)
    with claim, _removed_on_error(files.root):
        files.root.mkdir(parents=True, mode=0o700)
        credentials = provision.prepare(setting)
        process, leash = spawn(files.root, claim, files.log("supervisor"))
    with _removed_on_error(files.root), _ended_on_error(process, leash):
        state = State(name, net.number, process.pid, process.started, config.to_json(), ephemeral)
        state.write(files)
        _Starter(setting, credentials, step).run()
    return replace(state, complete=True), leash


class _Starter:
    def __init__(self, setting: Setting, credentials: Credentials, step: Step) -> None:
        self.setting, self.credentials, self.step = setting, credentials, step
        self.api = access.client(setting.files.kubeconfig)

    def run(self) -> None:
        config = self.setting.config
        self.start(parts.ETCD, parts.API_SERVER)
        self.wait_for(parts.API_SERVER)
        access.apply_nodes_role(self.api, [node.name for node in config.real_nodes])
        self.start(parts.CONTROLLER_MANAGER, parts.SCHEDULER, parts.NODES)
        self.step.update("resources")
        cluster.apply_crds(self.api, self.setting.programs.crds)
        access.apply_operator_role(self.api, self.setting.programs.operator_role)
        self.start(parts.OPERATOR)
        self.play_nodes()
        for namespace in ("default", cluster.SPARK_NAMESPACE):
            cluster.apply_namespace(self.api, namespace)
        self.wait("the nodes to be Ready", self.nodes_are_ready)
        if parts.CONTROLLER_MANAGER in config.components():
            self.wait("namespaces", lambda: cluster.accounts_are_ready(self.api, cluster.SPARK_NAMESPACE))
        self.wait("the operator's resources", lambda: cluster.applications_are_served(self.api))
        for name in config.components():
            self.wait_for(name)

    def start(self, *names: str) -> None:
        for name in (name for name in names if name in self.setting.config.components()):
            component = components.MAKERS[name](self.setting, self.credentials)
            request = component.request(self.setting.files.log(name))
            ask_supervisor(self.setting.network, do="start", component=request)

    def wait_for(self, name: str) -> None:
        Control(self.setting.files, self.setting.network).wait_for(name, self.step)

    def wait(self, what: str, check: Callable[[], bool]) -> None:
        def checked() -> bool:
            self.step.update(what)
            return check()

        wait_until(what, checked, seconds=START_SECONDS, check_alive=self.check_alive)

    def check_alive(self) -> None:
        for child in ask_supervisor(self.setting.network, do="status"):
            if child.exit_code is not None:
                log = tail(self.setting.files.log(child.name))
                raise LabError(f"{child.name} ended with exit code {child.exit_code}; the end of its log:\n{log}")

    def play_nodes(self) -> None:
        if self.setting.programs.kwok is not None:
            access.apply_kwok_role(self.api, self.setting.programs.kwok / "rbac" / "role.yaml")
            self.start(parts.KWOK)
            kwok.create_nodes(self.api, list(self.setting.config.kwok_nodes))

    def nodes_are_ready(self) -> bool:
        config = self.setting.config
        expected = {node.name for node in config.kwok_nodes}
        if parts.NODES in config.components():
            expected |= {node.name for node in config.real_nodes}
        nodes = self.api.items("/api/v1/nodes")
        return expected == {node["metadata"]["name"] for node in nodes if cluster.node_is_ready(node)}


@contextmanager
def _removed_on_error(directory: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


@contextmanager
def _ended_on_error(process: ProcessId, leash: int) -> Iterator[None]:
    """Whatever goes wrong, a Ctrl-C included: let the supervisor end the lab, and wait for that."""
    try:
        yield
    except BaseException:
        os.close(leash)
        process.wait(2 * supervisor.GRACE_SECONDS)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
        raise
