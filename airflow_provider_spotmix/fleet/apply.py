"""Carry out actions in the cluster; what comes of each is again an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Inquire, Place, Remove, Rescue, Resubmit
from airflow_provider_spotmix.core.interruption import proof_of_end
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.node_events import node_reasons
from airflow_provider_spotmix.fleet.overhead import ui_address
from airflow_provider_spotmix.fleet.resubmit import resubmit
from airflow_provider_spotmix.fleet.submit import delete_applications
from airflow_provider_spotmix.fleet.voice import Voice
from airflow_provider_spotmix.kube.client import Kube, PatchType
from airflow_provider_spotmix.kube.errors import ApiError, ApiUnavailable, Conflict, KubeError, NotFound
from airflow_provider_spotmix.kube.facts import is_driver, node_facts, pod_facts, waits_for
from airflow_provider_spotmix.kube.objects import Pod
from airflow_provider_spotmix.kube.resources import NODES, PODS
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.placements import placement

# A refused placement is tried again after this many seconds: often enough to be quick, seldom enough to be harmless.
RETRY_SECONDS = 1.0
# When a node's Events are asked for: at once, and twice more while they say nothing.
INQUIRY_PAUSES = (0.0, 0.5, 1.5)


class Applier:
    """Carries out the actions of one fleet."""

    def __init__(self, kube: Kube, spec: FleetSpec, *, voice: Voice, now: Callable[[], float]) -> None:
        self._kube = kube
        self._spec = spec
        self._placement = placement(spec.placement)
        self._tell = voice
        self._now = now

    async def place(self, action: Place, pod: Pod) -> list[ev.AnyEvent]:
        """Place one executor. After a refusal, or no answer, look at the pod before trying again."""
        if not _is_gated(pod):  # a call without an answer has placed it after all, or somebody else has
            seen = executor_observed(pod, at=self._now())
            return [seen] if seen else []
        try:
            patch = self._placement.patch(pod, action, self._spec.pool(action.pool))
            await self._kube.patch(PODS, action.pod, patch, self._spec.namespace, kind=PatchType.JSON)
        except NotFound:
            return []  # the watch will say so
        except KubeError as error:
            self._tell.trouble(("place", action.uid), f"cannot place {action.pod} on {action.pool}: {error}")
            await asyncio.sleep(_delay(error))
            return [*await self._look(action), ev.PlaceFailed(at=self._now(), uid=action.uid, reason=str(error))]
        self._tell.settled(("place", action.uid))
        return [ev.PlaceDone(at=self._now(), id=f"pods/{action.pod}", uid=action.uid)]

    async def remove(self, action: Remove) -> list[ev.AnyEvent]:
        """Delete one executor, with its grace period. What has changed meanwhile is looked at, not deleted."""
        try:
            pod = await self._kube.get(PODS, action.pod, self._spec.namespace)
            version = pod.metadata.resource_version if action.unless_bound else None
            if pod.metadata.uid == action.uid and not (action.unless_bound and pod.spec.node_name):
                await self._kube.delete(
                    PODS, action.pod, self._spec.namespace, uid=action.uid, resource_version=version
                )
                self._tell.settled(("remove", action.uid))
                return []
        except NotFound:
            return []  # the watch will say so
        except KubeError as error:
            if not isinstance(error, Conflict):
                self._tell.trouble(("remove", action.uid), f"cannot remove {action.pod}: {error}")
            await asyncio.sleep(_delay(error))
        return [*await self._look(action), ev.RemoveFailed(at=self._now(), uid=action.uid)]

    async def _look(self, action: Place | Remove) -> list[ev.AnyEvent]:
        try:
            pod = await self._kube.get(PODS, action.pod, self._spec.namespace)
        except KubeError:
            return []
        seen = executor_observed(pod, at=self._now())
        return [seen] if seen and pod.metadata.uid == action.uid else []

    async def rescue(self, action: Rescue) -> list[ev.AnyEvent]:
        """Free an executor, or a driver, that a lost node still holds.

        In this order Spark sees a deleted pod, not a failed one, and charges nothing to the failure budget: delete (its
        deletionTimestamp is set), status Failed (the driver lets go of it), force-delete (the object goes).
        """
        failure: list[ev.AnyEvent] = [ev.RescueFailed(at=self._now(), id=action.cause, uid=action.uid)]
        if not await self._node_is_lost(action):
            await asyncio.sleep(RETRY_SECONDS)
            return failure
        self._tell.trouble(
            ("lost", action.uid), f"node {action.node} is lost: removing {action.pod}, so that another takes its place"
        )
        namespace = self._spec.namespace
        try:
            await self._kube.delete(PODS, action.pod, namespace, uid=action.uid)
            failed: dict[str, Any] = {
                "metadata": {"uid": action.uid},
                "status": {"phase": "Failed", "reason": "NodeLost", "message": f"node {action.node} is lost"},
            }
            await self._kube.patch(PODS, action.pod, failed, namespace, subresource="status")
            await self._kube.delete(PODS, action.pod, namespace, uid=action.uid, grace_period_seconds=0)
        except (NotFound, Conflict):
            pass  # it is gone already, or another pod has its name
        except KubeError as error:
            self._tell.trouble(
                ("rescue", action.uid), f"cannot remove {action.pod} from lost node {action.node}: {error}"
            )
            await asyncio.sleep(_delay(error))
            return failure
        return []

    async def inquire(self, action: Inquire) -> list[ev.AnyEvent]:
        """Read why a node is being deleted. Whoever deletes it writes that down first, but it may take a moment."""
        reasons: tuple[str, ...] = ()
        hidden = False
        for pause in INQUIRY_PAUSES:
            await asyncio.sleep(pause)
            try:
                reasons, hidden = await node_reasons(self._kube, self._spec.namespace, action)
            except KubeError as error:
                hidden = True
                self._tell.trouble(("node", action.node), f"cannot ask why node {action.node} goes: {error}")
            if reasons or hidden:
                break
        if hidden:
            said = "Events of nodes may not be read: why Karpenter takes a node away is not known"
            self._tell.trouble("node events", f"{said}; docs/rbac.md has the Role that permits it")
        return [ev.NodeExplained(at=self._now(), id=action.cause, node=action.node, reasons=reasons, hidden=hidden)]

    async def resubmit(self, action: Resubmit) -> list[ev.AnyEvent]:
        """Get on with a lost group's second attempt. What has to be waited for is asked again."""
        topic = ("resubmit", action.application)
        try:
            event = await resubmit(self._kube, self._spec, action, at=self._now())
        except KubeError as error:
            self._tell.trouble(topic, f"cannot submit {action.replacement} for {action.application} yet: {error}")
            await asyncio.sleep(_delay(error))
            return [ev.ResubmitFailed(at=self._now(), application=action.application)]
        if isinstance(event, ev.ResubmitFailed):
            self._tell.trouble(topic, f"{action.replacement} waits until nothing of {action.application} runs any more")
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self._tell.settled(topic)
        return [event]

    async def delete(self, names: Sequence[str]) -> None:
        """Delete applications that no longer matter.

        Raises:
            KubeError: the API server refused one of them; the others are deleted all the same.

        """
        await delete_applications(self._kube, self._spec, names)

    async def _node_is_lost(self, action: Rescue) -> bool:
        """Ask once more before removing anything: what we saw may be old. No answer is no evidence.

        A node that is not ready must not have been ready in between, so its condition must be the one that was seen.
        """
        name = action.node
        try:
            node = node_facts(await self._kube.get(NODES, name))
            is_same = not node.ready and node.ready_changed_at == action.ready_changed_at
            return is_same or bool(proof_of_end(name, node, gone=False))
        except NotFound:
            return True
        except KubeError as error:
            self._tell.trouble(("node", name), f"cannot ask about node {name}: {error}")
            return False


