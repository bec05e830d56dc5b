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


def with_startup_timeout(policy: Mapping[str, Any] | None, seconds: float | None) -> Mapping[str, Any] | None:
    """The policy with the startup timeout in it, which is an argument of its own too.

    Raises:
        ValueError: both say it, or the policy is no mapping.

    """
    if seconds is None:
        return policy
    if not isinstance(policy or {}, Mapping):
        raise ValueError(f"policy is {policy!r:.100}; give a mapping")  # noqa: TRY004 - as for every other argument
    if policy and "startup_timeout_seconds" in policy:
        raise ValueError("startup_timeout_seconds is given twice; remove it from policy")
    return {**(policy or {}), "startup_timeout_seconds": seconds}
