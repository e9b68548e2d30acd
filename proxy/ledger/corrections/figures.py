"""What an attempt comes to, and what an attempt is that may have to be priced again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

# An attempt of a dead process may still be settled by whoever has its spool: until then its row is a guess.
ABANDONED_LEFT = timedelta(hours=48)


class Figures(NamedTuple):
    """Fields as in `usage_corrections`; the lines are parallel."""

    service_tier: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int | None
    usage_inconsistent: bool
    units: tuple[str, ...]
    quantities: tuple[int, ...]
    price_item_ids: tuple[UUID | None, ...]
    line_list_pusd: tuple[int, ...]
    line_charge_pusd: tuple[int, ...]
    list_pusd: int
    charge_pusd: int
    charge_kind: str  # usage | platform_fee | none
    charge_bps: int
    charge_reason: str
    pricing: str  # priced | unpriced

    @property
    def owed_pusd(self) -> int:
        """An event of which a part has no price owes nothing until it has one."""
        return self.charge_pusd if self.pricing == "priced" else 0

    @property
    def lines(self) -> list[tuple[str, int, UUID | None, int, int]]:
        return list(
            zip(
                self.units, self.quantities, self.price_item_ids, self.line_list_pusd, self.line_charge_pusd,
                strict=True,
            )
        )  # fmt: skip

    def same_as(self, other: Figures) -> bool:
        """Whether nothing differs that somebody pays or counts.

        Another version of the same price, or terms that come to the same amounts, are no reason to correct anything: the
        item and the basis points that are named explain the amounts as well as the new ones would.
        """
        return self._essence() == other._essence()

    def _essence(self) -> tuple[object, ...]:
        lines = sorted(
            (unit, quantity, item is None, listed, charged) for unit, quantity, item, listed, charged in self.lines
        )
        return (
            self.service_tier, self.input_tokens, self.cached_tokens, self.output_tokens, self.reasoning_tokens,
            self.usage_inconsistent, lines, self.pricing,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempt:
    """A usage event: `row` as it was settled, `now` as it counts. `corrections`: how many there ever were."""

    workspace_id: UUID
    attempt_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    user_id: UUID
    virtual_key_id: UUID
    agent_id: UUID | None
    llm: str
    provider: str
    upstream_model: str
    surface: str
    key_source: str
    provider_account: str
    usage_source: str
    outcome: str
    processing: str
    raw_usage: str | None
    row: Figures
    now: Figures
    corrections: int

    def may_still_be_settled(self, now: datetime) -> bool:
        return self.outcome == "abandoned" and self.occurred_at >= now - ABANDONED_LEFT
