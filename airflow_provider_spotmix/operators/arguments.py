"""Arguments that are no templates: what is wrong with them is told when the DAG file is parsed."""

from __future__ import annotations


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
