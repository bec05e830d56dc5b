"""Why a driver failed, or never ran: what its pod says, and the Events of it and of its application."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import KubeError
from airflow_provider_spotmix.kube.facts import waits_for
from airflow_provider_spotmix.kube.objects import CoreEvent, Pod
from airflow_provider_spotmix.kube.resources import EVENTS, PODS

# Of each object, the last ones.
MAX_EVENTS = 20
_MAX_MESSAGE = 500


async def why_drivers_failed(kube: Kube, spec: FleetSpec) -> str:
    """What the drivers' pods say of their end, or of what they wait for; empty when they say nothing or are gone."""
    said = []
    for application in spec.applications:
        try:
            found = await kube.get(backend(spec.backend).resource, application.name, spec.namespace)
            pod = await kube.get(PODS, backend(spec.backend).status(found).driver_pod, spec.namespace)
        except KubeError:  # gone, or not to be had: the application's own message is what there is
            continue
        if why := why_failed(pod):
            said.append(f"driver {pod.metadata.name}: {why}")
    return "; ".join(said)


def why_failed(pod: Pod) -> str:
    """What a pod says of its end, or of what it waits for; empty when it has succeeded, runs, or says nothing."""
    if pod.status.phase in ("Succeeded", "Running"):
        return ""
    said = [": ".join(part for part in (pod.status.reason, pod.status.message) if part)]
    for status in pod.status.container_statuses:
        ended = status.state.terminated
        if ended is None or ended.exit_code == 0:
            continue
        how = f"container {status.name} ended with exit code {ended.exit_code}"
        how += f", signal {ended.signal}" if ended.signal else ""
        how += f" ({ended.reason})" if ended.reason else ""
        said.append(f"{how}: {ended.message.strip()}" if ended.message.strip() else how)
    said.append(waits_for(pod) if pod.status.phase == "Pending" else "")
    return "; ".join(part[:_MAX_MESSAGE] for part in said if part)


async def tell_events(kube: Kube, spec: FleetSpec, *, tell: Callable[[str, bool], None]) -> None:
    """Tell the last Events of each application and its driver's pod. Where they may not be read, that is told."""
    for application in spec.applications:
        try:
            found = await kube.get(backend(spec.backend).resource, application.name, spec.namespace)
            for name in (application.name, backend(spec.backend).status(found).driver_pod):
                listed = await kube.list(EVENTS, spec.namespace, field_selector=f"involvedObject.name={name}")
                events = [each for each in listed.items if each.involved_object.name == name]
                for event in sorted(events, key=lambda each: each.seen_at)[-MAX_EVENTS:]:
                    tell(f"[{name}] {_line(event)}", event.type == "Warning")
        except KubeError as error:
            tell(f"no events of {application.name}: {error}", False)


def _line(event: CoreEvent) -> str:
    again = f" ({event.count} times)" if event.count > 1 else ""
    return f"{event.type} {event.reason}{again}: {event.message[:_MAX_MESSAGE]}"
