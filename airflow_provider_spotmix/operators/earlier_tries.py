"""What a try does about the fleets of earlier tries of its task instance: take one over that runs, delete the rest.

Left behind is, for one, the fleet of a try whose worker was killed at once, or that was cleared while it was deferred:
by the time its trigger asks, the next try may be deferred already, and Airflow does not tell the two apart.

Taken over is only what this very try would submit too: of the same task instance, of the same run (not of a deleted
one that had its run_id, not from before somebody cleared a task of it), from the same input. It keeps its name; that it
is this try's is written on its object, so that whoever still looks after it for the earlier try does not delete it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.errors import FleetConflictError
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.plan import of_fleet
from airflow_provider_spotmix.kube.errors import Conflict, Forbidden, NotFound
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.identity import TaskRef

if TYPE_CHECKING:
    from airflow_provider_spotmix.fleet.plan import FleetPlan
    from airflow_provider_spotmix.fleet.submit import Tell
    from airflow_provider_spotmix.kube.client import Kube
    from airflow_provider_spotmix.kube.objects import ObjectMeta, Pod, Raw

TASK = ("dag_id", "task_id", "run_id")
# A driver has 30 s to end by default, and its node may be slow to say so.
GONE_SECONDS = 300.0
POLL_SECONDS = 1.0
# How often something is looked at again that changes all the time.
_ATTEMPTS = 10
_ENDED = ("Succeeded", "Failed")


async def follow_earlier_tries(kube: Kube, plan: FleetPlan, *, reattach: bool, tell: Tell) -> FleetSpec | None:
    """Take over the fleet that an earlier try left running, or make sure that nothing of earlier tries runs any more.

    Applications that are over and kept on purpose stay.

    Args:
        kube: the cluster.
        plan: what this try would submit.
        reattach: whether a running fleet may be taken over.
        tell: called with each line for the task's log, and whether it is a warning.

    Returns:
        The fleet that was taken over; None when there is none.

    Raises:
        FleetConflictError: a driver of an earlier try does not go away.
        KubeError: the API server refused.

    """
    adopted = await _adopt(kube, plan, tell) if reattach else None
    keep = adopted.fleet_id if adopted else plan.spec.fleet_id
    ended = await _end(kube, plan, keep, tell)
    await _wait_until_gone(kube, plan, keep, ended, tell)
    return adopted


async def fleet_of(kube: Kube, plan: FleetPlan) -> FleetSpec:
    """Return the fleet of this try: its own, or the one that it has taken over.

    Raises:
        KubeError: the API server refused.

    """
    mine = _mine(plan).annotations[labels.IDENTITY]
    for found in await _of_task(kube, plan):
        if found.metadata.annotations.get(labels.IDENTITY) == mine:
            return of_fleet(plan.spec, found.metadata.labels[labels.FLEET])
    return plan.spec


async def _adopt(kube: Kube, plan: FleetPlan, tell: Tell) -> FleetSpec | None:
    for _ in range(_ATTEMPTS):
        found = await _of_task(kube, plan)
        fleets = {each.metadata.labels[labels.FLEET] for each in found} - {plan.spec.fleet_id}
        for fleet in sorted(fleets):
            spec = of_fleet(plan.spec, fleet)
            members = [each for each in found if each.metadata.labels[labels.FLEET] == fleet]
            if not _can_be_adopted(plan, spec, members):
                continue
            try:
                await _make_mine(kube, plan, members)
            except Forbidden as error:
                tell(f"not taken over, but deleted: {error}", True)
                return None
            except (Conflict, NotFound):  # it has changed since it was read: look again
                break
            names = ", ".join(each.metadata.name for each in members)
            tell(f"taking over {names} in namespace {spec.namespace}, which an earlier try left running", False)
            return spec
        else:
            return None
    return None


def _can_be_adopted(plan: FleetPlan, spec: FleetSpec, members: Sequence[Raw]) -> bool:
    """Whether it is all there, runs, and is what this try would submit."""
    api, mine = backend(spec.backend), _mine(plan)
    there = {each.metadata.name for each in members if each.metadata.deletion_timestamp is None}
    replaced = {each.replaces for each in spec.second_attempts if each.name in there}
    is_whole = all(each.name in there or each.name in replaced for each in spec.first_attempts)
    runs = any(not api.status(each).phase.over for each in members)
    return is_whole and runs and all(_is_same(each.metadata, mine) for each in members)


def _is_same(theirs: ObjectMeta, mine: ObjectMeta) -> bool:
    """Whether an application is of an earlier try of the same run, or this try's already, and of the same input."""
    their_task, my_task = (TaskRef.read(each.annotations.get(labels.TASK, "")) for each in (theirs, mine))
    if their_task is None or my_task is None or not my_task.run:
        return False
    keys = (each.annotations.get(labels.INPUT) for each in (theirs, mine))
    return (
        len(set(keys)) == 1
        and their_task.run == my_task.run
        and their_task.try_number <= my_task.try_number
        and _is_of_same_task(theirs, mine)
    )


