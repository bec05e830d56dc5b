"""Submit a fleet's applications, adopt them after a retry of ours, delete them. All or none, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.errors import FleetConflictError
from airflow_provider_spotmix.core.spec import FleetSpec
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import AlreadyExists, ApiUnavailable, NotFound, ServerError
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.manifests import labels

Tell = Callable[[str, bool], None]


async def submit(kube: Kube, plan: FleetPlan, *, tell: Tell) -> None:
    """Create the fleet's applications.

    Calling it again for the same task-instance try adopts what is there. When one application cannot be created, those
    that this call created are deleted again.

    Raises:
        FleetConflictError: an application of that name exists and is not this fleet's, or is being deleted.
        KubeError: the API server refused.

    """
    created: list[str] = []
    try:
        for manifest in plan.applications:
            name = manifest["metadata"]["name"]
            if await _create_or_adopt(kube, plan.spec, manifest):
                created.append(name)
                tell(f"submitted {name} to namespace {plan.spec.namespace}", False)
            else:
                tell(
                    f"adopted {name} in namespace {plan.spec.namespace}: an earlier attempt of this try made it", False
                )
    except BaseException:
        for name in created:
            await _delete(kube, plan.spec, name)
        raise


async def delete_fleet(kube: Kube, spec: FleetSpec) -> None:
    """Delete the fleet's applications (with them go drivers, executors and the checkpoint). Idempotent.

    Raises:
        KubeError: the API server refused.

    """
    for application in spec.applications:
        await _delete(kube, spec, application.name)


async def _create_or_adopt(kube: Kube, spec: FleetSpec, manifest: Mapping[str, Any]) -> bool:
    """Return whether it was created by this very call, as far as we can know."""
    resource = backend(spec.backend).resource
    name, identity = manifest["metadata"]["name"], manifest["metadata"]["annotations"][labels.IDENTITY]
    try:
        await kube.create(resource, manifest, spec.namespace)
    except AlreadyExists:
        _must_be_ours(await kube.get(resource, name, spec.namespace), identity)
        return False
    except (ApiUnavailable, ServerError) as error:
        # No answer is not a no: look before giving up, or a running application would be left behind.
        if isinstance(error, ApiUnavailable) and not error.maybe_done:
            raise
        try:
            _must_be_ours(await kube.get(resource, name, spec.namespace), identity)
        except NotFound:
            raise error from None
    return True


def _must_be_ours(found: Raw, identity: str) -> None:
    name = found.metadata.name
    theirs = found.metadata.annotations.get(labels.IDENTITY, "")
    if theirs != identity:
        raise FleetConflictError(
            f"{found.kind or 'application'} {name} exists and belongs to {theirs or 'nobody of this provider'}, not to"
            f" {identity}; give this task another name, or delete the other one"
        )
    if found.metadata.deletion_timestamp is not None:
        raise FleetConflictError(f"{found.kind or 'application'} {name} is being deleted; try again when it is gone")


async def _delete(kube: Kube, spec: FleetSpec, name: str) -> None:
    """Delete one application if it is this fleet's."""
    resource = backend(spec.backend).resource
    try:
        found = await kube.get(resource, name, spec.namespace)
        if found.metadata.labels.get(labels.FLEET) == spec.fleet_id:
            await kube.delete(resource, name, spec.namespace, propagation_policy="Background", uid=found.metadata.uid)
    except NotFound:
        pass
