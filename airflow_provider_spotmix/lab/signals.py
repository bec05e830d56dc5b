"""Play the provider: take a node away with the same signals, through the same API objects, as the real thing.

A table: a provider more is a row and a function more.
"""

from __future__ import annotations

import datetime
import http.client
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from airflow_provider_spotmix.lab import cluster
from airflow_provider_spotmix.lab.api import JSON_PATCH, Api, ApiError, Json, wait_until
from airflow_provider_spotmix.lab.clients import NodesControl
from airflow_provider_spotmix.lab.errors import LabError
from airflow_provider_spotmix.lab.progress import Progress, Step

# Karpenter v1: https://karpenter.sh/docs/concepts/disruption/ and its sources: karpenter-provider-aws
# pkg/controllers/interruption (events), karpenter pkg/controllers/node/termination (taint, label, eviction).
DISRUPTED = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
FINALIZER = "karpenter.sh/termination"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
_EXCLUDE_BALANCERS = "node.kubernetes.io/exclude-from-external-load-balancers"
_CRITICAL = ("system-cluster-critical", "system-node-critical")

POLL_SECONDS = 0.5
SHUTDOWN_SECONDS = 3.0  # the least that a machine takes to go after its pods have


@dataclass(frozen=True)
class Scene:
    """What a signal acts on."""

    api: Api
    machines: NodesControl
    node: str
    lead_seconds: float
    step: Step


@dataclass(frozen=True)
class Signal:
    """One way in which a node is taken away.

    Attributes:
        title: for people.
        lead_seconds: what the real thing leaves between its notice and the end.
        play: does it; returns when the node is gone.
        outcome: what the node then is, for people.

    """

    title: str
    lead_seconds: float
    play: Callable[[Scene], None]
    outcome: str = "is gone"


def play(
    api: Api, machines: NodesControl, node: str, name: str, lead_seconds: float | None, progress: Progress
) -> None:
    """Play the signal `name` on a node.

    Raises:
        LabError: no such signal or node, the node is dead, or the lead time is negative.

    """
    signal = SIGNALS.get(name)
    if signal is None:
        raise LabError(f"unknown signal {name!r}; signals: {', '.join(SIGNALS)}")
    lead = signal.lead_seconds if lead_seconds is None else lead_seconds
    if lead < 0:
        raise LabError(f"lead: {lead:g} s is negative; give 0 or more seconds")
    if not _alive(machines, node):
        raise LabError(f"node {node} is dead already", remedy=f"bring it back: spotmix lab restore {node}")
    with progress.step(f"{node}: {signal.title}") as step:
        signal.play(Scene(api, machines, node, lead, step))


def restore(api: Api, machines: NodesControl, node: str) -> None:
    """Start a new machine under the name of one that was taken away, or is being, or mend its network."""
    path = f"/api/v1/nodes/{node}"
    if node in machines.cuts():
        machines.mend(node)
        _await_ready(api, node)
        return
    found = api.find(path)
    if _alive(machines, node):
        if found is not None and not _is_leaving(found):
            raise LabError(f"node {node} is running and not being interrupted: there is nothing to restore")
        machines.kill(node)
    # A new machine knows nothing of the old one's pods: they would stay bound to its name for ever.
    for pod in _pods(api, node):
        api.delete(_pod_path(pod), {"gracePeriodSeconds": 0})
    if found is not None:
        _delete_node(api, node)
    machines.start(node)
    _await_ready(api, node)


def _await_ready(api: Api, node: str) -> None:
    def ready() -> bool:
        body = api.find(f"/api/v1/nodes/{node}")
        return body is not None and cluster.node_is_ready(body) and not _is_leaving(body)

    wait_until(f"node {node} to be Ready", ready, seconds=30)


def _alive(machines: NodesControl, node: str) -> bool:
    alive = machines.alive()
    if node not in alive:
        raise LabError(f"unknown node {node!r}; nodes: {', '.join(sorted(alive))}")
    return alive[node]


def _node_death(scene: Scene) -> None:
    """The machine is gone without a word: nobody tells the API server."""
    _countdown(scene, "until the machine dies")
    scene.machines.kill(scene.node)


def _node_freeze(scene: Scene) -> None:
    """The machine stands still: who is connected to it waits, because nobody closes the connection."""
    _countdown(scene, "until the machine freezes")
    scene.machines.freeze(scene.node)


def _partition(what: str) -> Callable[[Scene], None]:
    """The machine and its pods run on, but who is elsewhere does not hear of them, nor they of those."""

    def play(scene: Scene) -> None:
        _countdown(scene, "until the network breaks")
        scene.machines.cut(scene.node, what)

    return play


def _karpenter(scene: Scene) -> None:
    """Karpenter has read the cloud's interruption notice.

    It records the events, marks the Node for deletion (its finalizer holds the object), taints it, and evicts the pods.
    The machine goes when all have left, or when the cloud's time is over; then the Node object does.
    """
    api, path = scene.api, f"/api/v1/nodes/{scene.node}"
    deadline = time.monotonic() + scene.lead_seconds
    node = api.get(path)
    _event(api, node, "SpotInterrupted", "Spot interruption warning was triggered")
    _edit_list(api, path, ("metadata", "finalizers"), lambda old: [*(f for f in old if f != FINALIZER), FINALIZER])
    api.delete(path)
    _event(api, node, "TerminatingOnInterruption", "Interruption triggered termination for the Node")
    _edit_list(api, path, ("spec", "taints"), _with_disrupted)
    api.patch(path, {"metadata": {"labels": {_EXCLUDE_BALANCERS: "karpenter"}}})
    while time.monotonic() < deadline:
        waiting = _evict(api, scene.node)
        if not waiting:
            break
        left = f"{deadline - time.monotonic():.0f} s left"
        scene.step.update(f"{len(waiting)} {'pod' if len(waiting) == 1 else 'pods'} leaving, {left}")
        time.sleep(POLL_SECONDS)
    # A drained machine takes seconds to go: time for its kubelet to remove the objects of the pods that have ended.
    gone = min(deadline, time.monotonic() + SHUTDOWN_SECONDS)
    while time.monotonic() < gone and any(pod["metadata"].get("deletionTimestamp") for pod in _pods(api, scene.node)):
        time.sleep(0.1)
    scene.machines.kill(scene.node)
    _delete_node(api, scene.node)


