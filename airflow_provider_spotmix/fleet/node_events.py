"""Read the Events that tell why a node is being deleted."""

from __future__ import annotations

from airflow_provider_spotmix.core.actions import Inquire
from airflow_provider_spotmix.core.interruption import KNOWN_EVENTS
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import Forbidden
from airflow_provider_spotmix.kube.objects import CoreEvent
from airflow_provider_spotmix.kube.resources import EVENTS

# Where the Events of objects without a namespace are.
NODES_NAMESPACE = "default"


async def node_reasons(kube: Kube, namespace: str, action: Inquire) -> tuple[tuple[str, ...], bool]:
    """Reasons of the Events of a node and of our pods on it; and whether those of the node may not be read.

    Newer versions of Karpenter tell the pods too, in their own namespace.

    Raises:
        KubeError: no answer.

    """
    found: list[CoreEvent] = []
    hidden = False
    of_node = f"involvedObject.kind=Node,involvedObject.name={action.node}"
    try:
        events = (await kube.list(EVENTS, NODES_NAMESPACE, field_selector=of_node)).items
        found += [event for event in events if event.involved_object.uid in ("", action.node, action.node_uid)]
    except Forbidden:
        hidden = True
    try:
        events = (await kube.list(EVENTS, namespace, field_selector="reason=SpotInterrupted")).items
        found += [event for event in events if event.involved_object.name in (action.node, *action.pods)]
    except Forbidden:
        pass
    reasons = tuple(sorted({event.reason for event in found} & KNOWN_EVENTS))
    return reasons, hidden and not reasons
