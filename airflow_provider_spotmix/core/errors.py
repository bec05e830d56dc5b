"""Errors that a person can act on: each names the field, the value and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MAX_SHOWN = 100
_MAX_NAMES = 8
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# The same words that Spark redacts in what it shows (spark.redaction.regex).
_SECRET = re.compile(r"secret|password|token|access[.]?key", re.IGNORECASE)


class SpotmixError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInputError(SpotmixError, ValueError):
    """A person's input cannot be used; nothing was submitted."""


class InvalidMixError(InvalidInputError):
    """A ratio or base that describes no mix."""


class FleetConflictError(SpotmixError):
    """An application of that name exists and is not this fleet's."""


class ClusterNotReadyError(SpotmixError):
    """The cluster lacks something that a fleet needs; nothing was submitted."""


class CheckpointError(SpotmixError):
    """A checkpoint that this version cannot read: a newer one has written it."""


class SpoiltCheckpointError(CheckpointError):
    """A checkpoint that no version can read: somebody else has written it."""


def shown(value: Any, field: str = "") -> str:
    """Show a value in an error: on one line, never too long, never another error; not at all where it may be secret."""
    if _SECRET.search(field):
        return "something that is not shown here"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever an object's own repr raises
        return f"a {type(value).__name__} that cannot be shown"
    return " ".join((text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...").split("\n"))


def listed(names: Iterable[str]) -> str:
    """Show names in an error; of many only the first."""
    each = [name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..." for name in names]
    more = f" and {len(each) - _MAX_NAMES} more" if len(each) > _MAX_NAMES else ""
    return ", ".join(each[:_MAX_NAMES]) + more


def at(field: str, key: object) -> str:
    """Name a field inside another: ``spec.executor``, ``containers[0]``, ``sparkConf['spark.app.id']``."""
    if isinstance(key, str) and _WORD.fullmatch(key) and len(key) <= MAX_SHOWN:
        return f"{field}.{key}" if field else key
    return f"{field}[{shown(key)}]"
