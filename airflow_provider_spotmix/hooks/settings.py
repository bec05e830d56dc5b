"""What a fleet is run with, and where each value came from: argument, connection, ``[spotmix]`` config, default."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_spotmix.core.errors import MAX_SHOWN, InvalidInputError, at, listed, shown
from airflow_provider_spotmix.core.pools import PRESETS, CapacityType, NodeRequirement, Pool, Toleration
from airflow_provider_spotmix.core.spec import AIRFLOW, CONTROLLERS

_Extra = TypeVar("_Extra", bound="_ClusterExtra")

_MAX_SAID = 3  # of what is wrong at once

# Where a value is from, as the task's log tells it.
ARGUMENT, CONNECTION, CONFIG, DEFAULT = "argument", "connection", "[spotmix] config", "default"
DEFAULTS: dict[str, Any] = {
    "ratio": "40:60",
    "on_demand_base": 0,
    "placement": "template",
    "pools": "karpenter",
    "controller": AIRFLOW,
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TolerationModel(_Strict):
    """A toleration, in Kubernetes' own field names."""

    key: str
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class NodeRequirementModel(_Strict):
    """A node affinity expression, in Kubernetes' own field names."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[str, ...] = ()


class PoolModel(_Strict):
    """A pool, as a person writes it."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    capacity_type: CapacityType
    node_selector: dict[str, str] = {}
    node_requirements: tuple[NodeRequirementModel, ...] = ()
    tolerations: tuple[TolerationModel, ...] = ()

    def to_pool(self) -> Pool:
        """Return what the core works with."""
        if not self.node_selector and not self.node_requirements:
            raise InvalidInputError(
                f"pool {self.name!r} selects no nodes; give it a node_selector or node_requirements, or its executors"
                " may land anywhere"
            )
        return Pool(
            name=self.name,
            capacity_type=self.capacity_type,
            node_selector=self.node_selector,
            node_requirements=tuple(NodeRequirement(**r.model_dump()) for r in self.node_requirements),
            tolerations=tuple(Toleration(**t.model_dump()) for t in self.tolerations),
        )


class _ClusterExtra(BaseModel):
    """Fields that say where a cluster is; named and meant as those of a connection of type ``kubernetes``.

    Text is enough everywhere ("true", "1"): a URI, a form and an environment variable know nothing else.
    """

    in_cluster: bool | None = None
    kube_config_path: str | None = None
    kube_config: str | dict[str, Any] | None = Field(default=None, repr=False)
    cluster_context: str | None = None
    disable_verify_ssl: bool | None = None
    namespace: str | None = None


class KubernetesExtra(_ClusterExtra):
    """What we need of the extra of a connection of type ``kubernetes``; the rest is none of our business."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class SpotmixExtra(_ClusterExtra):
    """Extra of a connection of type ``spotmix``.

    Either ``kubernetes_conn_id`` names a connection of type ``kubernetes``, or this one carries that type's own fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kubernetes_conn_id: str | None = None
    # What these two may be depends on each other: `check` reads them, and every plan does.
    ratio: Any = None
    on_demand_base: int | None = Field(default=None, ge=0)
    placement: str | None = None
    pools: Any = None
    controller: str | None = None
    # Read by `choice.choose`, as those of the other sources are.
    policy: Any = None
    prices: Any = None
    currency: str | None = None
    price_file: str | None = None


def read_extra(extra: Mapping[str, Any], conn_id: str) -> SpotmixExtra:
    """Validate a connection's extra; empty form fields count as not given.

    Raises:
        InvalidInputError: a field is unknown or has a value that it cannot have. Values are not repeated: they may be
            secret.

    """
    return _read(SpotmixExtra, extra, conn_id)


def read_kubernetes_extra(extra: Mapping[str, Any], conn_id: str) -> KubernetesExtra:
    """Read the extra of a connection of type ``kubernetes``. Old ones carry their type's prefix.

    Raises:
        InvalidInputError: a field has a value that it cannot have. Values are not repeated: they may be secret.

    """
    prefix = "extra__kubernetes__"
    old = {name.removeprefix(prefix): value for name, value in extra.items() if name.startswith(prefix)}
    return _read(KubernetesExtra, {**old, **extra}, conn_id)


def _read(model: type[_Extra], extra: Mapping[str, Any], conn_id: str) -> _Extra:
    given = {key: value for key, value in extra.items() if value not in (None, "")}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        known = ", ".join(model.model_fields)
        raise InvalidInputError(f"connection {conn_id!r}: {_said(error)} (known fields: {known})") from None


def _said(error: ValidationError) -> str:
    """Tell what is wrong with which field, but not its value."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return _first_few({".".join(str(part)[:MAX_SHOWN] for part in e["loc"]) or "value": e["msg"] for e in errors})


def _first_few(said: Mapping[str, str]) -> str:
    more = [f"and {len(said) - _MAX_SAID} more"] if len(said) > _MAX_SAID else []
    return "; ".join([f"{field}: {message}" for field, message in said.items()][:_MAX_SAID] + more)


def read_pools(value: Any) -> tuple[Pool, ...]:
    """Read pools: the name of a preset, or a list of pools.

    Raises:
        InvalidInputError: no such preset, a field is wrong, or two pools have one name.

    """
    value = _list_in_text(value)
    if isinstance(value, str):
        if value not in PRESETS:
            raise InvalidInputError(f"pools is {shown(value)}; presets: {', '.join(PRESETS)}; or give a list of pools")
        return PRESETS[value]
    if not isinstance(value, Sequence):
        raise InvalidInputError(f"pools is {shown(value)}; give the name of a preset or a list of pools")
    pools = tuple(_read_pool(each, at("pools", number)) for number, each in enumerate(value))
    names = [pool.name for pool in pools]
    if not names:
        raise InvalidInputError("pools is an empty list; give at least one spot and one on-demand pool, or a preset")
    if len(set(names)) != len(names):
        raise InvalidInputError(f"pools are named {listed(names)}; give each its own name")
    return pools


def _read_pool(value: Any, field: str) -> Pool:
    try:
        return PoolModel.model_validate(value).to_pool()
    except ValidationError as error:
        said = {}
        for each in error.errors(include_url=False, include_context=False):
            path = functools.reduce(at, each["loc"], field)
            given = "" if each["type"] == "missing" else f" is {shown(each['input'], path)}"
            said[f"{path}{given}"] = each["msg"]
        raise InvalidInputError(_first_few(said)) from None


def read_controller(value: Any) -> str:
    """Read who looks after the fleet.

    Raises:
        InvalidInputError: it is nobody of whom we know.

    """
    if value not in CONTROLLERS:
        raise InvalidInputError(f"controller is {shown(value)}; give one of {', '.join(CONTROLLERS)}")
    return str(value)


def _list_in_text(value: Any) -> Any:
    """A URI, a form and a configuration file know only text: what begins like a JSON list is one."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"pools looks like a list but is no JSON ({error}); fix it or name a preset") from None


def resolve(
    argument: Mapping[str, Any], connection: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """Choose each setting's value: the first source that has one, and its name."""
    sources = ((ARGUMENT, argument), (CONNECTION, connection), (CONFIG, config), (DEFAULT, DEFAULTS))
    return {
        name: next((source[name], origin) for origin, source in sources if source.get(name) is not None)
        for name in DEFAULTS
    }
