"""Everything that a fleet is run with, chosen between argument, connection, ``[spotmix]`` config and default, and read.

A nested value (``pools``, ``policy``, ``prices``) may be JSON text: a URI, a form and a configuration file know nothing
else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from pydantic import BaseModel, BeforeValidator, Field, create_model

from airflow_provider_spotmix.core.cost import Prices
from airflow_provider_spotmix.core.errors import shown
from airflow_provider_spotmix.core.mix import Mix
from airflow_provider_spotmix.core.policy import Policy
from airflow_provider_spotmix.core.pools import Pool
from airflow_provider_spotmix.hooks.models import STRICT, mapping, number, read_model
from airflow_provider_spotmix.hooks.prices import FILE, GIVEN, OWN, Own, ask, source
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
OPTIONS = (*ARGUMENTS, GIVEN, "currency", FILE, OWN)  # what the configuration can; a connection all but the last
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


def choose(
    argument: Mapping[str, Any],
    connection: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    priced: bool = True,
    now: dt.datetime | None = None,
) -> Chosen:
    """Choose between the sources; the first that has a value wins, for ``policy`` the first that has that key.

    Args:
        argument: of the task.
        connection: its fields.
        config: options of ``[spotmix]``.
        priced: whether prices are wanted.
        now: the time of which prices are wanted; by default the present.

    Raises:
        InvalidInputError: a value cannot be used; the message names setting, source and remedy.

    """
    sources = ((ARGUMENT, argument), (CONNECTION, connection), (CONFIG, config))
    found = resolve(argument, connection, config)
    pools = read_pools(found["pools"][0])
    policy = _policy(sources)
    prices = _prices(sources, pools, now or dt.datetime.now(dt.UTC)) if priced else None
    origins = found | {f"policy.{name}": each for name, each in policy.items()}
    if prices:
        origins["prices"] = prices[1:]
    return Chosen(
        mix=parse_mix(found["ratio"][0], found["on_demand_base"][0], pools),
        pools=pools,
        placement=found["placement"][0],
        controller=read_controller(found["controller"][0]),
        policy=Policy(**{name: value for name, (value, _) in policy.items()}),
        prices=prices[0] if prices else None,
        origins=origins,
    )


_Seconds = Annotated[float, BeforeValidator(number), Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, BeforeValidator(number), Field(ge=0)]
_TYPES: dict[Any, Any] = {float: _Seconds, int: _Count}
# Made of the policy's own fields, so that a new one is a setting at once.
PolicyModel: type[BaseModel] = create_model(
    "PolicyModel",
    __config__=STRICT,
    **{  # type: ignore[call-overload]
        each.name: (_TYPES.get(each.type, each.type) | None, None) for each in msgspec.structs.fields(Policy)
    },
)


def _policy(sources: _Sources) -> dict[str, tuple[Any, str]]:
    """Choose every field of the policy, and name its source."""
    read = [
        (origin, _read_policy(settings["policy"], origin))
        for origin, settings in sources
        if settings.get("policy") is not None
    ]
    given = [(origin, model.model_dump(exclude_none=True)) for origin, model in read]
    given.append((DEFAULT, {each.name: each.default for each in msgspec.structs.fields(Policy)}))
    return {
        each.name: next((values[each.name], origin) for origin, values in given if each.name in values)
        for each in msgspec.structs.fields(Policy)
    }


def _read_policy(value: Any, origin: str) -> BaseModel:
    given = mapping("policy", value, origin)
    return read_model(PolicyModel, given, field="policy", origin=origin, known=lambda _: PolicyModel.model_fields)


def _prices(sources: _Sources, pools: tuple[Pool, ...], now: dt.datetime) -> tuple[Prices | None, str, str] | None:
    """Ask the first source of prices that is named. Returns them, what to tell of them, and who that was.

    What a person wrote has to be right. That a class of somebody's own does not know is told: no task fails for it.
    """
    named = (source(settings, origin) for origin, settings in sources)
    asked = next((each for each in named if each), None)
    if asked is None:
        return None
    names = [pool.name for pool in pools]
    try:
        prices = ask(asked, names, now)
    except Exception as error:
        if not isinstance(asked, Own):
            raise
        why = f"{type(error).__name__}: {shown(str(error))}"
        return None, f"not known, so there will be no costs: {why}", asked.name
    return prices, _summary(prices, names), asked.name


def _summary(prices: Prices, pools: Sequence[str]) -> str:
    told = f"of {', '.join(prices.by_pool)} in {prices.currency}"
    unpriced = [pool for pool in pools if pool not in prices.by_pool]
    return f"{told}, but not of {', '.join(unpriced)}: there will be no costs" if unpriced else told
