"""Arguments that are no templates: what is wrong with them is told when the DAG file is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_flags(**given: object) -> None:
    """Refuse what is no True or False: the text "False" would pass for true.

    Raises:
        ValueError: one is neither.

    """
    for name, value in given.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r:.100}; give True or False")  # noqa: TRY004 - as for every other argument


def check_counts(**given: object) -> None:
    """Refuse what is no whole number, 0 or more.

    Raises:
        ValueError: one is none.

    """
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} is {value!r:.100}; give a whole number, 0 or more")


def with_arguments(policy: Mapping[str, Any] | None, **given: object) -> Mapping[str, Any] | None:
    """The policy with those of its keys in it that are arguments of their own too.

    Raises:
        ValueError: both say it, or the policy is no mapping.

    """
    said = {name: value for name, value in given.items() if value is not None}
    if not said:
        return policy
    if not isinstance(policy or {}, Mapping):
        raise ValueError(f"policy is {policy!r:.100}; give a mapping")  # noqa: TRY004 - as for every other argument
    if twice := [name for name in said if name in (policy or {})]:
        raise ValueError(f"{twice[0]} is given twice; remove it from policy")
    return {**(policy or {}), **said}
