"""Placements: one file per way to enforce the mix, one argument apart."""

from __future__ import annotations

from airflow_provider_spotmix.core.errors import InvalidInputError, shown
from airflow_provider_spotmix.placements.base import Placement
from airflow_provider_spotmix.placements.groups import SeparateGroups
from airflow_provider_spotmix.placements.template import Template

_PLACEMENTS: dict[str, Placement] = {placement.name: placement for placement in (Template(), SeparateGroups())}


def placement(name: str) -> Placement:
    """Return the placement of that name.

    Raises:
        InvalidInputError: there is none.

    """
    if not isinstance(name, str) or name not in _PLACEMENTS:
        raise InvalidInputError(f"unknown placement {shown(name)}; known: {', '.join(_PLACEMENTS)}")
    return _PLACEMENTS[name]
