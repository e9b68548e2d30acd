"""Why `serve` could not start, told to a person."""

from __future__ import annotations


class ServeProblem(Exception):
    """The message says what is wrong and what to do; it is printed as it is."""


class Interrupted(Exception):
    """A signal came before everything was up."""
