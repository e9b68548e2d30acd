"""What a workspace pays on top of, or off, list prices, and for whom. In basis points: no amount of an attempt here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """The defaults are those of a workspace that nobody gave a plan: list prices, own keys free. docs/billing.md."""

    markup_bps: int = 0  # on list, on the platform's accounts; negative: a discount
    platform_fee_bps: int = 0  # of list, on own keys
    free_fees_pusd: int = 0  # of those fees, waived each month of the workspace's time zone
    internal: bool = False  # the operator's own: nothing is charged
    empty_answer_free: bool = True  # an answer without output and without a finish is not charged
    markups: Mapping[str, int] = field(default_factory=dict)  # by llm, in place of `markup_bps`

    def markup_of(self, llm: str) -> int:
        return self.markups.get(llm, self.markup_bps)
