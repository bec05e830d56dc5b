"""Errors that a person can act on: each names the field, the value and the remedy."""

from __future__ import annotations


class SpotmixError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInputError(SpotmixError, ValueError):
    """A person's input cannot be used; nothing was submitted."""


class InvalidMixError(InvalidInputError):
    """A ratio or base that describes no mix."""


class FleetConflictError(SpotmixError):
    """An application of that name exists and is not this fleet's."""


class CheckpointError(SpotmixError):
    """A checkpoint that this version cannot read."""
