"""Start a lab's processes in order, each when what it needs is there."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_provider_spotmix.lab import access, cluster, components, network, paths, provision, supervisor
from airflow_provider_spotmix.lab.api import Api, wait_until
from airflow_provider_spotmix.lab.build import Programs
from airflow_provider_spotmix.lab.clients import ask_supervisor
from airflow_provider_spotmix.lab.components import Component
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.errors import LabError, tail
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import Network
from airflow_provider_spotmix.lab.pki import write_private
from airflow_provider_spotmix.lab.processes import ProcessId
from airflow_provider_spotmix.lab.progress import Step
from airflow_provider_spotmix.lab.provision import Credentials, Setting
from airflow_provider_spotmix.lab.supervision import spawn

START_SECONDS = 60.0  # a few are usual; a loaded machine may take longer


@dataclass(frozen=True)
class State:
    """What a lab's directory tells about it (lab.json).

    Attributes:
        name: the lab's.
        network: N of 127.N.0.0/16.
        supervisor_pid: the parent of all its processes.
        supervisor_started: seconds since the epoch; tells it from a later process with the same id.
        config: `LabConfig.to_json`.
        ephemeral: whether it belongs to the process that started it.

    """

    name: str
    network: int
    supervisor_pid: int
    supervisor_started: float
    config: dict[str, Any]
    ephemeral: bool


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
        write_private(files.state, json.dumps(asdict(state), indent=1).encode())
        _Starter(setting, credentials, step).run()
    return state, leash


def api_client(kubeconfig: Path) -> Api:
    """A client from a kubeconfig of a lab."""
    try:
        content = json.loads(kubeconfig.read_text())
    except OSError as error:
        raise LabError(f"the lab has no kubeconfig: {error}", remedy="start it: spotmix lab up") from error
    entry = content["clusters"][0]["cluster"]
    authority = base64.b64decode(entry["certificate-authority-data"]).decode()
    return Api(entry["server"], content["users"][0]["user"]["token"], authority)


class _Starter:
    def __init__(self, setting: Setting, credentials: Credentials, step: Step) -> None:
        self.setting, self.credentials, self.step = setting, credentials, step
        self.api = api_client(setting.files.kubeconfig)

    def run(self) -> None:
        self.start(components.FIRST)
        self.wait("the API server", lambda: self.api.text("/readyz") == "ok")
        access.apply_nodes_role(self.api, [node.name for node in self.setting.config.nodes])
        self.start(components.SECOND)
        self.step.update("resources")
        cluster.apply_crds(self.api, self.setting.programs.crds)
        access.apply_operator_role(self.api, self.setting.programs.operator_role)
        self.start((components.operator,))
        for namespace in ("default", cluster.SPARK_NAMESPACE):
            cluster.apply_namespace(self.api, namespace)
        self.wait("the nodes to be Ready", self.nodes_are_ready)
        self.wait("namespaces", lambda: cluster.accounts_are_ready(self.api, cluster.SPARK_NAMESPACE))
        self.wait("the Spark operator", lambda: operator_is_ready(self.setting.network))

    def start(self, makers: tuple[Callable[[Setting, Credentials], Component], ...]) -> None:
        for make in makers:
            component = make(self.setting, self.credentials)
            request = component.request(self.setting.files.log(component.name))
            ask_supervisor(self.setting.network, do="start", component=request)

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

    def nodes_are_ready(self) -> bool:
        nodes = self.api.items("/api/v1/nodes")
        return len(nodes) == len(self.setting.config.nodes) and all(map(cluster.node_is_ready, nodes))


def operator_is_ready(net: Network) -> bool:
    """Whether the operator's manager runs."""
    url = f"http://{net.system}:{components.OPERATOR_HEALTH_PORT}/readyz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


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
