"""Read a person's nested setting into a pydantic model, with an error that names field, value, source and remedy."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_provider_spotmix.core.errors import InvalidInputError, at, shown
from airflow_provider_spotmix.hooks.settings import CONNECTION

STRICT = ConfigDict(extra="forbid", frozen=True)
_MAX_TOLD = 3  # of what is wrong at once

Place = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


def number(value: Any) -> Any:
    """Refuse what Python takes for a number and no person does."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not a flag")  # noqa: TRY004 - what pydantic expects
    return value


def mapping(field: str, value: Any, origin: str) -> Mapping[str, Any]:
    """Return a mapping that may be JSON text.

    Raises:
        InvalidInputError: it is none.

    """
    found = value
    if isinstance(value, str):
        try:
            found = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, Mapping):
        raise InvalidInputError(f"{field} (from {origin}) is no mapping; give one, or a JSON object as text")
    return found


def read_model(
    model: type[Model], given: Mapping[str, Any], *, field: str, origin: str, known: Callable[[Place], Iterable[str]]
) -> Model:
    """Validate what is given.

    Args:
        model: what it should be.
        given: what a person wrote.
        field: what that is called; empty when the model's own fields are.
        origin: where it was written, to be told.
        known: names of the fields at a place, to be told with an unknown one.

    Raises:
        InvalidInputError: something in it cannot be used.

    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        told = [_told(each, field, known, secret=origin == CONNECTION) for each in error.errors()]
        more = f"; and {len(told) - _MAX_TOLD} more" if len(told) > _MAX_TOLD else ""
        raise InvalidInputError(f"{'; '.join(told[:_MAX_TOLD])}{more} (from {origin})") from None


def _told(error: Any, field: str, known: Callable[[Place], Iterable[str]], *, secret: bool) -> str:
    """Say what is wrong with which value; not the value, where somebody may have put a secret into the wrong field."""
    path: Place = tuple(error["loc"])
    where = functools.reduce(at, path, field)
    if error["type"] == "extra_forbidden":
        return f"unknown field {where}; known: {', '.join(known(path))}"
    what = "" if secret or not path else f" is {shown(error['input'])}"
    return f"{where}{what}: {error['msg'].removeprefix('Value error, ')}".removeprefix(": ")
