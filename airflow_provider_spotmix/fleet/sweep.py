"""Find and delete fleets whose task instance is over: what a controller left that died, or never came to be.

Only with certainty: the application says that it belongs to this very Airflow and to which task instance, and Airflow
says that that one is over or gone. Whatever is not known is left alone. A task instance that runs again is left to its
own new try, which deletes or adopts what the earlier one left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_spotmix.backends import backends
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import Conflict, Forbidden, KubeError, NotFound
from airflow_provider_spotmix.kube.objects import ConfigMap, Raw
from airflow_provider_spotmix.kube.resources import CONFIG_MAPS, Resource
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.identity import TaskRef

# A task instance in one of these states is over for good; in any other, the same try may go on (a deferred task is
# scheduled and queued again when its trigger has fired; a scheduler that restarts resets such a state to none), or a
# next one comes, which sees to what this one left.
OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
GONE = "gone"
# How often something is looked at again that changes all the time.
_ATTEMPTS = 10

TaskKey = tuple[str, str, str, int]
States = Mapping[TaskKey, str | None]
AskStates = Callable[[Sequence[TaskRef]], Awaitable[States]]
Log = Callable[[str, bool], None]


class Found(Struct, frozen=True, kw_only=True):
    """An application of a fleet, or its record, and whose it is."""

    resource: Resource[Any]
    name: str
    namespace: str
    uid: str
    fleet: str
    identity: str
    task: TaskRef
    created_at: float

    @property
    def instance(self) -> str:
        """The Airflow deployment that it belongs to."""
        return self.identity.rpartition("/")[0]

    @property
    def task_instance(self) -> str:
        """UUID of the task instance, at the try that submitted it."""
        return self.identity.rpartition("/")[2]


def key_of(task: TaskRef) -> TaskKey:
    """What a task instance is known by, whichever try it is at."""
    return task.dag_id, task.task_id, task.run_id, task.map_index


def state_name(task_id: str, map_index: int) -> str:
    """Name of a task instance's state in the answer of Airflow's execution API."""
    return task_id if map_index < 0 else f"{task_id}_{map_index}"


def why_over(task: TaskRef, states: States) -> str | None:
    """Say why a task instance is over; None when it is not, or when Airflow did not say."""
    state = states.get(key_of(task))
    if state == GONE:
        return f"{task}: Airflow has no such task instance any more"
    return f"{task}, is {state}" if state in OVER else None


async def find(kube: Kube, namespace: str | None, *, instance: str) -> list[Found]:
    """List the applications of an Airflow deployment's fleets that are not being deleted, and their agents' records.

    Those that are over and that a person wants to keep are left out, and so are those that do not say whose they are.

    Raises:
        KubeError: the API server refused.

    """
    found, kept = [], set()
    for api in backends():
        for application in (await kube.list(api.resource, namespace, label_selector=labels.FLEET)).items:
            mine = _read(api.resource, application)
            if application.metadata.annotations.get(labels.KEEP) and api.status(application).phase.over:
                kept.add(application.metadata.labels[labels.FLEET])
            elif mine and application.metadata.deletion_timestamp is None:
                found.append(mine)
    found += [each for each in await _records(kube, namespace) if each.fleet not in kept]
    return [each for each in found if each.instance == instance]


async def _records(kube: Kube, namespace: str | None) -> list[Found]:
    """What agents have said that nobody has fetched. Who has no agents need not be permitted to ask."""
    try:
        config_maps = (await kube.list(CONFIG_MAPS, namespace, label_selector=labels.RECORD)).items
    except Forbidden:
        return []
    return [mine for each in config_maps if (mine := _read(CONFIG_MAPS, each))]


async def delete(kube: Kube, found: Found) -> bool:
    """Delete an application, unless it has become somebody else's since it was found; whether this call did.

    Raises:
        KubeError: the API server refused.

    """
    for _ in range(_ATTEMPTS):
        try:
            now = await kube.get(found.resource, found.name, found.namespace)
            again = _read(found.resource, now)
            if again != found or now.metadata.deletion_timestamp is not None:
                return False
            await kube.delete(
                found.resource,
                found.name,
                found.namespace,
                propagation_policy="Background",
                uid=found.uid,
                resource_version=now.metadata.resource_version,
            )
        except NotFound:
            return False
        except Conflict:  # it has changed since it was read: look again whose it is
            continue
        return True
    return False


async def sweep(kube: Kube, namespace: str, *, instance: str, ask: AskStates, log: Log) -> list[Found]:
    """Delete the applications in a namespace whose task instance is over; return them.

    Args:
        kube: the cluster.
        namespace: where to look.
        instance: the Airflow deployment that asks.
        ask: asks that Airflow about task instances; what it does not know is left out or raised.
        log: told what was deleted and why, and what could not be.

    Raises:
        KubeError: the API server refused to list them.
        Exception: whatever ``ask`` raises; then nothing is deleted.

    """
    found = await find(kube, namespace, instance=instance)
    states = await ask(unique(each.task for each in found)) if found else {}
    deleted = []
    for each in found:
        why = why_over(each.task, states)
        if why is None:
            continue
        try:
            if await delete(kube, each):
                log(f"deleted {each.name} in namespace {each.namespace}: {why}", True)
                deleted.append(each)
        except KubeError as error:
            log(f"cannot delete {each.name} in namespace {each.namespace} ({why}): {error}", True)
    return deleted


def unique(tasks: Iterable[TaskRef]) -> list[TaskRef]:
    """Each task instance once, whatever tries of it there are."""
    return list({key_of(task): task for task in tasks}.values())


def _read(resource: Resource[Any], thing: Raw | ConfigMap) -> Found | None:
    metadata = thing.metadata
    task = TaskRef.read(metadata.annotations.get(labels.TASK, ""))
    identity = metadata.annotations.get(labels.IDENTITY, "")
    if task is None or not identity:
        return None
    return Found(
        resource=resource,
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        fleet=metadata.labels.get(labels.FLEET, metadata.labels.get(labels.RECORD, "")),
        identity=identity,
        task=task,
        created_at=float(metadata.creation_timestamp or 0.0),
    )