async def _make_mine(kube: Kube, plan: FleetPlan, members: Sequence[Raw]) -> None:
    mine = _mine(plan).annotations
    for each in members:
        annotations = {key: mine.get(key) for key in (labels.IDENTITY, labels.TASK, labels.KEEP)}
        metadata = {"annotations": annotations, "resourceVersion": each.metadata.resource_version}
        resource = backend(plan.spec.backend).resource
        await kube.patch(resource, each.metadata.name, {"metadata": metadata}, plan.spec.namespace)


async def _end(kube: Kube, plan: FleetPlan, keep: str, tell: Tell) -> set[str]:
    """Delete the applications of other tries; return their fleets, also of those that are being deleted already."""
    api, mine, ended = backend(plan.spec.backend), _mine(plan), set()
    for found in await _of_task(kube, plan):
        metadata = found.metadata
        is_kept = api.status(found).phase.over and _is_to_be_kept(found)
        if is_kept or metadata.labels[labels.FLEET] == keep or not _is_of_same_task(metadata, mine):
            continue
        ended.add(metadata.labels[labels.FLEET])
        if metadata.deletion_timestamp is not None:
            continue
        tell(f"deleting {metadata.name}, which an earlier try of this task left behind", True)
        try:
            await kube.delete(
                api.resource, metadata.name, plan.spec.namespace, propagation_policy="Background", uid=metadata.uid
            )
        except (NotFound, Conflict):  # it is gone, and maybe another has taken its name
            continue
    return ended


async def _wait_until_gone(kube: Kube, plan: FleetPlan, keep: str, ended: set[str], tell: Tell) -> None:
    """Two drivers of one task never run at once: both would write the same output."""
    told, give_up = False, asyncio.get_running_loop().time() + GONE_SECONDS
    while left := await _left(kube, plan, keep, ended):
        if not told:
            tell(f"waiting until {', '.join(left)} of an earlier try has ended", False)
        told = True
        if asyncio.get_running_loop().time() > give_up:
            raise FleetConflictError(
                f"{', '.join(left)} of an earlier try in namespace {plan.spec.namespace} does not go away; if its node"
                " is dead, delete it yourself (kubectl delete pod --force)"
            )
        await asyncio.sleep(POLL_SECONDS)


async def _left(kube: Kube, plan: FleetPlan, keep: str, ended: set[str]) -> list[str]:
    """Names of drivers and applications of other tries that are still there.

    A pod does not say of which Airflow it is; one that is ending already is waited for whosoever it is: that is soon.
    """
    mine = _mine(plan)
    names = [each.metadata.name for each in await _of_task(kube, plan) if each.metadata.labels[labels.FLEET] in ended]
    driver = f"{_selector(mine)},{labels.SPARK_ROLE}={labels.DRIVER_ROLE}"
    pods: Sequence[Pod] = (await kube.list(PODS, plan.spec.namespace, label_selector=driver)).items
    for pod in pods:
        fleet, is_ending = pod.metadata.labels[labels.FLEET], pod.metadata.deletion_timestamp is not None
        if fleet == keep or pod.status.phase in _ENDED or not _has_same_map_index(pod.metadata, mine):
            continue
        if fleet in ended or is_ending:
            names.append(pod.metadata.name)
    return names


async def _of_task(kube: Kube, plan: FleetPlan) -> Sequence[Raw]:
    """Every application with the labels of this task and run."""
    selector = _selector(_mine(plan))
    found: Any = await kube.list(backend(plan.spec.backend).resource, plan.spec.namespace, label_selector=selector)
    items: Sequence[Raw] = found.items
    return items


def _selector(mine: ObjectMeta) -> str:
    return ",".join([labels.FLEET, *(f"{key}={mine.labels[key]}" for key in TASK)])


def _mine(plan: FleetPlan) -> ObjectMeta:
    from airflow_provider_spotmix.kube.objects import ObjectMeta

    metadata = plan.applications[0]["metadata"]
    return ObjectMeta(name=metadata["name"], labels=metadata["labels"], annotations=metadata["annotations"])


def _is_to_be_kept(found: Raw) -> bool:
    """Earlier versions did not say whether, nor of which task it is."""
    annotations = found.metadata.annotations
    return labels.KEEP in annotations or labels.TASK not in annotations


def _is_of_same_task(theirs: ObjectMeta, mine: ObjectMeta) -> bool:
    """Whether it belongs to the same task instance, of the same Airflow: a namespace may be shared."""
    instances = (each.annotations.get(labels.IDENTITY, "").rpartition("/")[0] for each in (theirs, mine))
    return len(set(instances)) == 1 and _has_same_map_index(theirs, mine)


def _has_same_map_index(theirs: ObjectMeta, mine: ObjectMeta) -> bool:
    return theirs.labels.get("map_index") == mine.labels.get("map_index")
