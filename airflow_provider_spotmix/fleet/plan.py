"""From a person's application to what is submitted. Pure: everything wrong with the input is found here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_spotmix.backends import backend as backend_named
from airflow_provider_spotmix.backends.base import Backend
from airflow_provider_spotmix.core.cost import Prices
from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.mix import Mix, whole_weights
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.core.spec import AGENT, AIRFLOW, ApplicationSpec, FleetSpec
from airflow_provider_spotmix.fleet.checks import (
    base_name,
    check_base,
    check_groups,
    check_namespace,
    check_policy,
    check_pools,
    check_quorum,
)
from airflow_provider_spotmix.manifests import labels, spark_conf
from airflow_provider_spotmix.manifests.identity import GroupNames, Identity, application_name, own_suffix
from airflow_provider_spotmix.manifests.overlay import Overlay
from airflow_provider_spotmix.manifests.part import ExecutorCount
from airflow_provider_spotmix.placements import placement as placement_named
from airflow_provider_spotmix.placements.base import Draft, Groups


class FleetPlan(Struct, frozen=True, kw_only=True):
    """What to submit, and the spec by which it is then looked after.

    ``added``: Spark properties that the first application gets; ``kept``: those that it would, but a person set them.
    """

    spec: FleetSpec
    applications: tuple[dict[str, Any], ...]
    added: dict[str, str] = {}
    kept: dict[str, str] = {}


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
    is_name_unique: bool = True,
    groups: Groups = None,
    quorum: int = 0,
    controller: str = AIRFLOW,
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
        is_name_unique: whether names get a suffix that no other fleet's have.
        groups: for placement ``groups``, how many or which; by default one for each pool of the mix.
        quorum: how many groups have to succeed; 0 for all.
        controller: who looks after it.

    Raises:
        InvalidInputError: something in the input cannot be used; the message names field, value and remedy.

    """
    api, strategy = backend_named(backend), placement_named(placement)
    api.check(manifest)
    check_pools(mix, pools)
    api.check_selectors(manifest, pools)
    check_namespace(namespace)
    base = base_name(name, manifest)
    count = api.executor_count(manifest)
    if isinstance(groups, tuple):
        check_groups(groups, pools)
    else:
        check_base(mix, count)
    check_policy(policy or Policy(), placement)
    drafts = strategy.drafts(count, mix, groups)
    check_quorum(quorum, len(drafts))
    manifests = [_manifest(api, draft, manifest, pools) for draft in drafts]
    spec = FleetSpec(
        fleet_id=identity.fleet_id,
        namespace=namespace,
        applications=tuple(
            _first_attempt(api, draft, each, application_name(base, identity, draft.suffix, is_unique=is_name_unique))
            for draft, each in zip(drafts, manifests, strict=True)
        ),
        mix=_mix_of(drafts, mix) if isinstance(groups, tuple) else mix,
        pools=pools,
        policy=policy or Policy(),
        prices=prices,
        placement=placement,
        backend=backend,
        quorum=quorum,
        identity=identity.text,
        controller=controller,
    )
    complete = _with_second_attempts(spec, drafts, base, identity, is_name_unique=is_name_unique)
    annotations = _annotations(identity, complete, keep=keep)
    annotations[labels.INPUT] = _digest(manifest, base, spec.mix, pools, namespace, placement, backend, groups, quorum)
    if controller == AGENT:
        annotations[labels.INPUT] += f"-{AGENT}"  # one that nobody's trigger looks after is not the same
        annotations[labels.PLAN] = msgspec.json.encode(complete).decode()
    overlays = [
        _overlay(
            draft,
            app,
            spec,
            annotations,
            object_labels or {},
            most=_most(api.executor_count(each)),
            spark_version=api.spark_version(each),
        )
        for each, draft, app in zip(manifests, drafts, spec.applications, strict=True)
    ]
    rendered = tuple(api.render(each, overlay) for each, overlay in zip(manifests, overlays, strict=True))
    given = api.properties(manifests[0])
    return FleetPlan(
        spec=complete,
        applications=rendered,
        added={name: value for name, value in api.properties(rendered[0]).items() if name not in given},
        kept={name: given[name] for name in overlays[0].spark_conf if name in given},
    )


