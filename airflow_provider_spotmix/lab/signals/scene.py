"""What all providers do, through the API objects that the real thing writes: taint, cordon, evict, tell, switch off."""

from __future__ import annotations

import datetime
import http.client
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from airflow_provider_spotmix.lab.api import JSON_PATCH, Api, ApiError, Json, wait_until
from airflow_provider_spotmix.lab.clients import NodesControl
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.progress import Step

POLL_SECONDS = 0.5
SHUTDOWN_SECONDS = 3.0  # the least that a machine takes to go after its pods have
STRATEGIC = "application/strategic-merge-patch+json"
_GONE_OR_LATER = (http.client.NOT_FOUND, http.client.CONFLICT, http.client.TOO_MANY_REQUESTS)


@dataclass(frozen=True)
class Scene:
    """What a signal acts on."""

    api: Api
    machines: NodesControl
    node: str
    lead_seconds: float
    step: Step

    @property
    def path(self) -> str:
        """Of the Node object."""
        return f"/api/v1/nodes/{self.node}"


@dataclass(frozen=True)
class Signal:
    """One way in which a node, or what runs there, is taken away.

    Attributes:
        title: for people.
        lead_seconds: what the real thing leaves between its notice and the end.
        play: does it; returns when it is over.
        outcome: what the node then is, for people.

    """

    title: str
    lead_seconds: float
    play: Callable[[Scene], None]
    outcome: str = "is gone"


def countdown(scene: Scene, what: str) -> None:
    """Let the lead time pass."""
    deadline = time.monotonic() + scene.lead_seconds
    while (left := deadline - time.monotonic()) > 0:
        scene.step.update(f"{left:.0f} s {what}")
        time.sleep(min(left, POLL_SECONDS))


# -- nodes


def taint(scene: Scene, *taints: Json) -> None:
    """Add taints; of the same key and effect, in place of what is there."""
    new = {(each["key"], each["effect"]) for each in taints}

    def edit(old: list[Any]) -> list[Any]:
        return [*(each for each in old if (each["key"], each.get("effect")) not in new), *taints]

    edit_list(scene.api, scene.path, ("spec", "taints"), edit)


def untaint(scene: Scene, key: str) -> None:
    """Remove taints of that key."""
    edit_list(scene.api, scene.path, ("spec", "taints"), lambda old: [each for each in old if each["key"] != key])


def cordon(scene: Scene) -> None:
    """As `kubectl cordon`; the node controller adds the taint."""
    scene.api.patch(scene.path, {"spec": {"unschedulable": True}})


def switch_off(scene: Scene) -> None:
    """The machine goes with everything on it, then its Node object."""
    scene.machines.kill(scene.node)
    delete_node(scene.api, scene.node)


def delete_node(api: Api, node: str, finalizer: str = "") -> None:
    """Remove the Node object, also one whose finalizer would hold it."""
    path = f"/api/v1/nodes/{node}"
    if api.find(path) is None:
        return
    if finalizer:
        edit_list(api, path, ("metadata", "finalizers"), lambda old: [each for each in old if each != finalizer])
    api.delete(path)
    wait_until(f"node {node} to be deleted", lambda: api.find(path) is None, seconds=10)


def edit_list(api: Api, path: str, where: tuple[str, str], edit: Callable[[list[Any]], list[Any]]) -> None:
    """Change a list of an object; again if somebody else (the node controller) changed the object meanwhile."""
    for _ in range(20):
        body = api.find(path)
        if body is None:
            return
        patch: list[Json] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": body["metadata"]["resourceVersion"]},
            {"op": "add", "path": f"/{where[0]}/{where[1]}", "value": edit(body[where[0]].get(where[1]) or [])},
        ]
        try:
            api.patch(path, patch, JSON_PATCH)
        except ApiError as error:
            changed = error.code in {http.client.CONFLICT, http.client.UNPROCESSABLE_ENTITY}
            if not changed and error.code != http.client.NOT_FOUND:
                raise
        else:
            return
    raise LabError(f"{path} changes too often to be edited")


