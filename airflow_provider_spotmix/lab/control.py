"""Stop and start single components of a lab that runs. Their state, ports and keys stay as they are."""

from __future__ import annotations

from airflow_provider_spotmix.lab import health, parts
from airflow_provider_spotmix.lab.api import wait_until
from airflow_provider_spotmix.lab.clients import ask_supervisor
from airflow_provider_spotmix.lab.errors import LabError, tail
from airflow_provider_spotmix.lab.files import Files
from airflow_provider_spotmix.lab.network import Network
from airflow_provider_spotmix.lab.progress import Step
from airflow_provider_spotmix.lab.supervision import ChildStatus

START_SECONDS = 60.0  # a few are usual; a loaded machine may take longer


class Control:
    """The components of one lab, in the order in which they were started."""

    def __init__(self, files: Files, network: Network) -> None:
        self.files, self.network = files, network

    def children(self) -> dict[str, ChildStatus]:
        """Every component and how it is."""
        return {child.name: child for child in ask_supervisor(self.network, do="status")}

    def stop(self, name: str) -> None:
        """Stop a component and wait for its end; one that does not run is left as it is.

        What has nothing to tidy up is killed at once, as in a crash.

        Raises:
            LabError: the lab has no such component.

        """
        ask_supervisor(self.network, do="stop", name=parts.find(name, self.children()))

    def start(self, name: str, step: Step) -> None:
        """Start a component that was stopped or has ended, as it was started first, and wait until it is ready.

        Raises:
            LabError: the lab has no such component, it runs already, or it does not become ready.

        """
        found = parts.find(name, self.children())
        if self.children()[found].exit_code is None:
            raise LabError(f"{found} is running", remedy=f"stop it first, or: spotmix lab restart {found}")
        ask_supervisor(self.network, do="start-again", name=found)
        self.wait_for(found, step)

    def restart(self, name: str, step: Step) -> None:
        """Stop a component and start it again."""
        self.stop(name)
        self.start(name, step)

    def revive(self, step: Step) -> None:
        """Start every component that does not run."""
        for name, child in self.children().items():
            if child.exit_code is not None:
                self.start(name, step)

    def wait_for(self, name: str, step: Step) -> None:
        """Wait until a component is ready.

        Raises:
            LabError: it has ended (with the end of its log), or does not become ready; others may be missing.

        """

        def check() -> bool:
            step.update(f"{name} to be ready")
            return health.is_ready(name, self.files, self.network)

        try:
            wait_until(f"{name} to be ready", check, seconds=START_SECONDS, check_alive=lambda: self._check_alive(name))
        except LabError as error:
            missing = [other for other, child in self.children().items() if child.exit_code is not None]
            if missing and not error.remedy:
                error.remedy = f"start what it needs: spotmix lab restart {' '.join(missing)}"
            raise

    def _check_alive(self, name: str) -> None:
        child = self.children()[name]
        if child.exit_code is not None:
            log = tail(self.files.log(name))
            raise LabError(f"{name} ended with exit code {child.exit_code}; the end of its log:\n{log}")
