"""A schedule whose nodes and Spark are played, so that hundreds fit beside each other on one machine."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.kube.errors import KubeError, NotFound
from airflow_provider_spotmix.kube.objects import Pod, Raw
from airflow_provider_spotmix.kube.resources import NAMESPACES, Resource
from tests.chaos import actors
from tests.chaos.fleet import CLAIM, planned
from tests.chaos.machines import Machines
from tests.chaos.play import Run
from tests.chaos.schedule import Schedule
from tests.chaos.spark import Spark
from tests.chaos.theatre import Theatre
from tests.chaos.wire import Wire

SERVICE_ACCOUNTS: Resource[Raw] = Resource("", "v1", "serviceaccounts", "ServiceAccount", Raw)


class PlayedRun(Run):
    """Played nodes and a played Spark."""

    def __init__(self, theatre: Theatre, schedule: Schedule, line: Wire) -> None:
        super().__init__(theatre, schedule, line)
        self.machines = Machines(theatre.clients[actors.KUBELET], self.stage, self.stage)
        self.spark: Spark

    async def build(self) -> FleetPlan:
        kube = self.theatre.clients[actors.STAGE]
        await kube.create(NAMESPACES, {"metadata": {"name": self.stage}})
        for number in range(2):
            await self.machines.add("spot", number)
            await self.machines.add("on-demand", number)
        await self.machines.add("on-demand", 2, safe=True)
        await _until_there(kube, SERVICE_ACCOUNTS, "default", self.stage)
        self.spawn(self.machines.keep_beating())
        if self.schedule.setup.volume:
            await self.machines.add_volume(kube, CLAIM)
        plan = planned(self.schedule.setup, self.stage, self.canaries)
        setup = self.schedule.setup
        self.spark = Spark(
            self.theatre.clients[actors.OPERATOR],
            self.theatre.clients[actors.DRIVER],
            plan.applications[0],
            lambda: list(self.pods.values()),
            executors=setup.executors,
            batch=setup.spark_batch,
        )
        return plan

    def perform(self) -> None:
        self.spawn(self.spark.submit(after_seconds=self.schedule.setup.operator_late_seconds))
        self.spawn(self.spark.run(lambda node: not self.is_dead(node)))

    @property
    def is_whole(self) -> bool:
        return bool(self.spark.submission) and self.spark.has_all

    def executors(self) -> list[Pod]:
        return self.spark.executors()

    async def end(self) -> None:
        await self.spark.end("COMPLETED")

    def victims(self) -> list[str]:
        return [machine.name for machine in self.machines.all.values() if machine.alive and not machine.safe]

    def is_dead(self, node: str) -> bool:
        machine = self.machines.all.get(node)
        return machine is not None and not machine.alive

    def machinery(self) -> Any:
        return self.machines

    def see(self, pod: Pod) -> None:
        self.machines.see(pod)

    async def recover(self) -> None:
        await self.machines.say_ready()

    async def tear_down(self) -> None:
        await self.machines.remove_all()
        with suppress(KubeError):
            await self.theatre.clients[actors.STAGE].delete(NAMESPACES, self.stage)


async def _until_there(kube: Any, resource: Resource[Any], name: str, namespace: str) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(NotFound):
                await kube.get(resource, name, namespace)
                return
            await asyncio.sleep(0.05)
