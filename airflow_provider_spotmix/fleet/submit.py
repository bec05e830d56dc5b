"""Submit a fleet's applications, adopt them after a retry of ours, delete them. All or none, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow_provider_spotmix.backends import backend
from airflow_provider_spotmix.core.errors import FleetConflictError
from airflow_provider_spotmix.core.spec import AGENT, FleetSpec
from airflow_provider_spotmix.fleet.plan import FleetPlan
from airflow_provider_spotmix.fleet.record import delete_record
from airflow_provider_spotmix.kube.client import Kube
from airflow_provider_spotmix.kube.errors import (
    AlreadyExists,
    ApiUnavailable,
    Conflict,
    KubeError,
    NotFound,
    ServerError,
)
from airflow_provider_spotmix.kube.objects import Raw
from airflow_provider_spotmix.kube.retry import Backoff, harmless_to_repeat
from airflow_provider_spotmix.manifests import labels
from airflow_provider_spotmix.manifests.identity import TaskRef

Tell = Callable[[str, bool], None]

# What is cancelled in mid-call is waited for no longer than this: its outcome decides what there is to clean up.
SETTLE_SECONDS = 2.0
# Longer than the failover of a managed control plane; what takes longer is left to a sweep.
PATIENCE_SECONDS = 120.0


async def submit(kube: Kube, plan: FleetPlan, *, tell: Tell) -> None:
    """Create the fleet's applications.

    Calling it again for the same task-instance try adopts what is there. When one application cannot be created, those
    that this call created are deleted again.

    Raises:
        FleetConflictError: an application of that name exists and is not this fleet's, or is being deleted.
        KubeError: the API server refused.

    """
    created: list[str] = []
    seconds = {second.replaces: second.name for second in plan.spec.second_attempts}
    warnings = (said for manifest in plan.applications for said in backend(plan.spec.backend).warnings(manifest))
    for said in dict.fromkeys(warnings):
        tell(said, True)
    try:
        for manifest in plan.applications:
            name = manifest["metadata"]["name"]
            if name in seconds and await _is_there(kube, plan.spec, seconds[name], manifest):
                tell(f"adopted {seconds[name]} in namespace {plan.spec.namespace}: {name} was lost", False)
                continue
            attempt = asyncio.ensure_future(_create_or_adopt(kube, plan.spec, manifest))
            try:
                is_new = await asyncio.shield(attempt)
            except asyncio.CancelledError:
                if await _has_created(attempt):
                    created.append(name)
                raise
            if is_new:
                created.append(name)
                tell(f"submitted {name} to namespace {plan.spec.namespace}", False)
            else:
                tell(
                    f"adopted {name} in namespace {plan.spec.namespace}: an earlier attempt of this try made it", False
                )
    except BaseException:
        for name in created:
            await _clean_up(kube, plan.spec, name, tell)
        raise


async def delete_fleet(kube: Kube, spec: FleetSpec) -> None:
    """Delete the fleet's applications (with them go drivers, executors and the checkpoint) and record. Idempotent.

    Raises:
        KubeError: the API server refused one of them; the others are deleted all the same.

    """
    await delete_applications(kube, spec, [application.name for application in spec.applications])
    if spec.controller == AGENT:
        await delete_record(kube, spec)


async def delete_applications(kube: Kube, spec: FleetSpec, names: Iterable[str]) -> None:
    """Delete these of the fleet's applications. Idempotent.

    Raises:
        KubeError: the API server refused one of them; the others are deleted all the same.

    """
    failure: KubeError | None = None
    for name in names:
        try:
            await _delete(kube, spec, name)
        except KubeError as error:
            failure = failure or error
    if failure:
        raise failure


async def delete_patiently(kube: Kube, spec: FleetSpec, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Delete the fleet's applications; wait for an API server that is away, but not longer than that.

    Raises:
        KubeError: the API server refused, or was away for too long.

    """
    backoff = Backoff(base_seconds=1, cap_seconds=15)
    give_up = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            return await delete_fleet(kube, spec)
        except KubeError as error:
            wait = backoff.next_seconds()
            if not harmless_to_repeat(error, repeatable=True) or asyncio.get_running_loop().time() + wait > give_up:
                raise
            await asyncio.sleep(wait)


async def _has_created(attempt: asyncio.Future[bool]) -> bool:
    """Wait for a call that nobody waits for any more, and tell whether it has created something after all."""
    await asyncio.wait([attempt], timeout=SETTLE_SECONDS)
    if not attempt.done():
        attempt.cancel()
        await asyncio.wait([attempt])
    return not attempt.cancelled() and attempt.exception() is None and attempt.result()


async def _clean_up(kube: Kube, spec: FleetSpec, name: str, tell: Tell) -> None:
    """Delete what was created in vain; a failure of that must not hide why."""
    try:
        await _delete(kube, spec, name)
    except KubeError as error:
        tell(f"cannot delete {name} in namespace {spec.namespace}, delete it yourself: {error}", True)


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


async def _is_there(kube: Kube, spec: FleetSpec, name: str, manifest: Mapping[str, Any]) -> bool:
    """Whether the fleet has an application of that name."""
    try:
        found = await kube.get(backend(spec.backend).resource, name, spec.namespace)
    except NotFound:
        return False
    _must_be_ours(found, manifest["metadata"]["annotations"][labels.IDENTITY])
    return True


def _must_be_ours(found: Raw, identity: str) -> None:
    name = found.metadata.name
    theirs = found.metadata.annotations.get(labels.IDENTITY, "")
    if theirs != identity:
        task = TaskRef.read(found.metadata.annotations.get(labels.TASK, ""))
        theirs = f"{theirs} ({task})" if task else theirs
        raise FleetConflictError(
            f"{found.kind or 'application'} {name} exists and belongs to {theirs or 'nobody of this provider'}, not to"
            f" {identity}; give this task another name, or delete the other one"
        )
    if found.metadata.deletion_timestamp is not None:
        raise FleetConflictError(f"{found.kind or 'application'} {name} is being deleted; try again when it is gone")


def _is_still_ours(spec: FleetSpec, found: Raw) -> bool:
    """A later try may have taken it over."""
    return spec.identity in ("", found.metadata.annotations.get(labels.IDENTITY, ""))


async def _delete(kube: Kube, spec: FleetSpec, name: str) -> None:
    """Delete one application if it is this fleet's."""
    resource = backend(spec.backend).resource
    while True:
        try:
            found = await kube.get(resource, name, spec.namespace)
            if found.metadata.labels.get(labels.FLEET) == spec.fleet_id and _is_still_ours(spec, found):
                uid = found.metadata.uid
                await kube.delete(resource, name, spec.namespace, propagation_policy="Background", uid=uid)
        except NotFound:
            pass
        except Conflict:  # another object has taken the name since: look whose it is
            continue
        return
