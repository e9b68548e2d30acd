"""What stops an embedded store from starting, told to a person."""

from __future__ import annotations


class StoreProblem(Exception):
    """The message says what is wrong and what to do; it is printed as it is."""