SIGNALS: dict[str, Signal] = {
    "karpenter": Signal("spot interruption, as Karpenter handles it on AWS", 120.0, _karpenter),
    "node-death": Signal("sudden death, without any notice", 0.0, _node_death),
    "node-freeze": Signal("sudden standstill, without any notice", 0.0, _node_freeze),
    "node-partition": Signal("cut off from everybody, pods run on", 0.0, _partition("cut-off"), "is cut off"),
    "api-partition": Signal("cut off from the API server", 0.0, _partition("cut-from-api"), "is cut off"),
    "pod-partition": Signal("its pods are cut off", 0.0, _partition("cut-from-pods"), "is cut off"),
}


def _countdown(scene: Scene, what: str) -> None:
    deadline = time.monotonic() + scene.lead_seconds
    while (left := deadline - time.monotonic()) > 0:
        scene.step.update(f"{left:.0f} s {what}")
        time.sleep(min(left, POLL_SECONDS))


def _evict(api: Api, node: str) -> list[Json]:
    """Evict the first group that has pods, as Karpenter orders them; returns the pods that have not left yet."""
    waiting = [pod for pod in _pods(api, node) if is_drainable(pod)]
    turn = min(map(eviction_order, waiting), default=0)
    for pod in waiting:
        leaving = pod["metadata"].get("deletionTimestamp")
        if eviction_order(pod) == turn and not leaving and not _must_not_be_disrupted(pod):
            _evict_pod(api, pod)
    return waiting


def is_drainable(pod: Json) -> bool:
    """Whether a drain waits for the pod to leave: it has not ended, is not static, does not tolerate the taint."""
    ended = pod["status"].get("phase") in {"Succeeded", "Failed"}
    static = any(owner["kind"] == "Node" for owner in pod["metadata"].get("ownerReferences") or [])
    return not ended and not static and not _tolerates_disruption(pod)


def eviction_order(pod: Json) -> int:
    """Karpenter's order: 0 ordinary pods, 1 those of daemon sets, 2 and 3 the critical ones likewise."""
    owners = pod["metadata"].get("ownerReferences") or []
    of_daemon_set = any(owner["kind"] == "DaemonSet" for owner in owners)
    critical = pod["spec"].get("priorityClassName") in _CRITICAL
    return 2 * critical + of_daemon_set


def _evict_pod(api: Api, pod: Json) -> None:
    metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": metadata,
        "deleteOptions": {"preconditions": {"uid": pod["metadata"]["uid"]}},
    }
    try:
        api.create(f"{_pod_path(pod)}/eviction", body)
    except ApiError as error:
        # Gone, another pod of that name, or a disruption budget: the next round sees.
        if error.code not in {http.client.NOT_FOUND, http.client.CONFLICT, http.client.TOO_MANY_REQUESTS}:
            raise


def _must_not_be_disrupted(pod: Json) -> bool:
    return (pod["metadata"].get("annotations") or {}).get(DO_NOT_DISRUPT) == "true"


def _tolerates_disruption(pod: Json) -> bool:
    def matches(toleration: Json) -> bool:
        effect = toleration.get("effect") or DISRUPTED["effect"]
        key = toleration.get("key") or (DISRUPTED["key"] if toleration.get("operator") == "Exists" else "")
        value = toleration.get("operator") == "Exists" or not toleration.get("value")
        return effect == DISRUPTED["effect"] and key == DISRUPTED["key"] and value

    return any(matches(toleration) for toleration in pod["spec"].get("tolerations") or [])


def _with_disrupted(taints: Iterable[Json]) -> list[Json]:
    return [*(taint for taint in taints if taint["key"] != DISRUPTED["key"]), DISRUPTED]


def _is_leaving(node: Json) -> bool:
    taints = node["spec"].get("taints") or []
    marked = any(taint["key"] == DISRUPTED["key"] for taint in taints)
    return marked or bool(node["metadata"].get("deletionTimestamp"))


def _delete_node(api: Api, node: str) -> None:
    path = f"/api/v1/nodes/{node}"
    if api.find(path) is None:
        return
    _edit_list(api, path, ("metadata", "finalizers"), lambda old: [f for f in old if f != FINALIZER])
    api.delete(path)
    wait_until(f"node {node} to be deleted", lambda: api.find(path) is None, seconds=10)


def _edit_list(api: Api, path: str, where: tuple[str, str], edit: Callable[[list[Any]], list[Any]]) -> None:
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


def _event(api: Api, node: Json, reason: str, message: str) -> None:
    """Record an event on a Node as client-go's recorder does: in `default`, because a Node has no namespace."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = node["metadata"]["name"]
    involved = {"kind": "Node", "apiVersion": "v1", "name": name, "uid": node["metadata"]["uid"]}
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{time.time_ns():x}", "namespace": "default"},
        "involvedObject": involved,
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": "karpenter"},
        "reportingComponent": "karpenter",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    api.create("/api/v1/namespaces/default/events", body)


def _pods(api: Api, node: str) -> list[Json]:
    return api.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")


def _pod_path(pod: Json) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
