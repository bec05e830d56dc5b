"""Hold what a person wrote to the shape in which we read it. Pure; only what we read or add to is looked at.

A field that is absent or null passes, as it does in Kubernetes; so does one that the shape does not name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, TypeAlias

from airflow_provider_spotmix.core.errors import InvalidInputError, at, shown
from airflow_provider_spotmix.manifests.labels import PREFIX
from airflow_provider_spotmix.manifests.syntax import wrong_label_key, wrong_label_value

_MAX_COUNT = 2**31 - 1


class Kind(Enum):
    """What a field without fields of its own may be."""

    TEXT = auto()
    FLAG = auto()
    COUNT = auto()
    TEXTS = auto()
    LABELS = auto()
    ANNOTATIONS = auto()
    SELECTOR = auto()


# A mapping's fields, a list of one shape's, or a leaf.
Shape: TypeAlias = "Kind | Mapping[str, Shape] | list[Shape]"


def check_shape(found: Any, shape: Shape, field: str = "") -> None:
    """Check a value and everything in it that the shape names.

    Raises:
        InvalidInputError: something has another shape; the message names field, value and remedy.

    """
    if found is None:
        return
    if isinstance(shape, Kind):
        _LEAVES[shape](found, field)
    elif isinstance(shape, Mapping):
        _expect(isinstance(found, Mapping), found, field, "write a mapping there")
        for key, inner in shape.items():
            check_shape(found.get(key), inner, at(field, key))
    else:
        _expect(isinstance(found, list), found, field, "write a list there")
        for number, each in enumerate(found):
            _expect(each is not None, each, at(field, number), "remove the empty entry")
            check_shape(each, shape[0], at(field, number))


def _expect(met: bool, found: Any, field: str, remedy: str) -> None:
    if not met:
        said = "empty" if found is None else f"{shown(found, field)}, {_what(found)}"
        raise InvalidInputError(f"{field} is {said}; {remedy}")


def _what(found: Any) -> str:
    words: dict[type, str] = {bool: "a flag", str: "text", list: "a list", int: "a number", float: "a number"}
    return words.get(type(found), "a mapping" if isinstance(found, Mapping) else f"a {type(found).__name__}")


def _text(found: Any, field: str) -> None:
    _expect(isinstance(found, str), found, field, "write it as text, in quotes")


def _flag(found: Any, field: str) -> None:
    _expect(isinstance(found, bool), found, field, "write true or false, without quotes")


def _count(found: Any, field: str) -> None:
    whole = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= _MAX_COUNT
    _expect(whole, found, field, "write a whole number, 0 or more, without quotes or a point")


def _texts(found: Any, field: str) -> None:
    _expect(isinstance(found, Mapping), found, field, "write a mapping of text to text there")
    for key, value in found.items():
        _text(value, at(field, key))


def _annotations(found: Any, field: str) -> None:
    _texts(found, field)
    for key in found:
        if key.startswith(PREFIX):
            raise InvalidInputError(
                f"{field} has {shown(key)}; what begins with {PREFIX!r} is written by this provider alone, which would"
                " take it for its own: remove it"
            )
        _valid(wrong_label_key(key), field, key)


def _labels(found: Any, field: str) -> None:
    _annotations(found, field)
    _selector(found, field)


def _selector(found: Any, field: str) -> None:
    _texts(found, field)
    for key, value in found.items():
        _valid(wrong_label_key(key), field, key)
        _valid(wrong_label_value(value), at(field, key), value)


def _valid(wrong: str, field: str, found: str) -> None:
    if wrong:
        raise InvalidInputError(f"{field} has {shown(found)}, which Kubernetes does not take: {wrong}")


_LEAVES: dict[Kind, Callable[[Any, str], None]] = {
    Kind.TEXT: _text,
    Kind.FLAG: _flag,
    Kind.COUNT: _count,
    Kind.TEXTS: _texts,
    Kind.LABELS: _labels,
    Kind.ANNOTATIONS: _annotations,
    Kind.SELECTOR: _selector,
}
