"""Everything that a fleet is run with, chosen between argument, connection, ``[spotmix]`` config and default, and read.

A nested value (``pools``, ``policy``, ``prices``) may be JSON text: a URI, a form and a configuration file know nothing
else.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model, model_validator

from airflow_provider_spotmix.core.cost import Price, Prices
from airflow_provider_spotmix.core.errors import InvalidInputError, at, shown
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.hooks.ratio import parse_mix
from airflow_provider_spotmix.hooks.settings import (
    ARGUMENT,
    CONFIG,
    CONNECTION,
    DEFAULT,
    DEFAULTS,
    read_controller,
    read_pools,
    resolve,
)

ARGUMENTS = (*DEFAULTS, "policy")  # what a task can say itself
OPTIONS = (*ARGUMENTS, "prices", "currency")  # what connection and configuration can
_MAX_PRICE = 1_000_000
_MAX_TOLD = 3  # of what is wrong at once

_Model = TypeVar("_Model", bound=BaseModel)
_Sources = tuple[tuple[str, Mapping[str, Any]], ...]


class Chosen(NamedTuple):
    """What a fleet is run with. ``origins``: each setting's value and where it is from, to be told."""

    mix: Mix
    pools: tuple[Pool, ...]
    placement: str
    controller: str
    policy: Policy
    prices: Prices | None
    origins: dict[str, tuple[Any, str]]


def choose(argument: Mapping[str, Any], connection: Mapping[str, Any], config: Mapping[str, Any]) -> Chosen:
    """Choose between the sources; the first that has a value wins, for ``policy`` the first that has that key.

    Raises:
        InvalidInputError: a value cannot be used; the message names setting, source and remedy.

    """
    sources = ((ARGUMENT, argument), (CONNECTION, connection), (CONFIG, config))
    found = resolve(argument, connection, config)
    pools = read_pools(found["pools"][0])
    policy = _policy(sources)
    prices = _prices(sources)
    origins = found | {f"policy.{name}": each for name, each in policy.items()}
    if prices:
        origins["prices"] = (_summary(prices[0], pools), prices[1])
    return Chosen(
        mix=parse_mix(found["ratio"][0], found["on_demand_base"][0], pools),
        pools=pools,
        placement=found["placement"][0],
        controller=read_controller(found["controller"][0]),
        policy=Policy(**{name: value for name, (value, _) in policy.items()}),
        prices=prices[0] if prices else None,
        origins=origins,
    )


def _summary(prices: Prices, pools: tuple[Pool, ...]) -> str:
    told = f"of {', '.join(prices.by_pool)} in {prices.currency}"
    unpriced = [pool.name for pool in pools if pool.name not in prices.by_pool]
    return f"{told}, but not of {', '.join(unpriced)}: there will be no costs" if unpriced else told


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not a flag")  # noqa: TRY004 - what pydantic expects
    return value


_STRICT = ConfigDict(extra="forbid", frozen=True)
_Seconds = Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
_Amount = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=_MAX_PRICE, max_digits=18)]
_TYPES: dict[Any, Any] = {float: _Seconds, int: _Count}
# Made of the policy's own fields, so that a new one is a setting at once.
PolicyModel: type[BaseModel] = create_model(
    "PolicyModel",
    __config__=_STRICT,
    **{  # type: ignore[call-overload]
        each.name: (_TYPES.get(each.type, each.type) | None, None) for each in msgspec.structs.fields(Policy)
    },
)


class PriceModel(BaseModel):
    """A pool's price, as a person writes it."""

    model_config = _STRICT

    core_hour: _Amount = Decimal(0)
    gib_hour: _Amount = Decimal(0)
    executor_hour: _Amount = Decimal(0)

    @model_validator(mode="after")
    def _is_given(self) -> PriceModel:
        if not self.model_fields_set:
            raise ValueError("give core_hour and gib_hour, or executor_hour")
        return self


class PricesModel(BaseModel):
    """Prices by pool and their currency, as a person writes them."""

    model_config = _STRICT

    prices: Annotated[dict[str, PriceModel], Field(min_length=1)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"


def _policy(sources: _Sources) -> dict[str, tuple[Any, str]]:
    """Choose every field of the policy, and name its source."""
    read = [
        (origin, _read(PolicyModel, _mapping("policy", source["policy"], origin), "policy", origin))
        for origin, source in sources
        if source.get("policy") is not None
    ]
    given = [(origin, model.model_dump(exclude_none=True)) for origin, model in read]
    given.append((DEFAULT, {each.name: each.default for each in msgspec.structs.fields(Policy)}))
    return {
        each.name: next((values[each.name], origin) for origin, values in given if each.name in values)
        for each in msgspec.structs.fields(Policy)
    }


def _prices(sources: _Sources) -> tuple[Prices, str] | None:
    """Choose the prices, with the currency of the same source: amounts without their currency mean nothing."""
    for origin, source in sources:
        if source.get("prices") is None:
            continue
        given = {"prices": _mapping("prices", source["prices"], origin)}
        if source.get("currency") is not None:
            given["currency"] = source["currency"]
        model = _read(PricesModel, given, "prices", origin)
        by_pool = {pool: Price(**price.model_dump()) for pool, price in model.prices.items()}
        return Prices(by_pool=by_pool, currency=model.currency), origin
    return None


def _mapping(field: str, value: Any, origin: str) -> Mapping[str, Any]:
    found = value
    if isinstance(value, str):
        try:
            found = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, Mapping):
        raise InvalidInputError(f"{field} (from {origin}) is no mapping; give one, or a JSON object as text")
    return found


def _read(model: type[_Model], given: Mapping[str, Any], field: str, origin: str) -> _Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        told = [_told(each, field, secret=origin == CONNECTION) for each in error.errors()]
        more = f"; and {len(told) - _MAX_TOLD} more" if len(told) > _MAX_TOLD else ""
        raise InvalidInputError(f"{'; '.join(told[:_MAX_TOLD])}{more} (from {origin})") from None


def _told(error: Any, field: str, *, secret: bool) -> str:
    """Say what is wrong with which value; not the value, where somebody may have put a secret into the wrong field."""
    path: list[str] = list(error["loc"])
    where = functools.reduce(at, path, "" if path[:1] in (["prices"], ["currency"]) else field)
    if error["type"] == "extra_forbidden":
        known = PolicyModel.model_fields if field == "policy" else PriceModel.model_fields
        return f"unknown field {where}; known: {', '.join(known)}"
    what = "" if secret else f" is {shown(error['input'])}"
    return f"{where}{what}: {error['msg'].removeprefix('Value error, ')}"
