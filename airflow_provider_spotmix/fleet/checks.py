"""What is refused of a fleet's pools, base, name and namespace, before anything is submitted. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_spotmix.core.errors import InvalidInputError, listed, shown
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import CapacityType, NodeRequirement, Pool, Toleration
from airflow_provider_spotmix.manifests.identity import VALID_NAME
from airflow_provider_spotmix.manifests.part import ExecutorCount
from airflow_provider_spotmix.manifests.syntax import wrong_dns_label, wrong_label_key, wrong_label_value
from airflow_provider_spotmix.placements.base import Group
from airflow_provider_spotmix.placements.template import Template

MAX_NAME = 253  # of any object in Kubernetes
_EFFECTS = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
_OPERATORS = {
    "In": "one or more",
    "NotIn": "one or more",
    "Exists": "no",
    "DoesNotExist": "no",
    "Gt": "one whole-number",
}
_OPERATORS["Lt"] = _OPERATORS["Gt"]


def base_name(name: object, manifest: Mapping[str, Any]) -> str:
    """Base of the application's name: the argument, or the manifest's.

    Raises:
        InvalidInputError: there is none, or it is no DNS-1035 label but for its length; the operators refuse those.

    """
    field, base = ("name", name) if name else ("metadata.name", (manifest.get("metadata") or {}).get("name"))
    if base in (None, ""):
        raise InvalidInputError("the application has no name; set metadata.name or the argument 'name'")
    if not isinstance(base, str) or not VALID_NAME.fullmatch(base):
        raise InvalidInputError(
            f"{field} is {shown(base)}, no valid application name: write lower-case letters, digits and '-', starting"
            " with a letter, ending with a letter or digit"
        )
    if len(base) > MAX_NAME:
        raise InvalidInputError(f"{field} is {shown(base)}, {len(base)} characters long; shorten it to {MAX_NAME}")
    return base


def check_namespace(namespace: object) -> None:
    """Refuse what can be no namespace.

    Raises:
        InvalidInputError: so it is.

    """
    if not isinstance(namespace, str) or wrong_dns_label(namespace):
        raise InvalidInputError(
            f"namespace is {shown(namespace)} (of the task, its application or the connection), which Kubernetes does"
            f" not take: {wrong_dns_label('')}"
        )


def check_base(mix: Mix, count: ExecutorCount) -> None:
    """Refuse a base that leaves nothing for the ratio, and cannot even be filled.

    Raises:
        InvalidInputError: the fleet never has so many executors.

    """
    most = count.maximum if count.dynamic else count.initial
    if most is not None and mix.on_demand_base > most:
        raise InvalidInputError(
            f"on_demand_base is {mix.on_demand_base}, but the fleet has at most {most} executors; lower the base, or"
            " raise the executors"
        )


def check_groups(groups: Sequence[Group], pools: Sequence[Pool]) -> None:
    """Refuse groups that could not be told apart, or put anywhere.

    Raises:
        InvalidInputError: there are none, or the message names the group, the field and the value.

    """
    names, known = [group.name for group in groups], [pool.name for pool in pools]
    if not names:
        raise InvalidInputError("groups is an empty list; give one or more, or leave it out for one group per pool")
    for group in groups:
        if not isinstance(group.name, str) or wrong_dns_label(group.name) or names.count(group.name) > 1:
            raise InvalidInputError(
                f"groups: name {shown(group.name)} of {listed(names)}: each needs its own name, up to 63 lower-case"
                " letters, digits and '-', starting and ending with a letter or digit"
            )
        if group.pool not in known:
            raise InvalidInputError(
                f"groups: {group.name!r} is on unknown pool {shown(group.pool)}; pools: {listed(known)}"
            )
        if group.weight < 1:
            raise InvalidInputError(f"groups: {group.name!r} has share {group.weight}; give it 1 or more")
        for key, value in group.node_selector.items():
            field = f"groups: {group.name!r}: node_selector"
            _valid(wrong_label_key(key), field, key)
            _valid(wrong_label_value(value), f"{field} {shown(key)}", value)


def check_policy(policy: Policy, placement: str) -> None:
    """Refuse what a placement whose executors are born on their pools cannot do.

    Raises:
        InvalidInputError: the policy asks for that.

    """
    if placement == Template.name:
        return
    defaults = Policy()
    for name in ("fallback", "active_return_seconds"):
        value = getattr(policy, name)
        if value != getattr(defaults, name):
            raise InvalidInputError(
                f"{name} is {shown(value)}, but executors of placement {placement!r} are born on their pool and never"
                f" change it; remove {name} (a group that starves is submitted again after group_lost_seconds), or set"
                " placement='template'"
            )


def check_quorum(quorum: int, groups: int) -> None:
    """Refuse a quorum that is none.

    Raises:
        InvalidInputError: there are not so many groups.

    """
    if not 0 <= quorum <= groups:
        raise InvalidInputError(
            f"success_policy is a quorum of {quorum}, but there {'are' if groups > 1 else 'is'} {groups}"
            f" group{'s' if groups > 1 else ''}; give 1 to {groups}, 'all' or 'any'"
        )


def check_pools(mix: Mix, pools: Sequence[Pool]) -> None:
    """Refuse pools that executors could not be put on, or not be told apart by.

    Raises:
        InvalidInputError: the message names the pool, the field and the value.

    """
    names = [pool.name for pool in pools]
    for pool in pools:
        _check_pool(pool, names)
    wanted = [share.pool for share in mix.shares] + ([mix.base_pool] if mix.base_pool else [])
    for wants in wanted:
        if wants not in names:
            raise InvalidInputError(f"unknown pool {shown(wants)} in ratio; pools: {listed(names)}")
    if not any(pool.capacity_type is CapacityType.ON_DEMAND for pool in pools):
        raise InvalidInputError(
            f"no pool is on-demand (pools: {listed(names)}); the driver and fallbacks need one, add it"
        )
    check_apart(pools)


def check_apart(pools: Sequence[Pool]) -> None:
    """Refuse spot and on-demand pools of the very same nodes.

    Raises:
        InvalidInputError: two pools are.

    """
    for number, pool in enumerate(pools):
        for other in pools[:number]:
            same = (pool.node_selector, pool.node_requirements) == (other.node_selector, other.node_requirements)
            if same and pool.capacity_type is not other.capacity_type:
                raise InvalidInputError(
                    f"pools {other.name!r} and {pool.name!r} select the same nodes, but one is spot and the other"
                    " on-demand; give each what tells its nodes apart"
                )


def _check_pool(pool: Pool, names: Sequence[str]) -> None:
    if not pool.name or wrong_label_value(pool.name) or names.count(pool.name) > 1:
        raise InvalidInputError(
            f"pool name {shown(pool.name)} of {listed(names)}: each needs its own name, which becomes a label of pods:"
            " up to 63 letters, digits, '-', '_' and '.', starting and ending with a letter or digit"
        )
    field = f"pool {pool.name!r}:"
    for key, value in pool.node_selector.items():
        _valid(wrong_label_key(key), f"{field} node_selector", key)
        _valid(wrong_label_value(value), f"{field} node_selector {shown(key)}", value)
    for requirement in pool.node_requirements:
        _check_requirement(requirement, f"{field} node_requirements")
    for toleration in pool.tolerations:
        _check_toleration(toleration, f"{field} tolerations")


def _check_requirement(requirement: NodeRequirement, field: str) -> None:
    operator, values = requirement.operator, requirement.values
    _valid(wrong_label_key(requirement.key), field, requirement.key)
    if operator not in _OPERATORS:
        raise InvalidInputError(f"{field} has operator {shown(operator)}; there are {', '.join(_OPERATORS)}")
    wanted = _OPERATORS[operator]
    number = len(values) == 1 and re.fullmatch(r"-?\d{1,18}", values[0], re.ASCII)
    if not {"no": not values, "one or more": bool(values)}.get(wanted, bool(number)):
        raise InvalidInputError(
            f"{field} has values {shown(values)} with operator {operator!r} on {shown(requirement.key)}; it takes"
            f" {wanted} value{'s' if wanted != 'one whole-number' else ''}"
        )
    for value in values:
        _valid("" if number else wrong_label_value(value), field, value)


def _check_toleration(toleration: Toleration, field: str) -> None:
    if toleration.operator not in ("Equal", "Exists") or toleration.effect not in _EFFECTS:
        raise InvalidInputError(
            f"{field} has operator {shown(toleration.operator)} and effect {shown(toleration.effect)}; operators are"
            f" Equal and Exists, effects NoSchedule, PreferNoSchedule and NoExecute, or none for all"
        )
    if toleration.operator == "Exists" and toleration.value:
        raise InvalidInputError(f"{field} has value {shown(toleration.value)} with operator 'Exists'; remove one")
    if toleration.key or toleration.operator == "Equal":
        _valid(wrong_label_key(toleration.key), field, toleration.key)
    _valid(wrong_label_value(toleration.value), field, toleration.value)


def _valid(wrong: str, field: str, found: str) -> None:
    if wrong:
        raise InvalidInputError(f"{field} has {shown(found)}, which Kubernetes does not take: {wrong}")
