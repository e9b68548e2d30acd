"""What a check is, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

# day: asked once for each day. time: once, with the bounds. all: once, of everything; time does not matter to it.
Scope = Literal["day", "time", "all"]
MOST_SHOWN = 20  # differences of one check that are named; all are counted


@dataclass(frozen=True, slots=True)
class Check:
    """`count`: SQL, how many things are looked at. `differences`: SQL of rows (subject, says), none where all is well.

    Bounds are $1 (inclusive) and $2 (exclusive), of the moment of the attempt.
    """

    name: str
    promise: str
    scope: Scope
    count: str
    differences: str


class Difference(NamedTuple):
    """`subject`: an id or a key, as the tables write it. `says`: what is there, and what should be."""

    subject: str
    says: str


class Finding(NamedTuple):
    """`examples`: at most `MOST_SHOWN` of the differences."""

    check: Check
    looked_at: int
    differences: int
    examples: tuple[Difference, ...]
