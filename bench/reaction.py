"""How soon the replacement of a lost executor is placed, and how soon it runs.

A fleet with Spark played loses one executor after the other on a real API server. Measured is the time from what has
to be known for a placement, which is the loss and the replacement's gated pod, both as they come from the watch, to the
API server's answer to the placement's patch. Beside it stands the API server's own time: the same patch of a pod that
nobody has to think about, after each of ours. With it: from the loss to the replacement that runs, and the same after
the death of a node, from the moment at which the loss is certain.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from statistics import median, quantiles
from typing import Any

from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.fleet.hub import Hub
from airflow_provider_spotmix.kube.client import Kube, PatchType, WatchEvent
from airflow_provider_spotmix.kube.config import ClusterConfig
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import NODES, PODS
from airflow_provider_spotmix.lab.config import LabConfig
from airflow_provider_spotmix.lab.lab import Lab
from airflow_provider_spotmix.lab.progress import for_person
from bench import harness
from tests.fleet.scene import Scene, controlled, staged
from tests.fleet.test_plan import application

RATIO = 2.0  # of the 99th percentiles
CERTAIN_SECONDS = 1.0  # how long a node is not ready until it is taken for lost
RUNNING_SECONDS = 5.0  # until the replacement runs, from then on
GATE = "spotmix.io/placement"


class Log:
    """When what was received and answered, by the performance counter."""

    def __init__(self) -> None:
        self.gated: dict[str, float] = {}  # by the pod's name
        self.going: dict[str, float] = {}
        self.running: dict[str, float] = {}
        self.placed: dict[str, float] = {}
        self.unready: dict[str, float] = {}  # by the node's name

    def see(self, thing: Any) -> None:
        """Something came from a watch."""
        now, name = time.perf_counter(), thing.metadata.name
        if not isinstance(thing, Pod):
            conditions = getattr(thing.status, "conditions", ())
            if any(each.type == "Ready" and each.status != "True" for each in conditions):
                self.unready.setdefault(name, now)
        elif thing.metadata.deletion_timestamp is not None:
            self.going.setdefault(name, now)
        elif any(gate.name == GATE for gate in thing.spec.scheduling_gates):
            self.gated.setdefault(name, now)
        elif thing.status.phase == "Running":
            self.running.setdefault(name, now)


class Watched:
    """A client that notes when what comes and goes."""

    def __init__(self, kube: Kube, log: Log) -> None:
        self.kube, self.log = kube, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kube, name)

    @asynccontextmanager
    async def watch(self, resource: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[AsyncIterator[WatchEvent[Any]]]:
        async with self.kube.watch(resource, *args, **kwargs) as events:
            yield self._noted(events) if resource in (PODS, NODES) else events

    async def _noted(self, events: AsyncIterator[WatchEvent[Any]]) -> AsyncIterator[WatchEvent[Any]]:
        async for event in events:
            self.log.see(event.object)
            yield event

    async def patch(self, resource: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        done = await self.kube.patch(resource, name, *args, **kwargs)
        if resource is PODS and kwargs.get("kind") is PatchType.JSON:
            self.log.placed.setdefault(name, time.perf_counter())
        return done


class WatchedCluster:
    """The cluster as the hub sees it."""

    def __init__(self, config: ClusterConfig, log: Log) -> None:
        self.config, self.log = config, log

    def identity(self) -> str:
        return self.config.identity()

    async def connect(self) -> Any:
        return Watched(await self.config.connect(), self.log)


async def measured(lab: Lab, rounds: int, deaths: int) -> dict[str, list[float]]:
    """All samples, in seconds."""
    log, hub = Log(), Hub()
    found: dict[str, list[float]] = {key: [] for key in ("reaction", "patch", "running", "death")}
    policy = Policy(node_lost_after_seconds=CERTAIN_SECONDS, breaker_losses=0)
    async with staged(lab, application(), policy=policy) as scene:
        await scene.spark.state("RUNNING")
        async with controlled(scene, hub=hub, cluster=WatchedCluster(scene.cluster, log)):
            await scene.spark.request_missing()
            await scene.running()
            for number in range(rounds):
                lost = (await scene.spark.pods())[0].metadata.name
                name = await _replaced(scene, log, lost)
                known = max(log.going[lost], log.gated[name])
                found["reaction"].append(log.placed[name] - known)
                found["running"].append(log.running[name] - log.going[lost])
                found["patch"].append(await _own_patch(scene, f"peer-{number}"))
            for _ in range(deaths):
                found["death"].append(await _death(lab, scene, log))
        await hub.close()
    return found


async def _replaced(scene: Scene, log: Log, lost: str) -> str:
    """Take an executor away, and be the driver until another one runs in its place."""
    await scene.spark.evict(lost)
    name = ""
    async with asyncio.timeout(60):
        while name not in log.running or lost not in log.going:
            for asked in await scene.spark.request_missing():
                name = asked
            await asyncio.sleep(0.01)
    return name


async def _own_patch(scene: Scene, name: str) -> float:
    """How long the API server takes to place a pod that is no fleet's."""
    container = {"name": "c", "image": "lab/host", "command": ["true"]}
    spec = {"containers": [container], "schedulingGates": [{"name": GATE}]}
    await scene.kube.create(PODS, {"metadata": {"name": name}, "spec": spec}, _where(scene))
    marks = {"spotmix.io/seat": "1", "spotmix.io/seat-pool": "spot", "spotmix.io/placed-pool": "on-demand"}
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/spec/schedulingGates/0/name", "value": GATE},
        {"op": "remove", "path": "/spec/schedulingGates/0"},
        {"op": "add", "path": "/spec/nodeSelector", "value": {"karpenter.sh/capacity-type": "on-demand"}},
        {"op": "add", "path": "/metadata/labels", "value": marks},
        {"op": "add", "path": "/metadata/annotations", "value": {"spotmix.io/placement-reason": "seat of the mix"}},
    ]
    begun = time.perf_counter()
    await scene.kube.patch(PODS, name, patch, _where(scene), kind=PatchType.JSON)
    seconds = time.perf_counter() - begun
    await scene.kube.delete(PODS, name, _where(scene), grace_period_seconds=0)
    return seconds


