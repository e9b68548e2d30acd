"""What a room raises or catches when a store cannot be reached."""

from __future__ import annotations


class StoreAway(Exception):
    """A store did not answer, or the line to it was lost: whether it acted is unknown."""
