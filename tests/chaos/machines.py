"""Played nodes: Node objects with a kubelet's manners. They take pods from the real scheduler, run and end them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow_provider_spotmix.kube.client import Kube, PatchType
from airflow_provider_spotmix.kube.errors import AlreadyExists, Conflict, Forbidden, KubeError, NotFound
from airflow_provider_spotmix.kube.objects import Pod, Raw, Timestamp
from airflow_provider_spotmix.kube.resources import LEASES, NODES, PODS, Resource

# The lab takes a node for lost whose Lease was not renewed for 8 s.
HEARTBEAT_SECONDS = 3.0
START_SECONDS, STOP_SECONDS = 0.2, 0.3
LEASE_NAMESPACE = "kube-node-lease"
# Which schedule's pods a node is for: nodes are shared by a whole cluster, schedules must not meet.
STAGE_LABEL = "chaos/stage"
SAFE_LABEL = "chaos/safe"
ZONE = "topology.kubernetes.io/zone"
VOLUMES: Resource[Raw] = Resource("", "v1", "persistentvolumes", "PersistentVolume", Raw, namespaced=False)
CLAIMS: Resource[Raw] = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", Raw)


def stamp() -> str:
    """Now, as Kubernetes writes it: whole seconds."""
    return f"{Timestamp(time.time()).rfc3339_micro()[:19]}Z"


@dataclass
class Machine:
    """One node. ``safe``: nothing happens to it, so the driver lives there."""

    name: str
    pool: str
    safe: bool = False
    alive: bool = True
    registered: bool = True


class Machines:
    """The nodes of one schedule."""

    def __init__(self, kubelet: Kube, stage: str, namespace: str) -> None:
        self._kubelet = kubelet
        self._stage = stage
        self._namespace = namespace
        self._busy: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._volumes: list[str] = []
        self.all: dict[str, Machine] = {}

    async def add(self, pool: str, number: int, *, safe: bool = False) -> None:
        """Register a node."""
        machine = Machine(f"{self._stage}-{pool}-{number}", pool, safe)
        marks = {STAGE_LABEL: self._stage, "karpenter.sh/capacity-type": pool, "kubernetes.io/hostname": machine.name}
        if safe:
            marks[SAFE_LABEL] = "yes"
        zone = {ZONE: f"{self._stage}-{pool}"}
        capacity = {"cpu": "64", "memory": "256Gi", "pods": "110"}
        now = stamp()
        ready = {"type": "Ready", "status": "True", "reason": "Played", "message": "", "lastHeartbeatTime": now}
        status = {"capacity": capacity, "allocatable": capacity, "conditions": [{**ready, "lastTransitionTime": now}]}
        taints = [{"key": "karpenter.sh/capacity-type", "value": "spot", "effect": "NoSchedule"}]
        body = {
            "metadata": {"name": machine.name, "labels": marks | zone},
            "spec": {"taints": taints} if pool == "spot" else {},
            "status": status,
        }
        self.all[machine.name] = machine
        await self._beat(machine)
        await self._kubelet.create(NODES, body)

    async def add_volume(self, kube: Kube, claim: str) -> None:
        """A volume in the zone of the on-demand nodes, bound to a claim of that name."""
        terms = [{"matchExpressions": [{"key": ZONE, "operator": "In", "values": [f"{self._stage}-on-demand"]}]}]
        size: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        volume = {
            **size,
            "capacity": {"storage": "1Gi"},
            "csi": {"driver": "played", "volumeHandle": self._stage},
            "claimRef": {"namespace": self._namespace, "name": claim},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        }
        wanted = {**size, "volumeName": self._stage, "resources": {"requests": {"storage": "1Gi"}}}
        await kube.create(VOLUMES, {"metadata": {"name": self._stage}, "spec": volume})
        await kube.create(CLAIMS, {"metadata": {"name": claim}, "spec": wanted}, self._namespace)
        self._volumes.append(self._stage)

    def kill(self, name: str) -> None:
        """The machine is gone from one moment to the next."""
        self.all[name].alive = self.all[name].registered = False

    async def remove_all(self) -> None:
        """Take the Node objects away; nothing of them may cost the next schedules anything."""
        for machine in self.all.values():
            machine.alive = False
            with suppress(KubeError):
                await self._kubelet.delete(NODES, machine.name)
            with suppress(KubeError):
                await self._kubelet.delete(LEASES, machine.name, LEASE_NAMESPACE)
        for volume in self._volumes:
            with suppress(KubeError):
                await self._kubelet.delete(VOLUMES, volume)
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def keep_beating(self) -> None:
        """Renew the Leases of those that live."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for machine in self.all.values():
                if machine.alive and machine.registered:
                    with suppress(KubeError):
                        await self._beat(machine)

    async def say_ready(self) -> None:
        """After an outage in which nobody could hear the beats."""
        ready = {"type": "Ready", "status": "True", "reason": "Played", "message": ""}
        ready |= {"lastHeartbeatTime": stamp(), "lastTransitionTime": stamp()}
        for machine in self.all.values():
            if machine.alive and machine.registered:
                await self._beat(machine)
                status = {"status": {"conditions": [ready]}}
                kind, name = PatchType.STRATEGIC, machine.name
                with suppress(NotFound):
                    await self._kubelet.patch(NODES, name, status, kind=kind, subresource="status")

    async def _beat(self, machine: Machine) -> None:
        spec = {"holderIdentity": machine.name, "leaseDurationSeconds": 40}
        spec |= {"renewTime": Timestamp(time.time()).rfc3339_micro()}
        try:
            await self._kubelet.patch(LEASES, machine.name, {"spec": spec}, LEASE_NAMESPACE)
        except NotFound:
            with suppress(AlreadyExists):
                body = {"metadata": {"name": machine.name}, "spec": spec}
                await self._kubelet.create(LEASES, body, LEASE_NAMESPACE)

    # -- what a kubelet does

    def see(self, pod: Pod) -> None:
        """A pod is there, or has changed."""
        machine = self.all.get(pod.spec.node_name)
        if machine is None or not machine.alive:
            return
        if pod.metadata.deletion_timestamp is not None:
            self._once(pod, "stop", self._stop(machine, pod))
        elif pod.status.phase == "Pending":
            self._once(pod, "start", self._start(machine, pod))

    def _once(self, pod: Pod, what: str, work: Coroutine[Any, Any, None]) -> None:
        key = pod.metadata.uid, what
        if key in self._busy:
            work.close()
        else:
            self._busy[key] = asyncio.create_task(work)

    async def _start(self, machine: Machine, pod: Pod) -> None:
        await asyncio.sleep(START_SECONDS)
        now = stamp()
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
        running = {"running": {"startedAt": now}}
        status = {"phase": "Running", "startTime": now, "conditions": [ready]}
        if machine.alive:
            await self._report(pod, status, running)

    async def _stop(self, machine: Machine, pod: Pod) -> None:
        await asyncio.sleep(STOP_SECONDS)
        if not machine.alive:
            return
        if pod.status.phase == "Running":
            await self.end(pod, phase="Failed", code=143)
        with suppress(NotFound, Conflict, Forbidden):
            await self._kubelet.delete(
                PODS, pod.metadata.name, self._namespace, grace_period_seconds=0, uid=pod.metadata.uid
            )

    async def end(self, pod: Pod, *, phase: str, code: int, word: str = "Error", reason: str = "") -> None:
        """Report the end of a pod's process."""
        ended = {"terminated": {"exitCode": code, "reason": word, "startedAt": stamp(), "finishedAt": stamp()}}
        unready = {"type": "Ready", "status": "False", "lastTransitionTime": stamp()}
        await self._report(pod, {"phase": phase, "reason": reason, "conditions": [unready]}, ended)

    async def _report(self, pod: Pod, status: dict[str, Any], state: dict[str, Any]) -> None:
        role = pod.metadata.labels.get("spark-role", "")
        container = {"name": f"spark-kubernetes-{role}", "image": "played", "imageID": "", "restartCount": 0}
        container |= {"ready": "running" in state, "started": "running" in state, "state": state}
        body = {"metadata": {"uid": pod.metadata.uid}, "status": {**status, "containerStatuses": [container]}}
        with suppress(NotFound, Conflict, Forbidden):
            await self._kubelet.patch(
                PODS, pod.metadata.name, body, self._namespace, kind=PatchType.STRATEGIC, subresource="status"
            )

    async def shut_down(self, machine: Machine, pods: list[Pod]) -> None:
        """A graceful node shutdown: the kubelet ends its pods, and says so; then the machine goes."""
        machine.alive = False
        for pod in pods:
            await self.end(pod, phase="Failed", code=143, reason="Terminated")