async def _death(lab: Lab, scene: Scene, log: Log) -> float:
    """Kill the node of an executor; from when that is certain to the last replacement that runs."""
    pods = await scene.spark.pods()
    node = pods[0].spec.node_name
    lost = [pod.metadata.name for pod in pods if pod.spec.node_name == node]
    log.unready.pop(node, None)
    await asyncio.to_thread(lab.nodes.kill, node)
    names: list[str] = []
    async with asyncio.timeout(120):
        while len(names) < len(lost) or any(name not in log.running for name in names):
            names += await scene.spark.request_missing()
            await asyncio.sleep(0.02)
    seconds = max(log.running[name] for name in names) - log.unready[node] - CERTAIN_SECONDS
    await asyncio.to_thread(lab.restore, node)
    return seconds


def _where(scene: Scene) -> str:
    return scene.spark.namespace


def _p99(samples: list[float]) -> float:
    return quantiles(samples, n=100, method="inclusive")[98]


def main() -> int:
    """Measure, tell, and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="executors to lose")
    parser.add_argument("--deaths", type=int, default=3, help="nodes to kill")
    arguments = parser.parse_args()
    with Lab.ephemeral(LabConfig(), for_person()) as lab:
        found = asyncio.run(measured(lab, arguments.rounds, arguments.deaths))
    ours, theirs = ([1000 * value for value in found[key]] for key in ("reaction", "patch"))
    peer = _p99(theirs)
    measures = [
        harness.Measure(name="reaction p99", unit="ms", ours=_p99(ours), peer=peer, limit=RATIO * peer),
        harness.Measure(name="reaction p50", unit="ms", ours=median(ours), peer=median(theirs), limit=RATIO * peer),
        harness.Measure(name="loss to running p99", unit="s", ours=_p99(found["running"]), limit=RUNNING_SECONDS),
        harness.Measure(name="dead node to running", unit="s", ours=max(found["death"]), limit=RUNNING_SECONDS),
    ]
    return harness.finish("reaction", measures, runs=arguments.rounds)


if __name__ == "__main__":
    sys.exit(main())
