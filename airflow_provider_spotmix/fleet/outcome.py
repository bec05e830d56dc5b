"""How an application ended whose object is gone: from what the cluster still says of it.

The operator deletes an application by itself once its ``timeToLiveSeconds`` are over, be it that nobody was connected
meanwhile. Kubernetes keeps Events for an hour by default, and a driver's pod until garbage collection has come to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import ApiError, KubeError
from airflow_provider_spotmix.kube.objects import CoreEvent, Pod
from airflow_provider_spotmix.kube.resources import EVENTS, PODS, Resource
from airflow_provider_spotmix.kube.retry import harmless_to_repeat
from airflow_provider_spotmix.manifests import labels


class Outcome(Struct, frozen=True, kw_only=True):
    """How it ended, when, and what says so; ``phase`` is None when nothing says how."""

    phase: ApplicationPhase | None = None
    at: float = 0.0
    evidence: str = ""


async def outcome(
    kube: Kube,
    resource: Resource[Any],
    name: str,
    namespace: str,
    *,
    uid: str,
    driver_pod: str,
    endings: Mapping[str, ApplicationPhase],
) -> Outcome:
    """Find out how an application ended.

    Args:
        kube: the cluster.
        resource: the application's kind.
        name: its name.
        namespace: its namespace.
        uid: of its object; empty when that was never seen.
        driver_pod: name of its driver's pod.
        endings: what it means when an Event of such a reason is the last one that is about an end or a start.

    Raises:
        KubeError: the API server is away, so that waiting helps.

    """
    try:
        pod = await kube.get(PODS, driver_pod, namespace)
    except KubeError as error:
        _unless_for_good(error)
    else:
        if pod.metadata.labels.get(labels.APPLICATION) == name and (phase := _of_driver(pod)):
            return Outcome(phase=phase, evidence=f"its driver pod {driver_pod} is {pod.status.phase}")
    try:
        found = (await kube.list(EVENTS, namespace, field_selector=f"involvedObject.name={name}")).items
    except KubeError as error:
        _unless_for_good(error)
        return Outcome(evidence=f"events may not be read: {error}")
    about = [
        event
        for event in found
        if event.involved_object.kind == resource.kind
        and event.involved_object.name == name
        and (not uid or event.involved_object.uid == uid)
    ]
    return read_events(about, endings)


def read_events(events: Sequence[CoreEvent], endings: Mapping[str, ApplicationPhase]) -> Outcome:
    """Read the end from an application's Events. One that has been started again since was no end."""
    ends = [event for event in events if event.reason in endings]
    if not ends:
        return Outcome(evidence="no Event tells of its end")
    last = max(ends, key=lambda event: event.seen_at)
    # Times are whole seconds: what happened in the same one was before.
    if any(event.seen_at > last.seen_at and _is_start(event) for event in events):
        return Outcome(evidence=f"it was started again after Event {last.reason}")
    said = f"Event {last.reason}: {last.message}" if last.message else f"Event {last.reason}"
    return Outcome(phase=endings[last.reason], at=last.seen_at, evidence=said)


def _of_driver(pod: Pod) -> ApplicationPhase | None:
    """How a driver has ended by itself: one that is being deleted may have ended because of that."""
    if pod.status.phase not in ("Succeeded", "Failed"):
        return None
    statuses = (status for status in pod.status.container_statuses if status.name == labels.DRIVER_CONTAINER)
    ended = next((status.state.terminated for status in statuses), None)
    if pod.metadata.deletion_timestamp is not None:
        asked_at = pod.metadata.deletion_timestamp - (pod.metadata.deletion_grace_period_seconds or 0)
        if ended is None or ended.finished_at is None or ended.finished_at > asked_at:
            return None
    # With a sidecar that fails, the pod is Failed whatever its driver came to; the operator goes by the driver.
    has_succeeded = pod.status.phase == "Succeeded" or (ended is not None and ended.exit_code == 0)
    return ApplicationPhase.SUCCEEDED if has_succeeded else ApplicationPhase.FAILED


def _is_start(event: CoreEvent) -> bool:
    return event.reason.endswith(("Submitted", "Rerun", "DriverPending", "DriverRunning"))


def _unless_for_good(error: KubeError) -> None:
    """What is refused for good tells nothing; an API server that is away may tell later."""
    if harmless_to_repeat(error, repeatable=True) or not isinstance(error, ApiError):
        raise error