def executor_observed(pod: Pod, *, at: float) -> ev.ExecutorObserved | None:
    """Event of an executor pod of a fleet; None for any other pod."""
    facts = pod_facts(pod)
    if facts is None:
        return None
    return ev.ExecutorObserved(
        at=at,
        id=f"pods/{pod.metadata.name}@{pod.metadata.resource_version}",
        application=pod.metadata.labels.get(labels.APPLICATION, ""),
        submission=pod.metadata.labels.get(labels.SPARK_SUBMISSION, ""),
        pod=facts,
    )


def driver_observed(pod: Pod, *, at: float) -> ev.DriverObserved | None:
    """Event of a driver pod of a fleet; None for any other pod."""
    if not is_driver(pod):
        return None
    return ev.DriverObserved(
        at=at,
        id=f"pods/{pod.metadata.name}@{pod.metadata.resource_version}",
        application=pod.metadata.labels.get(labels.APPLICATION, ""),
        pod=pod.metadata.name,
        submission=pod.metadata.labels.get(labels.SPARK_SUBMISSION, ""),
        ui=ui_address(pod.status.pod_ip, _ports(pod)),
        started=pod.status.phase in ("Running", "Succeeded", "Failed"),
        waits_for=waits_for(pod),
        uid=pod.metadata.uid,
        node=pod.spec.node_name,
        ended=pod.status.phase in ("Succeeded", "Failed"),
    )


def _ports(pod: Pod) -> dict[str, int]:
    return {port.name: port.container_port for container in pod.spec.containers for port in container.ports}


def _is_gated(pod: Pod) -> bool:
    return any(gate.name == labels.GATE for gate in pod.spec.scheduling_gates)


def _delay(error: KubeError) -> float:
    retry_after = error.retry_after if isinstance(error, ApiError) else 0.0
    return max(retry_after, RETRY_SECONDS) if not isinstance(error, ApiUnavailable) else 2 * RETRY_SECONDS
