"""From a person's application to what is submitted. Pure: everything wrong with the input is found here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from airflow_provider_spotmix.backends import backend as backend_named
from airflow_provider_spotmix.backends.base import Backend
from airflow_provider_spotmix.core.cost import Prices
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.core.spec import ApplicationSpec, FleetSpec
from airflow_provider_spotmix.fleet.checks import base_name, check_base, check_namespace, check_pools
from airflow_provider_spotmix.manifests import labels, spark_conf
from airflow_provider_spotmix.manifests.identity import Identity, application_name
from airflow_provider_spotmix.manifests.overlay import Overlay
from airflow_provider_spotmix.placements import placement as placement_named
from airflow_provider_spotmix.placements.base import Draft


class FleetPlan(Struct, frozen=True, kw_only=True):
    """What to submit, and the spec by which it is then looked after."""

    spec: FleetSpec
    applications: tuple[dict[str, Any], ...]


def plan_fleet(
    manifest: Mapping[str, Any],
    *,
    identity: Identity,
    mix: Mix,
    pools: tuple[Pool, ...],
    namespace: str,
    placement: str = "template",
    backend: str = "kubeflow",
    policy: Policy | None = None,
    prices: Prices | None = None,
    object_labels: Mapping[str, str] | None = None,
    name: str | None = None,
    keep: bool = False,
) -> FleetPlan:
    """Plan a fleet.

    Args:
        manifest: the application as a person wrote it; not changed.
        identity: the task-instance try that the fleet belongs to.
        mix: ratio and base; every pool that it names must be in ``pools``.
        pools: the pools of the fleet.
        namespace: where it runs.
        placement: how the mix is enforced.
        backend: which custom resource runs it.
        policy: how patient the controller is; by default that of `Policy`.
        prices: of the pools; without them no costs are told.
        object_labels: further labels of the application and its pods.
        name: base of the application's name; by default the manifest's.
        keep: whether a person wants to keep the applications when they are over.

    Raises:
        InvalidInputError: something in the input cannot be used; the message names field, value and remedy.

    """
    api, strategy = backend_named(backend), placement_named(placement)
    api.check(manifest)
    check_pools(mix, pools)
    api.check_selectors(manifest, pools)
    check_namespace(namespace)
    base = base_name(name, manifest)
    drafts = strategy.drafts(manifest)
    check_base(mix, [api.executor_count(draft.manifest) for draft in drafts])
    names = [application_name(base + draft.suffix, identity) for draft in drafts]
    spec = FleetSpec(
        fleet_id=identity.fleet_id,
        namespace=namespace,
        applications=tuple(_application(api, draft, app_name) for draft, app_name in zip(drafts, names, strict=True)),
        mix=mix,
        pools=pools,
        policy=policy or Policy(),
        prices=prices,
        placement=placement,
        backend=backend,
    )
    annotations = _annotations(identity, keep=keep)
    rendered = tuple(
        api.render(draft.manifest, _overlay(draft, app, spec, annotations, object_labels or {}))
        for draft, app in zip(drafts, spec.applications, strict=True)
    )
    return FleetPlan(spec=spec, applications=rendered)


def _application(api: Backend, draft: Draft, name: str) -> ApplicationSpec:
    count, request = api.executor_count(draft.manifest), api.executor_request(draft.manifest)
    return ApplicationSpec(
        name=name,
        executors=count.initial,
        dynamic=count.dynamic,
        cores=request.cores,
        memory_gib=request.memory_gib,
    )


def _annotations(identity: Identity, *, keep: bool) -> dict[str, str]:
    """Whose it is, for whoever looks at the object: a later try, a sweep, a person."""
    found = {labels.IDENTITY: identity.text, labels.MANAGED_BY: labels.MANAGER}
    if identity.task:
        found[labels.TASK] = identity.task.text
    if keep:
        found[labels.KEEP] = "true"
    return found


def _overlay(
    draft: Draft,
    app: ApplicationSpec,
    spec: FleetSpec,
    annotations: dict[str, str],
    object_labels: Mapping[str, str],
) -> Overlay:
    grace_seconds = spark_conf.grace_seconds(spec.pools)
    return Overlay(
        name=app.name,
        namespace=spec.namespace,
        labels={**object_labels, labels.FLEET: spec.fleet_id, labels.APPLICATION: app.name},
        annotations=annotations,
        executor_gates=draft.executor_gates,
        driver_pool=spec.pool(spec.fallback_pool),
        spark_conf=spark_conf.for_spot(app.executors, grace_seconds),
        grace_seconds=grace_seconds,
    )
