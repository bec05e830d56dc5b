"""Read a person's groups and success policy: pydantic at the edge, an error that names field, value and remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_spotmix.core.errors import InvalidInputError, at, shown
from airflow_provider_spotmix.core.mix import whole_weights
from airflow_provider_spotmix.hooks.document import plain
from airflow_provider_spotmix.hooks.settings import TolerationModel
from airflow_provider_spotmix.placements.base import Group, Groups

_FORMS = 'give a number of groups, or a list such as [{"name": "europe", "pool": "spot", "share": 2}, ...]'
_POLICIES = "give 'all', 'any', or how many groups have to succeed: a number or {\"quorum\": 2}"
_MAX_WEIGHT = 2**31 - 1


class GroupModel(BaseModel):
    """A group, as a person writes it. ``share``: its weight among the groups."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    pool: str
    share: Any = 1
    node_selector: dict[str, str] = {}
    tolerations: tuple[TolerationModel, ...] = ()
    driver: dict[str, Any] = {}
    executor: dict[str, Any] = {}
    arguments: tuple[Annotated[str, Field(strict=True)], ...] | None = None


def parse_groups(value: Any) -> Groups:
    """Read the argument ``groups``: nothing, a whole number, or a list of mappings; also as text.

    Raises:
        InvalidInputError: it is something else; the message names the field.

    """
    found = _plain(value)
    if found is None or (isinstance(found, int) and not isinstance(found, bool)):
        return found
    if isinstance(found, str | Mapping) or not isinstance(found, Sequence):
        raise InvalidInputError(f"groups is {shown(value)}; {_FORMS}")
    models = [_model(each, at("groups", number)) for number, each in enumerate(plain(list(found), "groups"))]
    shares = {str(number): _share(model.share, f"groups[{number}].share") for number, model in enumerate(models)}
    weights = whole_weights(shares) if shares else {}
    if max(weights.values(), default=0) > _MAX_WEIGHT:
        raise InvalidInputError("groups: the shares are finer than any fleet is large; round them")
    return tuple(_group(model, weights[str(number)]) for number, model in enumerate(models))


def parse_success_policy(value: Any) -> int:
    """Read the argument ``success_policy``: how many groups have to succeed; 0 for all.

    Raises:
        InvalidInputError: it is something else.

    """
    found = _plain(value)
    if isinstance(found, Mapping) and set(found) == {"quorum"}:
        found = _plain(found["quorum"])
    if found in (None, "all"):
        return 0
    if found == "any":
        return 1
    if isinstance(found, int) and not isinstance(found, bool) and found >= 1:
        return found
    raise InvalidInputError(f"success_policy is {shown(value)}; {_POLICIES}")


def _plain(value: Any) -> Any:
    """What a template leaves is text: a number, JSON, or a word."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return int(text)
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return value
    return text or None


def _model(found: Any, field: str) -> GroupModel:
    if not isinstance(found, Mapping):
        raise InvalidInputError(
            f"{field} is {shown(found)}; a group is a mapping of {', '.join(GroupModel.model_fields)}"
        )
    try:
        return GroupModel.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = field
        for part in first["loc"]:
            where = at(where, part)
        said = "missing" if first["type"] == "missing" else f"{shown(first['input'], where)}: {first['msg']}"
        raise InvalidInputError(f"{where} is {said} (a group has {', '.join(GroupModel.model_fields)})") from None


def _share(value: Any, field: str) -> Fraction:
    text = str(value).strip() if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    share = Fraction(text) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) else Fraction(0)
    if not share:
        raise InvalidInputError(f"{field} is {shown(value)}; give a number above 0, such as 2 or 0.5")
    return share


def _group(model: GroupModel, weight: int) -> Group:
    return Group(
        name=model.name,
        pool=model.pool,
        weight=weight,
        node_selector=model.node_selector,
        tolerations=tuple(
            {key: value for key, value in toleration.model_dump().items() if value} for toleration in model.tolerations
        ),
        driver=model.driver,
        executor=model.executor,
        arguments=model.arguments,
    )
