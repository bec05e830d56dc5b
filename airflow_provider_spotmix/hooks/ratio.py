"""Read a person's ratio: exact arithmetic, and an error that names the value and the remedy for everything else."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from airflow_provider_spotmix.core.errors import InvalidMixError
from airflow_provider_spotmix.core.mix import Mix, Share, whole_weights
from airflow_provider_spotmix.core.pools import Pool

_FORMS = 'write "40:60" (spot:on-demand), 0.4 (share on spot) or {"spot": 40, "on-demand": 60}'
_MAX_DIGITS = 30  # beyond this a ratio is a mistake, and exact arithmetic with it is slow


def parse_mix(ratio: Any, on_demand_base: Any, pools: Sequence[Pool]) -> Mix:
    """Build the mix of a ratio.

    Args:
        ratio: ``"40:60"`` (in the order of ``pools``), a share on spot from 0 to 1 (or ``"40%"``), or a mapping from
            pool names to weights.
        on_demand_base: executors that are on-demand before the ratio applies; a whole number.
        pools: the fleet's pools.

    Raises:
        InvalidMixError: the ratio or the base makes no sense; the message names the value and the remedy.

    """
    shares = _shares(ratio, pools)
    by_name = {pool.name: pool for pool in pools}
    weights = whole_weights(shares)
    on_demand = [pool.name for pool in pools if not pool.is_spot]
    base = _base(on_demand_base)
    if base and not on_demand:
        raise InvalidMixError(f"on_demand_base is {base}, but no pool is on-demand; add one or set the base to 0")
    return Mix(
        shares=tuple(
            Share(pool=name, weight=weight, on_demand=not by_name[name].is_spot) for name, weight in weights.items()
        ),
        on_demand_base=base,
        base_pool=on_demand[0] if on_demand else "",
    )


def _shares(ratio: Any, pools: Sequence[Pool]) -> dict[str, Fraction]:
    if isinstance(ratio, bool):
        raise InvalidMixError(f"ratio is {ratio!r}; {_FORMS}")
    if isinstance(ratio, Mapping):
        return _by_name(ratio, pools)
    if isinstance(ratio, int | float | Decimal | Fraction):
        return _spot_share(ratio, pools)
    if isinstance(ratio, str):
        text = ratio.strip()
        return _by_position(text, pools) if ":" in text else _spot_share(text, pools)
    raise InvalidMixError(f"ratio is {ratio!r}, a {type(ratio).__name__}; {_FORMS}")


def _by_name(ratio: Mapping[Any, Any], pools: Sequence[Pool]) -> dict[str, Fraction]:
    known = [pool.name for pool in pools]
    for name in ratio:
        if name not in known:
            raise InvalidMixError(f"unknown pool {name!r} in ratio; pools: {', '.join(known)}")
    if not ratio:
        raise InvalidMixError(f"ratio is empty; {_FORMS}")
    return {str(name): _number(value, f"ratio of pool {name!r}") for name, value in ratio.items()}


def _by_position(text: str, pools: Sequence[Pool]) -> dict[str, Fraction]:
    parts = text.split(":")
    names = [pool.name for pool in pools]
    if len(parts) != len(names):
        raise InvalidMixError(
            f"ratio {text!r} has {len(parts)} parts, but there are {len(names)} pools ({', '.join(names)}); give one"
            " part for each, in this order, or name them"
        )
    return {name: _number(part, f"part {part!r} of ratio {text!r}") for name, part in zip(names, parts, strict=True)}


def _spot_share(value: Any, pools: Sequence[Pool]) -> dict[str, Fraction]:
    spot, on_demand = ([pool.name for pool in pools if pool.is_spot is is_spot] for is_spot in (True, False))
    if len(spot) != 1 or len(on_demand) != 1:
        raise InvalidMixError(
            f"ratio {value!r} is a single share, which takes exactly one spot and one on-demand pool; there are"
            f" {', '.join(pool.name for pool in pools)}: name them, such as {{{pools[0].name!r}: 40, ...}}"
        )
    percent = isinstance(value, str) and value.endswith("%")
    share = _number(value[:-1] if percent else value, f"ratio {value!r}") / (100 if percent else 1)
    if share > 1:
        raise InvalidMixError(
            f"ratio {value!r} is more than the whole; give a share on spot from 0 to 1 (0 % to 100 %)"
        )
    return {spot[0]: share, on_demand[0]: 1 - share}


def _number(value: Any, what: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal | Fraction):
        raise InvalidMixError(f"{what} is {value!r}, no number; {_FORMS}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidMixError(f"{what} is {value!r}; give a finite number")
    text = str(value).strip()
    if isinstance(value, str) and not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text, re.ASCII):
        raise InvalidMixError(f"{what} is no number; {_FORMS}")
    number = _exact(value, text, what)
    if number < 0:
        raise InvalidMixError(f"{what} is negative; a share is zero or more")
    return number


def _exact(value: Any, text: str, what: str) -> Fraction:
    if isinstance(value, Fraction):
        return value
    try:
        decimal = Decimal(text)
    except InvalidOperation:
        raise InvalidMixError(f"{what} is no number; {_FORMS}") from None
    if not decimal.is_finite():
        raise InvalidMixError(f"{what} is {text}; give a finite number")
    if len(decimal.as_tuple().digits) > _MAX_DIGITS or abs(decimal.adjusted()) > _MAX_DIGITS:
        raise InvalidMixError(f"{what} has more than {_MAX_DIGITS} digits; round it")
    return Fraction(decimal)


def _base(value: Any) -> int:
    try:
        base = int(str(value).strip())
    except ValueError:
        base = -1
    if isinstance(value, bool) or base < 0:
        raise InvalidMixError(f"on_demand_base is {value!r}; give a whole number of executors, 0 or more")
    return base
