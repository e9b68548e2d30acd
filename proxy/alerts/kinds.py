"""The kinds of alerts, and what to do about each. docs/operations.md says what they mean, as a test compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Kind = Literal["unpriced", "dead_letters"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FIXES: Mapping[str, str] = {
    "unpriced": "give the llm a price, then synapscale rerate --from DAY --llm NAME",
    "dead_letters": "SELECT * FROM dead_letters has their bytes and the reason: report it",
}
