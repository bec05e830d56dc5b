"""A schedule whose Spark is real: the lab's operator, nodes whose pods are processes, and a job that checks itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import NAMESPACES
from airflow_provider_spotmix.lab.errors import LabError
from tests.chaos import actors
from tests.chaos.audit import Line
from tests.chaos.fleet import planned_for_real
from tests.chaos.play import Run

ROLE, SUBMISSION = "spark-role", "spark-app-selector"


class RealRun(Run):
    """One at a time: the nodes are the lab's."""

    async def build(self) -> FleetPlan:
        await asyncio.to_thread(self.theatre.lab.create_namespace, self.stage)
        self.theatre.tail.take()  # what has been of the nodes until now
        return planned_for_real(self.schedule.setup, self.stage, self.canaries)

    def perform(self) -> None:
        """The operator has seen the application by itself."""

    @property
    def is_whole(self) -> bool:
        live = [pod for pod in self.executors() if pod.metadata.deletion_timestamp is None]
        running = [pod for pod in live if pod.status.phase == "Running"]
        return len(running) == len(live) == self.schedule.setup.executors

    def executors(self) -> list[Pod]:
        drivers = [pod for pod in self.pods.values() if pod.metadata.labels.get(ROLE) == "driver"]
        current = {pod.metadata.labels[SUBMISSION] for pod in drivers}
        executors = [pod for pod in self.pods.values() if pod.metadata.labels.get(ROLE) == "executor"]
        return [pod for pod in executors if pod.metadata.labels[SUBMISSION] in current]

    async def end(self) -> None:
        """The job ends when it is done."""

    def victims(self) -> list[str]:
        drivers = {pod.spec.node_name for pod in self.pods.values() if pod.metadata.labels.get(ROLE) == "driver"}
        used = {pod.spec.node_name for pod in self.executors()} - drivers - {""}
        alive = self.theatre.lab.nodes.alive()
        return sorted(node for node in used if alive.get(node))

    def is_dead(self, node: str) -> bool:
        nodes = self.theatre.lab.nodes
        return node in nodes.cuts() or not nodes.alive().get(node, True)

    def machinery(self) -> Any:
        return self.theatre.lab.nodes

    def lines(self) -> list[Line]:
        return super().lines() + self.theatre.tail.take()

    async def tear_down(self) -> None:
        """Every node as it was, for the next schedule."""
        with suppress(KubeError):
            await self.theatre.clients[actors.STAGE].delete(NAMESPACES, self.stage)
        for node in self.theatre.lab.nodes.alive():
            with suppress(LabError):  # nothing has happened to it
                await asyncio.to_thread(self.theatre.lab.restore, node)
