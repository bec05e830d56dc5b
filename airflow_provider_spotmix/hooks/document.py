"""Read a person's document, text or mapping, into plain JSON of our own; or say where in it something is wrong.

Text is YAML or JSON. What YAML permits and nobody means is refused: a key twice, several documents, keys that are no
text, anchors that unfold into more than an API server stores. Dates are the text that they were written as.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from airflow_provider_spotmix.core.errors import InvalidInputError, at, shown

MAX_CHARACTERS = 1_000_000  # etcd refuses objects of more than 1.5 MiB
MAX_DEPTH = 64
_INTEGERS = range(-(2**63), 2**63)  # what Kubernetes' integers can be
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_TIMESTAMP, _MERGE = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"


def read_document(found: Any, field: str) -> dict[str, Any]:
    """Return the one mapping of a document.

    Args:
        found: its text, or a mapping.
        field: what to call it in an error.

    Raises:
        InvalidInputError: it is empty, several, no mapping, no YAML, or holds what JSON cannot say.

    """
    if isinstance(found, str):
        documents = parse(found, field)
        if len(documents) > 1:
            raise InvalidInputError(
                f"{field} holds {len(documents)} documents (parted by '---'); give one SparkApplication, and each other"
                " in a task of its own"
            )
        found = documents[0] if documents else None
    if found is None:
        raise InvalidInputError(f"{field} is empty, after templates were rendered; give a SparkApplication")
    if not isinstance(found, Mapping):
        raise InvalidInputError(
            f"{field} is {shown(found)}, no mapping; give a SparkApplication, or the path of one that ends with .yaml,"
            " .yml or .json"
        )
    document: dict[str, Any] = _Plain(field).of(found, "", 0)
    return document


def plain(value: Any, field: str) -> Any:
    """Copy a value that is no document of its own, such as an argument, into what JSON can say.

    Raises:
        InvalidInputError: it holds something else; the message names the place in ``field``.

    """
    return _Plain(field).of(value, field, 0)


def parse(text: str, field: str) -> list[Any]:
    """Return the documents of a text, as they are written; `plain` makes plain values of them.

    Raises:
        InvalidInputError: it is no YAML.

    """
    if len(text) > MAX_CHARACTERS:
        raise _too_large(field)
    try:
        if text.lstrip().startswith("{"):  # YAML's reader knows neither all of JSON's spaces nor its surrogate pairs
            return [json.loads(text, object_pairs_hook=_each_key_once)]
    except (ValueError, RecursionError):
        pass
    try:
        return [document for document in yaml.load_all(text, _Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        place = f" (line {where.line + 1}, column {where.column + 1})" if where else ""
        raise InvalidInputError(f"{field} is no YAML: {error.problem or error.context}{place}; correct it") from None
    except yaml.reader.ReaderError as error:
        raise InvalidInputError(
            f"{field} is no YAML: {shown(chr(error.character))} at position {error.position} is no character of text;"
            " remove it"
        ) from None
    except RecursionError:
        raise _too_deep(field) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise InvalidInputError(f"{field} is no YAML: {shown(str(error))}; correct it") from None


class _Loader(yaml.SafeLoader):
    """YAML as a person means it: a key twice is a mistake, and a date is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the form that PyYAML gives it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {shown(key.value)} is there twice, keep one", problem_mark=key.start_mark
                )
            seen.add((key.tag, key.value))
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge (``<<``) without growing: what is merged again and again would double each time."""
        super().flatten_mapping(node)
        pairs = {(k.tag, k.value) if isinstance(k, yaml.ScalarNode) else id(k): (k, v) for k, v in node.value}
        node.value = list(pairs.values())


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("left to the reader of YAML, which says where")
    return dict(pairs)


class _Plain:
    """Copies a document into what JSON can say; gives up when it is larger than an API server stores."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.left = MAX_CHARACTERS

    def of(self, value: Any, path: str, depth: int) -> Any:
        """Copy one value, which is at that path."""
        if depth > MAX_DEPTH:
            raise _too_deep(self.field)
        if isinstance(value, Mapping):
            self._spend(2)
            return {self._key(key, path): self.of(each, at(path, key), depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple):
            self._spend(2)
            return [self.of(each, at(path, number), depth + 1) for number, each in enumerate(value)]
        return self._scalar(value, path)

    def _key(self, key: Any, path: str) -> str:
        if not isinstance(key, str):
            raise InvalidInputError(
                f"{self._at(path)} has the key {shown(key)}, no text; put it into quotes (YAML reads yes, no, on, off"
                " and numbers as something else)"
            )
        return self._text(key, path)

    def _scalar(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return self._text(value, path)
        self._spend(1)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and value in _INTEGERS:
            return int(value)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        if isinstance(value, datetime.date):
            return value.isoformat()
        raise InvalidInputError(
            f"{self._at(path)} is {shown(value, path)}, a {type(value).__name__} that JSON cannot say; write it as text"
        )

    def _text(self, text: str, path: str) -> str:
        self._spend(len(text) + 1)
        if _UNWRITABLE.search(text):
            raise InvalidInputError(
                f"{self._at(path)} has {shown(text, path)}, with a character that no file can hold; remove it"
            )
        return str.__str__(text)

    def _spend(self, characters: int) -> None:
        self.left -= characters
        if self.left < 0:
            raise _too_large(self.field)

    def _at(self, path: str) -> str:
        return path or self.field


def _too_large(field: str) -> InvalidInputError:
    return InvalidInputError(
        f"{field} is larger than {MAX_CHARACTERS:,} characters, its anchors unfolded; Kubernetes does not store that"
        " much: move data out of it"
    )


def _too_deep(field: str) -> InvalidInputError:
    return InvalidInputError(
        f"{field} nests deeper than {MAX_DEPTH} levels, or contains itself; no SparkApplication does: flatten it"
    )
