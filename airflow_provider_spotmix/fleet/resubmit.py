"""Submit a lost group again, step by step. Every step can be repeated, and the cluster tells which one is next.

1. Create the second attempt. Its driver carries a scheduling gate: it cannot run yet.
2. Delete the first attempt, exactly as it was when it was found lost: one that has succeeded meanwhile is kept, and the
   second attempt deleted instead.
3. Wait until none of the first attempt's pods runs.
4. Lift the gate.

So at no time do both run, and a controller that takes over after any step goes on with the next.
"""

from __future__ import annotations

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core import events as ev
from airflow_provider_spotmix.core.actions import Resubmit
from airflow_provider_spotmix.core.events import ApplicationPhase
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.kube.client import Kube, PatchType
from airflow_provider_spotmix.kube.errors import Conflict, NotFound
from airflow_provider_spotmix.kube.objects import Pod, Raw
from airflow_provider_spotmix.kube.resources import PODS
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.pod_template import pointer

_ENDED = ("Succeeded", "Failed")


async def resubmit(
    kube: Kube, spec: FleetSpec, action: Resubmit, *, at: float
) -> ev.ResubmitDone | ev.ResubmitFailed | ev.ResubmitVoid:
    """Take the steps that can be taken now.

    Raises:
        KubeError: the API server refused, or did not answer; what was done so far stays.

    """
    waiting = ev.ResubmitFailed(at=at, application=action.application)
    first = await _find(kube, spec, action.application)
    second = await _find(kube, spec, action.replacement)
    if first is None and second is None:
        return _void(action, at, "its object is gone")
    if first is not None:
        return await _supersede(kube, spec, action, first, second, at=at) or waiting
    if any(pod.status.phase not in _ENDED for pod in await _pods(kube, spec, action.application)):
        return waiting
    drivers = await _pods(kube, spec, action.replacement, f",{labels.SPARK_ROLE}={labels.DRIVER_ROLE}")
    for driver in drivers:
        await _lift(kube, spec, driver)
    return ev.ResubmitDone(at=at, application=action.application) if drivers else waiting


async def _supersede(
    kube: Kube, spec: FleetSpec, action: Resubmit, first: Raw, second: Raw | None, *, at: float
) -> ev.ResubmitVoid | None:
    """Make sure that the second attempt is there, then delete the first; or the other way round, if it succeeded."""
    api = backend(spec.backend)
    if api.status(first).phase is ApplicationPhase.SUCCEEDED:
        if second is not None:
            await _delete(kube, spec, second, resource_version=None)
        return _void(action, at, "it has succeeded after all", succeeded=True)
    going = first.metadata.deletion_timestamp is not None
    if second is None:
        if going:
            return _void(action, at, "somebody deletes it")
        moved = api.moved(
            first, name=action.replacement, from_pool=spec.pool(action.from_pool), to_pool=spec.pool(action.pool)
        )
        await kube.create(api.resource, moved, spec.namespace)
    if not going:
        await _delete(kube, spec, first, resource_version=first.metadata.resource_version)
    return None


def _void(action: Resubmit, at: float, reason: str, *, succeeded: bool = False) -> ev.ResubmitVoid:
    return ev.ResubmitVoid(at=at, application=action.application, succeeded=succeeded, reason=reason)


async def _find(kube: Kube, spec: FleetSpec, name: str) -> Raw | None:
    """The fleet's application of that name."""
    try:
        found = await kube.get(backend(spec.backend).resource, name, spec.namespace)
    except NotFound:
        return None
    return found if found.metadata.labels.get(labels.FLEET) == spec.fleet_id else None


async def _delete(kube: Kube, spec: FleetSpec, application: Raw, *, resource_version: str | None) -> None:
    """Delete exactly this object, if it is still of that version. When it is not, it is looked at again first."""
    metadata = application.metadata
    try:
        await kube.delete(
            backend(spec.backend).resource,
            metadata.name,
            spec.namespace,
            propagation_policy="Background",
            uid=metadata.uid,
            resource_version=resource_version,
        )
    except (Conflict, NotFound):
        return


async def _pods(kube: Kube, spec: FleetSpec, application: str, more: str = "") -> tuple[Pod, ...]:
    found = await kube.list(PODS, spec.namespace, label_selector=f"{labels.APPLICATION}={application}{more}")
    return tuple(found.items)


async def _lift(kube: Kube, spec: FleetSpec, driver: Pod) -> None:
    """Let the driver run. The tests guard the pod and its gate, so that a repeated or late patch changes nothing."""
    gates = [gate.name for gate in driver.spec.scheduling_gates]
    if labels.RESUBMISSION_GATE not in gates:
        return
    number = str(gates.index(labels.RESUBMISSION_GATE))
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": driver.metadata.uid},
        {"op": "test", "path": pointer("spec", "schedulingGates", number, "name"), "value": labels.RESUBMISSION_GATE},
        {"op": "remove", "path": pointer("spec", "schedulingGates", number)},
    ]
    await kube.patch(PODS, driver.metadata.name, patch, spec.namespace, kind=PatchType.JSON)
