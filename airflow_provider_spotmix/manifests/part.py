"""One group's part of a person's application, in terms that every backend can render."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from airflow_provider_spotmix.core.errors import InvalidInputError, shown

PREFIX = "SPOTMIX_GROUP_"
ATTEMPT = f"{PREFIX}ATTEMPT"
# Kubernetes' own syntax for a container's arguments: $(NAME), and $$(NAME) for that very text.
_REFERENCE = re.compile(r"(\$?)\$\((SPOTMIX_GROUP_[A-Z_]*)\)")


class ExecutorCount(Struct, frozen=True):
    """How many executors an application starts with, whether Spark may change that, and up to how many.

    ``maximum`` is None where nothing limits it, or nothing changes the count.
    """

    initial: int
    dynamic: bool
    maximum: int | None = None


class Part(Struct, frozen=True, kw_only=True):
    """What makes one group's application out of the person's.

    Attributes:
        index: number of the group, from 0.
        count: how many groups there are.
        name: what it is called.
        executors: executors of this group.
        total: executors of all groups.
        node_selector: further labels of the executors' nodes.
        tolerations: further tolerations of the executors, as Kubernetes writes them.
        driver: section of the driver, laid over the person's.
        executor: section of the executors, laid over the person's.
        arguments: the application's arguments; None leaves the person's.

    """

    index: int
    count: int
    name: str
    executors: int
    total: int
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    driver: dict[str, Any] = {}
    executor: dict[str, Any] = {}
    arguments: tuple[str, ...] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What the work is told, so that it can shard."""
        return {
            f"{PREFIX}INDEX": str(self.index),
            f"{PREFIX}COUNT": str(self.count),
            f"{PREFIX}NAME": self.name,
            f"{PREFIX}SHARE": f"{self.executors / self.total:.6g}",
        }


def substituted(arguments: Sequence[Any], part: Part) -> list[Any]:
    """Arguments with the group's variables in the place of their references.

    Raises:
        InvalidInputError: a reference to a variable that groups have not.

    """
    return [_substituted(each, part.variables) if isinstance(each, str) else each for each in arguments]


def _substituted(text: str, variables: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        escaped, name = found.groups()
        if escaped:
            return found[0][1:]
        if name not in variables:
            raise InvalidInputError(
                f"spec.arguments has {shown(text)}; in arguments there are $({'), $('.join(variables)}), and {ATTEMPT}"
                " only in the driver's environment: write one of them, or $$( for the text itself"
            )
        return variables[name]

    return _REFERENCE.sub(value, text)


def laid_over(section: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A section with another laid over it: mappings are merged, everything else is replaced."""
    merged = dict(section)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = laid_over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