def event(api: Api, thing: Json, kind: str, reason: str, message: str, *, component: str, warning: bool = True) -> None:
    """Record an Event as client-go's recorder does: of a Node in `default`, because it has no namespace."""
    metadata = thing["metadata"]
    namespace = metadata.get("namespace", "default")
    involved = {"kind": kind, "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
    if "namespace" in metadata:
        involved["namespace"] = namespace
    moment = now()
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": namespace},
        "involvedObject": involved,
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
    try:
        api.create(f"/api/v1/namespaces/{namespace}/events", body)
    except ApiError as error:
        if error.code != http.client.FORBIDDEN:  # the pod's namespace is being deleted
            raise


def now() -> str:
    """The moment as the API writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- pods


def pods_of(api: Api, node: str) -> list[Json]:
    """All pods that are bound to a node."""
    return api.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")


def pod_path(pod: Json) -> str:
    """Of the Pod object."""
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def has_ended(pod: Json) -> bool:
    """Whether its process is over."""
    return pod["status"].get("phase") in {"Succeeded", "Failed"}


def is_daemon(pod: Json) -> bool:
    """Whether a DaemonSet or the node itself runs it: it would be there again at once."""
    return any(owner["kind"] in {"DaemonSet", "Node"} for owner in pod["metadata"].get("ownerReferences") or [])


def workload(scene: Scene) -> list[Json]:
    """The pods that a drain is about."""
    return [pod for pod in pods_of(scene.api, scene.node) if not has_ended(pod) and not is_daemon(pod)]


def evict(api: Api, pod: Json) -> None:
    """Ask for an eviction. What cannot be evicted now is asked again, or leaves by itself."""
    metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": metadata,
        "deleteOptions": {"preconditions": {"uid": pod["metadata"]["uid"]}},
    }
    try:
        api.create(f"{pod_path(pod)}/eviction", body)
    except ApiError as error:
        # Gone, another pod of that name, or a disruption budget: the next round sees. A namespace that is being
        # deleted admits no eviction, and takes its pods along.
        ending = error.code == http.client.FORBIDDEN and "being terminated" in str(error)
        if error.code not in _GONE_OR_LATER and not ending:
            raise


def drain(scene: Scene, waiting: Callable[[], Iterable[Json]] | None = None) -> None:
    """Evict the pods and wait until they have left, or the lead time is over.

    Args:
        scene: what it is about.
        waiting: evicts once more and returns who has not left yet; by default as `kubectl drain` does.

    """
    deadline = time.monotonic() + scene.lead_seconds

    def all_at_once() -> Iterable[Json]:
        left = workload(scene)
        for pod in left:
            if not pod["metadata"].get("deletionTimestamp"):
                evict(scene.api, pod)
        return left

    while time.monotonic() < deadline:
        left = list((waiting or all_at_once)())
        if not left:
            break
        seconds = f"{deadline - time.monotonic():.0f} s left"
        scene.step.update(f"{len(left)} {'pod' if len(left) == 1 else 'pods'} leaving, {seconds}")
        time.sleep(POLL_SECONDS)
    # A drained machine takes seconds to go: time for its kubelet to remove the objects of the pods that have ended.
    gone = min(deadline, time.monotonic() + SHUTDOWN_SECONDS)
    while time.monotonic() < gone and any(
        pod["metadata"].get("deletionTimestamp") for pod in pods_of(scene.api, scene.node)
    ):
        time.sleep(0.1)


def disrupt(api: Api, pod: Json, reason: str, message: str) -> None:
    """Write the condition that tells why a pod is about to go."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": now(),  # without one the disruption controller takes it for stale
    }
    change_status(api, pod, {"conditions": [condition]})


def change_status(api: Api, pod: Json, status: Json) -> None:
    """Write some of a pod's status; one that is gone is fine."""
    try:
        api.patch(f"{pod_path(pod)}/status", {"status": status}, STRATEGIC)
    except ApiError as error:
        if error.code not in _GONE_OR_LATER:
            raise


def fail(api: Api, pod: Json, reason: str, message: str, *, exit_code: int = 137, exit_reason: str = "Error") -> None:
    """A pod fails as its kubelet writes it: the phase, why, and how each container ended."""
    ended = {"exitCode": exit_code, "reason": exit_reason, "startedAt": now(), "finishedAt": now()}
    containers = pod["status"].get("containerStatuses") or []
    statuses = [{**each, "ready": False, "started": False, "state": {"terminated": ended}} for each in containers]
    said = {"reason": reason, "message": message} if reason else {}
    change_status(api, pod, {"phase": "Failed", **said, "containerStatuses": statuses})
