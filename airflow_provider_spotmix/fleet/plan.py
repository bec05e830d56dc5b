"""From a person's application to what is submitted. Pure: everything wrong with the input is found here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from airflow_provider_spotmix.backends import backend as backend_named
from airflow_provider_spotmix.backends.base import Backend
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import CapacityType, Pool
from airflow_provider_spotmix.core.spec import ApplicationSpec, FleetSpec
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
    object_labels: Mapping[str, str] | None = None,
    name: str | None = None,
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
        object_labels: further labels of the application and its pods.
        name: base of the application's name; by default the manifest's.

    Raises:
        InvalidInputError: something in the input cannot be used; the message names field, value and remedy.

    """
    api, strategy = backend_named(backend), placement_named(placement)
    api.check(manifest)
    _check_pools(mix, pools)
    _check_selectors(manifest, pools)
    base = name or (manifest.get("metadata") or {}).get("name")
    if not isinstance(base, str) or not base:
        raise InvalidInputError("the application has no name; set metadata.name or the argument 'name'")
    drafts = strategy.drafts(manifest)
    names = [application_name(base + draft.suffix, identity) for draft in drafts]
    spec = FleetSpec(
        fleet_id=identity.fleet_id,
        namespace=namespace,
        applications=tuple(_application(api, draft, app_name) for draft, app_name in zip(drafts, names, strict=True)),
        mix=mix,
        pools=pools,
        policy=policy or Policy(),
        placement=placement,
        backend=backend,
    )
    rendered = tuple(
        api.render(draft.manifest, _overlay(draft, app, spec, identity, object_labels or {}))
        for draft, app in zip(drafts, spec.applications, strict=True)
    )
    return FleetPlan(spec=spec, applications=rendered)


def _application(api: Backend, draft: Draft, name: str) -> ApplicationSpec:
    count = api.executor_count(draft.manifest)
    return ApplicationSpec(name=name, executors=count.initial, dynamic=count.dynamic)


def _overlay(
    draft: Draft, app: ApplicationSpec, spec: FleetSpec, identity: Identity, object_labels: Mapping[str, str]
) -> Overlay:
    return Overlay(
        name=app.name,
        namespace=spec.namespace,
        labels={**object_labels, labels.FLEET: spec.fleet_id, labels.APPLICATION: app.name},
        annotations={labels.IDENTITY: identity.text, labels.MANAGED_BY: labels.MANAGER},
        executor_gates=draft.executor_gates,
        driver_pool=spec.pool(spec.fallback_pool),
        spark_conf=spark_conf.for_spot(app.executors),
    )


def _check_pools(mix: Mix, pools: tuple[Pool, ...]) -> None:
    names = [pool.name for pool in pools]
    wanted = [share.pool for share in mix.shares] + ([mix.base_pool] if mix.on_demand_base else [])
    for wants in wanted:
        if wants not in names:
            raise InvalidInputError(f"unknown pool {wants!r} in ratio; pools: {', '.join(names)}")
    if not any(pool.capacity_type is CapacityType.ON_DEMAND for pool in pools):
        raise InvalidInputError(
            f"no pool is on-demand (pools: {', '.join(names)}); the driver and fallbacks need one, add it"
        )


def _check_selectors(manifest: Mapping[str, Any], pools: tuple[Pool, ...]) -> None:
    """An executor selector on a pool's own key would make half of the placements impossible."""
    executor = manifest["spec"]["executor"]
    template = (executor.get("template") or {}).get("spec") or {}
    keys = {key for pool in pools for key in pool.node_selector}
    for field, selector in (
        ("spec.executor.nodeSelector", executor.get("nodeSelector") or {}),
        ("spec.executor.template.spec.nodeSelector", template.get("nodeSelector") or {}),
    ):
        for key in sorted(keys & set(selector)):
            raise InvalidInputError(f"{field} has {key}={selector[key]}, which the mix decides; remove the key")