def of_fleet(spec: FleetSpec, fleet_id: str) -> FleetSpec:
    """The same for another fleet's applications, which were planned from the same input."""

    def renamed(name: str) -> str:
        base = name.removesuffix(own_suffix(spec.fleet_id))
        return base if base == name else base + own_suffix(fleet_id)

    applications = (replace(app, name=renamed(app.name), replaces=renamed(app.replaces)) for app in spec.applications)
    return replace(spec, fleet_id=fleet_id, applications=tuple(applications))


def _digest(*given: object) -> str:
    """Tells whether two tries would submit the same. What changes from try to try (labels, identity) is no part."""
    text = json.dumps(msgspec.to_builtins(given), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _most(count: ExecutorCount) -> int | None:
    """How many executors there may be at once; None when nothing limits them."""
    return count.maximum if count.dynamic else count.initial


def _first_attempt(api: Backend, draft: Draft, manifest: Mapping[str, Any], name: str) -> ApplicationSpec:
    count, request, part = api.executor_count(manifest), api.executor_request(manifest), draft.part
    return ApplicationSpec(
        name=name,
        executors=count.initial,
        dynamic=count.dynamic,
        cores=request.cores,
        memory_gib=request.memory_gib,
        pool=draft.pool,
        group=part.name if part else "",
    )


def _with_second_attempts(
    spec: FleetSpec, drafts: Sequence[Draft], base: str, identity: Identity, *, is_name_unique: bool
) -> FleetSpec:
    """List what may take the place of the groups on spot, so that nobody who deletes the fleet has to look for it."""
    second = tuple(
        replace(
            first,
            name=application_name(base, identity, f"{draft.suffix}r", is_unique=is_name_unique),
            pool=spec.fallback_pool,
            replaces=first.name,
        )
        for draft, first in zip(drafts, spec.applications, strict=True)
        if spec.is_spot(first.pool)
    )
    return replace(spec, applications=(*spec.applications, *second))


def _mix_of(drafts: Sequence[Draft], mix: Mix) -> Mix:
    """What groups that name their pools come to: there is no ratio but theirs."""
    executors = {
        share.pool: sum(draft.part.executors for draft in drafts if draft.part and draft.pool == share.pool)
        for share in mix.shares
    }
    weights = whole_weights({pool: Fraction(count) for pool, count in executors.items()})
    shares = tuple(replace(share, weight=weights[share.pool]) for share in mix.shares)
    return replace(mix, shares=shares, on_demand_base=0)


def _manifest(api: Backend, draft: Draft, manifest: Mapping[str, Any], pools: Sequence[Pool]) -> Mapping[str, Any]:
    """The application of a draft, with whatever is wrong with it."""
    if draft.part is None:
        return manifest
    try:
        part = api.part(manifest, draft.part)
        api.check_selectors(part, pools)
    except InvalidInputError as error:
        raise InvalidInputError(f"group {draft.part.name!r}: {error}") from None
    return part


def _annotations(identity: Identity, spec: FleetSpec, *, keep: bool) -> dict[str, str]:
    """Whose it is, for whoever looks at the object: a later try, a sweep, a person."""
    found = {labels.IDENTITY: identity.text, labels.MANAGED_BY: labels.MANAGER}
    if identity.task:
        found[labels.TASK] = identity.task.text
    if keep:
        found[labels.KEEP] = "true"
    if any(app.group for app in spec.applications):
        second = {app.replaces: (app.name,) for app in spec.applications if app.replaces}
        attempts = tuple((app.name, *second.get(app.name, ())) for app in spec.applications if not app.replaces)
        found[labels.GROUPS] = GroupNames(attempts=attempts, quorum=spec.quorum).text
    return found


def _overlay(
    draft: Draft,
    app: ApplicationSpec,
    spec: FleetSpec,
    annotations: dict[str, str],
    object_labels: Mapping[str, str],
    *,
    most: int | None,
    spark_version: str,
) -> Overlay:
    grace_seconds = spark_conf.grace_seconds(spec.pools)
    return Overlay(
        name=app.name,
        namespace=spec.namespace,
        labels={**object_labels, labels.FLEET: spec.fleet_id, labels.APPLICATION: app.name},
        annotations=annotations,
        executor_gates=draft.executor_gates,
        executor_pool=spec.pool(draft.pool) if draft.pool else None,
        driver_pool=spec.pool(spec.fallback_pool),
        spark_conf=spark_conf.for_spot(most, grace_seconds, spark_version),
        grace_seconds=grace_seconds,
    )
