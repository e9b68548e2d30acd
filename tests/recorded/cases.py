"""What a rule gets to see of a difference, and what it may count by itself in the answer, by plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TypeAlias

from tests.recorded import ours, theirs
from tests.recorded.exchanges import Exchange

# Name → (ours, theirs); None: not reported.
Differing: TypeAlias = Mapping[str, tuple[int | None, int | None]]


@dataclass(frozen=True)
class UsageCase:
    exchange: Exchange
    ours: ours.Found
    theirs: theirs.Found
    differing: Differing

    def only(self, *names: str) -> bool:
        return bool(self.differing) and self.differing.keys() <= set(names)

    def they_find_none(self, given: str, made: str, *where: str) -> bool:
        """And ours are the figures under these names, read plainly. `where`: the way to them in the answer."""
        said: object = self.theirs.answer
        for name in where:
            said = said.get(name) if isinstance(said, dict) else None
        if self.theirs.usage or not isinstance(said, dict):
            return False
        plain = {"input_tokens": said.get(given), "output_tokens": said.get(made)}
        totals = {name: count for name, count in self.ours.in_their_terms().items() if name in plain}
        return bool(totals) and totals == {name: count for name, count in plain.items() if count is not None}

    @property
    def compacted(self) -> dict[str, int]:
        """Tokens that Anthropic took to shorten the conversation, in genai-prices' terms: beside the totals."""
        iterations = (self.theirs.answer.get("usage") or {}).get("iterations") or ()
        found: Counter[str] = Counter()
        for said in iterations:
            if said.get("type") == "compaction":
                cached = said.get("cache_read_input_tokens", 0) + said.get("cache_creation_input_tokens", 0)
                found["input_tokens"] += said["input_tokens"] + cached
                found["output_tokens"] += said["output_tokens"]
        return dict(found)

    @property
    def more(self) -> dict[str, int]:
        """By how much ours are more, where they are."""
        return {
            name: (left or 0) - (right or 0)
            for name, (left, right) in self.differing.items()
            if (left or 0) > (right or 0)
        }

    @property
    def tools_executed(self) -> dict[str, int]:
        """By Groq's Compound."""
        names = {"search": "web_searches", "python": "code_sessions"}
        messages = [
            choice.get("message") or choice.get("delta") or {} for choice in self.theirs.answer.get("choices", ())
        ]
        return dict(Counter(names[tool["type"]] for one in messages for tool in one.get("executed_tools") or ()))

    @property
    def searches_grounded(self) -> int:
        """Google Search in a Gemini answer: one per answer before Gemini 3, since then one per different query."""
        candidates = self.theirs.answer.get("candidates") or ()
        queries = {
            query
            for one in candidates
            for query in (one.get("groundingMetadata") or {}).get("webSearchQueries") or ()
            if query
        }
        return len(queries) if self.theirs.model.startswith("gemini-3") else int(bool(queries))

    @property
    def tools_at_work(self) -> dict[str, int]:
        """What OpenAI's own tools did in a response, counted by the items (openapi: WebSearchActionSearch and others)."""
        items = self.theirs.answer.get("output", ())
        of_type = Counter(item.get("type") for item in items)
        searches = [item for item in items if item.get("type") == "web_search_call"]
        containers = {item["container_id"] for item in items if item.get("type") == "code_interpreter_call"}
        counted = {
            # Opening a page and finding in one are free.
            "web_searches": sum((item.get("action") or {}).get("type") == "search" for item in searches),
            "storage_searches": of_type["file_search_call"],
            "code_sessions": len(containers),
            "images": of_type["image_generation_call"],
        }
        return {name: count for name, count in counted.items() if count}


@dataclass(frozen=True)
class CostCase:
    """`ours_pusd` is a lower bound where `unpriced` says what has no price. `context`: what was served."""

    exchange: Exchange
    model: str
    units: Mapping[str, int]
    ours_pusd: int
    unpriced: str | None
    theirs: theirs.Price
    context: Mapping[str, str]

    @property
    def theirs_pusd(self) -> Decimal | None:
        return None if self.theirs.usd is None else self.theirs.usd * 10**12

    @property
    def equal(self) -> bool:
        """Theirs is exact, in as many places as it takes; ours is whole pico-USD."""
        theirs_pusd = self.theirs_pusd
        return theirs_pusd is not None and theirs_pusd.quantize(Decimal(1), ROUND_HALF_EVEN) == self.ours_pusd

    def lacks(self, *units: str) -> bool:
        """All that has no price is one of these, and the rest is equal."""
        whys = (self.unpriced or "").split("; ")
        missing = [unit for why in whys for unit in why.removeprefix("no price for ").split(", ")]
        return self.equal and all(unit.partition("/")[0] in units for unit in missing)


def by_unit(counts: Mapping[str, int | None]) -> dict[str, int]:
    """images/1024x1024/high are images."""
    units: Counter[str] = Counter()
    for name, count in counts.items():
        units[name.partition("/")[0]] += count or 0
    return {unit: count for unit, count in units.items() if count}
