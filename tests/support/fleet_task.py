"""A task with a SparkFleetOperator on a real API server, with Spark played and Airflow's processes left out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from airflow.sdk import DAG

from airflow_provider_spotmix.backends.kubeflow import Kubeflow
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.operators.spark_fleet import SparkFleetOperator
from tests.fleet.test_plan import application
from tests.support.played_spark import PlayedSpark
from tests.support.running_task import running

T = TypeVar("T")


class FleetTask:
    """One try of a task. What it submits is suspended, so that a real operator leaves it alone."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        *,
        dag_id: str = "etl",
        task_id: str = "daily",
        ti: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        self.cluster = ClusterConfig(config_file=str(kubeconfig))
        self.namespace = namespace
        self._arguments = arguments
        self._names = dag_id, task_id
        self.operator = self.new_operator()
        self.ti, self.context = running(self.operator, **(ti or {}))

    def new_operator(self) -> SparkFleetOperator:
        """The operator as the next process has it, which knows nothing of what the first did."""
        manifest = application()
        manifest["spec"] |= {
            "suspend": True,
            "type": "Python",
            "mode": "cluster",
            "sparkVersion": "4.0.4",
            "mainApplicationFile": "local:///opt/app/none.py",
        }
        dag_id, task_id = self._names
        with DAG(dag_id, schedule=None):
            return SparkFleetOperator(
                task_id=task_id, template_spec=manifest, namespace=self.namespace, ratio="40:60", **self._arguments
            )

    def plan(self) -> FleetPlan:
        """What this try submits."""
        return self.new_operator()._plan(self.context, lambda *_: None)

    def on_cluster(self, work: Callable[[Kube], Coroutine[Any, Any, T]]) -> T:
        """Do something in the cluster, from code that is not asynchronous."""

        async def connected() -> T:
            kube = await self.cluster.connect()
            try:
                return await work(kube)
            finally:
                await kube.close()

        return asyncio.run(connected())

    def applications(self) -> list[str]:
        """Names of the applications in the namespace."""

        async def names(kube: Kube) -> list[str]:
            return [found.metadata.name for found in (await kube.list(Kubeflow.resource, self.namespace)).items]

        return self.on_cluster(names)

    def play(self, state: str, message: str = "") -> None:
        """Play the operator that reports this state."""

        async def report(kube: Kube) -> None:
            await PlayedSpark(kube, self.plan().applications[0], executors=5).state(state, message)

        self.on_cluster(report)

    @contextmanager
    def meanwhile(self, act: Callable[[], None]) -> Any:
        """Do something in another thread, once the application is there."""

        def when_submitted() -> None:
            deadline = time.monotonic() + 30
            while not self.applications():
                assert time.monotonic() < deadline, "never submitted"
                time.sleep(0.05)
            act()

        thread = threading.Thread(target=when_submitted)
        thread.start()
        try:
            yield
        finally:
            thread.join()
