"""Turn the hub's feeds into core events. Keeps the last state of every object, for what a snapshot no longer has."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.events import NodeFacts
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.apply import driver_observed, executor_observed
from airflow_provider_spotmix.fleet.hub import FeedItem, Unavailable
from airflow_provider_spotmix.fleet.outcome import outcome
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import KubeError, NotFound
from airflow_provider_spotmix.kube.facts import node_facts
from airflow_provider_spotmix.kube.objects import Node, Pod, Raw
from airflow_provider_spotmix.kube.resources import NODES
from airflow_provider_spotmix.kube.watch import Changed, Synced
from airflow_provider_spotmix.manifests import labels

Batch = list[ev.AnyEvent]


class PodFeed:
    """Executors and drivers of one fleet."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.pods: dict[str, Pod] = {}

    def events(self, item: FeedItem[Pod]) -> Batch:
        """Translate one item. Pods of a snapshot come in the order in which they were created."""
        match item:
            case Synced(objects):
                here = {pod.metadata.uid for pod in objects}
                gone = [pod for uid, pod in self.pods.items() if uid not in here]
                deleted: Batch = [event for pod in gone for event in self._deleted(pod, estimated=True)]
                drivers = [event for pod in objects for event in self._driver(pod)]
                observed = [event for pod in objects for event in self._observed(pod)]
                # Creation times are whole seconds: within one, Spark's numbers tell the order.
                observed.sort(key=lambda event: (event.pod.created_at, event.pod.executor_id))
                return [*deleted, *drivers, *observed]
            case Changed("DELETED", pod):
                return self._deleted(pod)
            case Changed(_, pod):
                return [*self._driver(pod), *self._observed(pod)]
        return []

    def _driver(self, pod: Pod) -> Batch:
        event = driver_observed(pod, at=self._now())
        return [event] if event else []

    def _observed(self, pod: Pod) -> list[ev.ExecutorObserved]:
        event = executor_observed(pod, at=self._now())
        if event is None:
            return []
        self.pods[pod.metadata.uid] = pod
        return [event]

    def _deleted(self, pod: Pod, *, estimated: bool = False) -> Batch:
        self.pods.pop(pod.metadata.uid, None)
        event = executor_observed(pod, at=self._now())
        if event is None:
            return []
        return [
            ev.ExecutorDeleted(
                at=event.at,
                id=event.id,
                application=event.application,
                submission=event.submission,
                pod=event.pod,
                estimated=estimated,
            )
        ]


class ApplicationFeed:
    """The fleet's application objects."""

    def __init__(self, kube: Kube, spec: FleetSpec, now: Callable[[], float]) -> None:
        self._kube = kube
        self._spec = spec
        self._now = now
        self._api = backend(spec.backend)
        self.driver_pods: dict[str, str] = {}
        self._uids: dict[str, str] = {}
        self._unlabelled: set[str] = set()

    async def events(self, item: FeedItem[Raw]) -> Batch:
        """Translate one item. An application that a snapshot lacks is asked for by name: the snapshot may be older."""
        match item:
            case Synced(objects):
                here = {application.metadata.name for application in objects}
                missing = [spec.name for spec in self._spec.applications if spec.name not in here]
                looked = [event for name in missing for event in await self._look(name)]
                return [event for application in objects for event in self._observed(application)] + looked
            case Changed("DELETED", application):
                self._uids.setdefault(application.metadata.name, application.metadata.uid)
                return await self._look(application.metadata.name)
            case Changed(_, application):
                return self._observed(application)
        return []

    async def unwatched(self) -> Batch:
        """Look at the applications that have lost the fleet's label: the watch took that for their end."""
        return [event for name in sorted(self._unlabelled) for event in await self._look(name)]

    def _observed(self, application: Raw) -> Batch:
        """Of another object that has taken the name, only that ours is gone."""
        name, uid = application.metadata.name, application.metadata.uid
        if self._uids.setdefault(name, uid) != uid:
            return [self._deleted(name)]
        if application.metadata.labels.get(labels.FLEET) == self._spec.fleet_id:
            self._unlabelled.discard(name)
        else:
            self._unlabelled.add(name)
        return [self._as_seen(application)]

    def _as_seen(self, application: Raw) -> ev.ApplicationObserved:
        status = self._api.status(application)
        name = application.metadata.name
        self.driver_pods[name] = status.driver_pod
        return ev.ApplicationObserved(
            at=self._now(),
            id=f"{self._api.resource.plural}/{name}@{application.metadata.resource_version}",
            application=name,
            uid=application.metadata.uid,
            phase=status.phase,
            state=status.state,
            message=status.message,
            created_at=float(application.metadata.creation_timestamp or 0.0),
            started=status.started,
            restarted=status.restarted,
        )

    async def _look(self, name: str) -> Batch:
        try:
            return self._observed(await self._kube.get(self._api.resource, name, self._spec.namespace))
        except NotFound:
            self._unlabelled.discard(name)
            return [await self._ended(name)]

    async def _ended(self, name: str) -> ev.ApplicationDeleted:
        """Ask how it had ended; whoever was connected knows that already, and ignores it."""
        if name not in self._uids and any(second.name == name for second in self._spec.second_attempts):
            return self._deleted(name)  # most likely it never was
        found = await outcome(
            self._kube,
            self._api.resource,
            name,
            self._spec.namespace,
            uid=self._uids.get(name, ""),
            driver_pod=self.driver_pods.get(name, f"{name}-driver"),
            endings=self._api.endings,
        )
        return replace(self._deleted(name), ended=found.phase, ended_at=found.at, evidence=found.evidence)

    def _deleted(self, name: str) -> ev.ApplicationDeleted:
        return ev.ApplicationDeleted(
            at=self._now(), id=f"{self._api.resource.plural}/{name}", application=name, uid=self._uids.get(name, "")
        )


class NodeFeed:
    """All nodes of the cluster, where we may read them."""

    def __init__(self, kube: Kube, now: Callable[[], float]) -> None:
        self._kube = kube
        self._now = now
        self._known: dict[str, NodeFacts] = {}
        self.available = True

    def events(self, item: FeedItem[Node]) -> Batch:
        """Translate one item."""
        match item:
            case Unavailable():
                self.available = False
            case Synced(objects):
                gone = self._known.keys() - {node.metadata.name for node in objects}
                deleted: Batch = [self._deleted(name) for name in sorted(gone)]
                return deleted + [event for node in objects for event in self._observed(node)]
            case Changed("DELETED", node):
                return [self._deleted(node.metadata.name)]
            case Changed(_, node):
                return self._observed(node)
        return []

    async def absent(self, names: set[str]) -> tuple[str, ...]:
        """Return those of the nodes that the API server, asked by name, does not have."""
        found = []
        for name in sorted(names - self._known.keys()) if self.available else ():
            try:
                await self._kube.get(NODES, name)
            except NotFound:
                found.append(name)
            except KubeError:
                continue  # no answer is no evidence
        return tuple(found)

    def _observed(self, node: Node) -> Batch:
        """Nodes report every few seconds; only what changes a decision is worth an event."""
        facts = node_facts(node)
        if self._known.get(facts.name) == facts:
            return []
        self._known[facts.name] = facts
        event_id = f"nodes/{facts.name}@{node.metadata.resource_version}"
        return [ev.NodeObserved(at=self._now(), id=event_id, node=facts)]

    def _deleted(self, name: str) -> ev.NodeDeleted:
        self._known.pop(name, None)
        return ev.NodeDeleted(at=self._now(), id=f"nodes/{name}", node=name)
