"""Triggers: the edge through which fleets run in the triggerer."""
