"""What a fleet is run with, and where each value came from: argument, connection, ``[spotmix]`` config, default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_spotmix.core.errors import InvalidInputError
from airflow_provider_spotmix.core.pools import PRESETS, CapacityType, NodeRequirement, Pool, Toleration

DEFAULTS: dict[str, Any] = {
    "ratio": "40:60",
    "on_demand_base": 0,
    "placement": "template",
    "pools": "karpenter",
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


class SpotmixExtra(_Strict):
    """Extra of a connection of type ``spotmix``.

    Either ``kubernetes_conn_id`` names a connection of type ``kubernetes``, or this one carries that type's own fields.
    """

    kubernetes_conn_id: str | None = None
    in_cluster: bool | None = None
    kube_config_path: str | None = None
    kube_config: str | dict[str, Any] | None = Field(default=None, repr=False)
    cluster_context: str | None = None
    disable_verify_ssl: bool | None = None
    namespace: str | None = None
    ratio: str | float | dict[str, float | str] | None = None
    on_demand_base: int | None = Field(default=None, ge=0)
    placement: str | None = None
    pools: str | list[PoolModel] | None = None


def read_extra(extra: Mapping[str, Any], conn_id: str) -> SpotmixExtra:
    """Validate a connection's extra; empty form fields count as not given.

    Raises:
        InvalidInputError: a field is unknown or has a value that it cannot have. Values are not repeated: they may be
            secret.

    """
    given = {key: value for key, value in extra.items() if value not in (None, "")}
    try:
        return SpotmixExtra.model_validate(given)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        known = ", ".join(SpotmixExtra.model_fields)
        raise InvalidInputError(f"connection {conn_id!r}: {said} (known fields: {known})") from None


def read_pools(value: Any) -> tuple[Pool, ...]:
    """Read pools: the name of a preset, or a list of pools.

    Raises:
        InvalidInputError: no such preset, a field is wrong, or two pools have one name.

    """
    if isinstance(value, str):
        if value not in PRESETS:
            raise InvalidInputError(f"pools is {value!r}; presets: {', '.join(PRESETS)}; or give a list of pools")
        return PRESETS[value]
    try:
        pools = tuple(PoolModel.model_validate(each).to_pool() for each in value)
    except TypeError:
        raise InvalidInputError(f"pools is {value!r}; give the name of a preset or a list of pools") from None
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise InvalidInputError(f"pools: {said}") from None
    names = [pool.name for pool in pools]
    if len(set(names)) != len(names) or not names:
        raise InvalidInputError(f"pools are named {', '.join(names) or 'not at all'}; give each its own name")
    return pools


def resolve(
    argument: Mapping[str, Any], connection: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """Choose each setting's value: the first source that has one, and its name."""
    sources = (("argument", argument), ("connection", connection), ("[spotmix] config", config), ("default", DEFAULTS))
    return {
        name: next((source[name], origin) for origin, source in sources if source.get(name) is not None)
        for name in DEFAULTS
    }
