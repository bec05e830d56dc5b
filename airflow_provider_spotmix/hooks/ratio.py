"""Read a person's ratio: exact arithmetic, and an error that names the value and the remedy for everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from airflow_provider_spotmix.core.errors import InvalidMixError, listed, shown
from airflow_provider_spotmix.core.mix import Mix, Share, whole_weights
from airflow_provider_spotmix.core.pools import Pool

_FORMS = 'write "40:60" (spot:on-demand), 0.4 (share on spot) or {"spot": 40, "on-demand": 60}'
_MAX_DIGITS = 30  # beyond this a ratio is a mistake, and exact arithmetic with it is slow
_MAX_WEIGHT = 2**63 - 1  # what a checkpoint can hold
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)
_MAX_BASE = 2**31 - 1


def parse_mix(ratio: Any, on_demand_base: Any, pools: Sequence[Pool]) -> Mix:
    """Build the mix of a ratio.

    Args:
        ratio: ``"40:60"`` (in the order of ``pools``), a share on spot from 0 to 1 (or ``"40%"``), or a mapping from
            pool names to weights, also as JSON text.
        on_demand_base: executors that are on-demand before the ratio applies; a whole number.
        pools: the fleet's pools.

    Raises:
        InvalidMixError: the ratio or the base makes no sense; the message names the value and the remedy.

    """
    shares = _shares(ratio, pools)
    # In the order of the pools, however it was written, so that one mix has one form.
    weights = whole_weights({pool.name: shares.get(pool.name, Fraction(0)) for pool in pools})
    if max(weights.values()) > _MAX_WEIGHT:
        raise InvalidMixError(f"ratio {shown(ratio)} is finer than any fleet is large; round it")
    on_demand = [pool.name for pool in pools if not pool.is_spot]
    base = _base(on_demand_base)
    if base and not on_demand:
        raise InvalidMixError(f"on_demand_base is {base}, but no pool is on-demand; add one or set the base to 0")
    return Mix(
        shares=tuple(Share(pool=pool.name, weight=weights[pool.name], on_demand=not pool.is_spot) for pool in pools),
        on_demand_base=base,
        base_pool=on_demand[0] if on_demand else "",
    )


def _shares(ratio: Any, pools: Sequence[Pool]) -> dict[str, Fraction]:
    if isinstance(ratio, bool):
        raise InvalidMixError(f"ratio is {ratio!r}, a flag; {_FORMS}")
    if isinstance(ratio, Mapping):
        return _by_name(ratio, pools)
    if isinstance(ratio, int | float | Decimal | Fraction):
        return _spot_share(ratio, pools)
    if isinstance(ratio, str):
        text = ratio.strip()
        if text.startswith("{"):  # a mapping, where there is only text: a template, a URI, a form
            return _by_name(_mapping(text), pools)
        return _by_position(text, pools) if ":" in text else _spot_share(text, pools)
    raise InvalidMixError(f"ratio is {shown(ratio)}, a {type(ratio).__name__}; {_FORMS}")


def _mapping(text: str) -> dict[str, Any]:
    def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise InvalidMixError(f"ratio {shown(text)} names a pool twice; name each once")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=each_once, parse_float=Decimal)
    except InvalidMixError:
        raise
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidMixError(f"ratio {shown(text)} is no JSON; {_FORMS}")
    return found


def _by_name(ratio: Mapping[Any, Any], pools: Sequence[Pool]) -> dict[str, Fraction]:
    known = [pool.name for pool in pools]
    for name in ratio:
        if name not in known:
            raise InvalidMixError(f"unknown pool {shown(name)} in ratio; pools: {listed(known)}")
    if not ratio:
        raise InvalidMixError(f"ratio is empty; {_FORMS}")
    return {str(name): _number(value, f"ratio of pool {name!r}") for name, value in ratio.items()}


def _by_position(text: str, pools: Sequence[Pool]) -> dict[str, Fraction]:
    parts = text.split(":")
    names = [pool.name for pool in pools]
    if len(parts) != len(names):
        raise InvalidMixError(
            f"ratio {shown(text)} has {len(parts)} parts, but there are {len(names)} pools ({listed(names)});"
            " give one part for each, in this order, or name them"
        )
    return {
        name: _number(part, f"part {shown(part)} of ratio {shown(text)}")
        for name, part in zip(names, parts, strict=True)
    }


def _spot_share(value: Any, pools: Sequence[Pool]) -> dict[str, Fraction]:
    spot, on_demand = ([pool.name for pool in pools if pool.is_spot is is_spot] for is_spot in (True, False))
    if len(spot) != 1 or len(on_demand) != 1:
        raise InvalidMixError(
            f"ratio {shown(value)} is a single share, which takes exactly one spot and one on-demand pool; there are"
            f" {listed(pool.name for pool in pools)}: name them, such as {{{pools[0].name!r}: 40, ...}}"
        )
    percent = isinstance(value, str) and value.endswith("%")
    share = _number(value[:-1] if percent else value, f"ratio {shown(value)}") / (100 if percent else 1)
    if share > 1:
        raise InvalidMixError(
            f"ratio {shown(value)} is more than the whole; give a share on spot from 0 to 1 (0 % to 100 %)"
        )
    return {spot[0]: share, on_demand[0]: 1 - share}


def _number(value: Any, what: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal | Fraction):
        raise InvalidMixError(f"{what} is {shown(value)}, no number; {_FORMS}")
    # math's own test raises on a signalling NaN.
    if isinstance(value, float | Decimal) and not Decimal(value).is_finite():
        raise InvalidMixError(f"{what} is {value}; give a finite number")
    number = _exact(value, what)
    if number < 0:
        raise InvalidMixError(f"{what} is negative; a share is zero or more")
    return number


def _exact(value: Any, what: str) -> Fraction:
    """Take a number as it is written: a float's shortest form, so 0.1 is one tenth."""
    if isinstance(value, int | Fraction):
        if max(abs(value.numerator), value.denominator) >= 10**_MAX_DIGITS:
            raise InvalidMixError(f"{what} has more than {_MAX_DIGITS} digits; round it")
        return Fraction(value)
    text = str(value).strip()
    if isinstance(value, str) and not _NUMBER.fullmatch(text):
        raise InvalidMixError(f"{what} is no number; {_FORMS}")
    decimal = Decimal(text)
    if len(decimal.as_tuple().digits) > _MAX_DIGITS or abs(decimal.adjusted()) > _MAX_DIGITS:
        raise InvalidMixError(f"{what} has more than {_MAX_DIGITS} digits; round it")
    return Fraction(decimal)


def _base(value: Any) -> int:
    text = value.strip() if isinstance(value, str) else ""
    base = int(text) if re.fullmatch(r"\d{1,10}", text, re.ASCII) else value
    if not isinstance(base, int) or isinstance(base, bool) or not 0 <= base <= _MAX_BASE:
        raise InvalidMixError(f"on_demand_base is {shown(value)}; give a whole number of executors, 0 or more")
    return base
