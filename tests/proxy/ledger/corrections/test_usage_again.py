"""What an attempt consumed, from what a row keeps of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from pricing.usage import Part
from proxy.ledger.corrections.figures import Attempt, Figures
from proxy.ledger.corrections.usage_again import usage_again
from proxy.providers.readers import reader_for
from proxy.wire.ids import NIL

OWN, IMAGE = UUID(int=1), UUID(int=2)
MODELS = {OWN: "gpt-5", IMAGE: "gpt-image-1"}
Lines = list[tuple[str, int, UUID | None]]


def attempt(lines: Lines, *, raw: str | None = None, surface: str = "chat", **changes: Any) -> Attempt:
    units, quantities, items = zip(*lines, strict=True) if lines else ((), (), ())
    nothing = (0,) * len(units)
    row = Figures("flex", 100, 0, 10, 4, False, units, quantities, items, nothing, nothing, 0, 0, "usage", 10_000, "", "priced")
    return Attempt(**{  # type: ignore[arg-type]
        "workspace_id": NIL, "attempt_id": NIL, "occurred_at": datetime.now(UTC), "recorded_at": datetime.now(UTC),
        "user_id": NIL, "virtual_key_id": NIL, "agent_id": None, "llm": "gpt-5", "provider": "openai",
        "upstream_model": "gpt-5", "surface": surface, "key_source": "global", "provider_account": "ours",
        "usage_source": "provider", "outcome": "ok", "processing": "batch", "raw_usage": raw, "row": row, "now": row,
        "corrections": 0, **changes,
    })  # fmt: skip


def again(one: Attempt) -> Any:
    return usage_again(one, reader_for(one.surface, "openai"), MODELS.get)


CHAT = '{"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "prompt_tokens_details": {"cached_tokens": 60}}'
IMAGES = """{"usage": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}, "tool_usage": {"image_gen":
    {"input_tokens": 7, "output_tokens": 9, "output_tokens_details": {"image_tokens": 9}}}}"""


def test_the_providers_words_come_first_and_the_tier_that_was_served_stays() -> None:
    found = again(attempt([("input", 1, OWN)], raw=CHAT))
    assert found.from_raw and found.usage.units == {"input": 40, "cache_read": 60, "output": 10}
    assert (found.usage.service_tier, found.usage.processing) == ("flex", "batch")


@pytest.mark.parametrize(
    "changes", [{"raw": None}, {"raw": CHAT[:50]}, {"raw": "7"}, {"raw": CHAT, "usage_source": "estimated"}]
)
def test_else_its_lines(changes: dict[str, Any]) -> None:
    found = again(attempt([("input", 100, None), ("output", 10, OWN), ("requests", 1, OWN)], **changes))
    assert not found.from_raw and found.usage.units == {"input": 100, "output": 10}
    assert found.usage.reasoning_tokens == 4


def test_a_provider_that_nobody_reads_any_more() -> None:
    found = usage_again(attempt([("input", 5, OWN)], raw=CHAT), None, MODELS.get)
    assert found is not None and found.usage.units == {"input": 5}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("web_searches", {"web_searches": 2}),
        ("images/1024x1024/high", {"images/1024x1024/high": 2}),
        ("output_audio", {}),  # a token class: the provider's words are whole
        ("requests", {}),
        ("unheard_of", {}),
    ],
)
def test_counted_things_that_only_the_answer_had(line: str, expected: dict[str, int]) -> None:
    found = again(attempt([(line, 2, None)], raw='{"prompt_tokens": 1, "completion_tokens": 1}'))
    assert found.usage.units == {"input": 1, "output": 1, **expected}


def test_what_the_provider_counted_is_not_counted_twice() -> None:
    raw = '{"usage": {"input_tokens": 1, "output_tokens": 1}, "tool_usage": {"web_search": {"num_requests": 3}}}'
    found = again(attempt([("web_searches", 2, OWN)], raw=raw, surface="responses"))
    assert found.usage.units == {"input": 1, "output": 1, "web_searches": 3}


def test_what_another_model_consumed_is_named_by_its_price() -> None:
    lines: Lines = [("input", 100, OWN), ("output", 10, OWN), ("input", 7, IMAGE), ("output_image", 9, IMAGE)]
    parts = (Part("gpt-image-1", {"input": 7, "output_image": 9}),)
    of_raw = again(attempt(lines, raw=IMAGES, surface="responses"))
    assert of_raw.usage.units == {"input": 100, "output": 10} and of_raw.usage.parts == parts
    of_lines = again(attempt(lines))
    assert of_lines.usage.units == {"input": 100, "output": 10} and of_lines.usage.parts == parts


def test_of_two_lines_without_a_price_nobody_can_say_whose_they_are() -> None:
    lines: Lines = [("input", 100, None), ("input", 7, None)]
    assert again(attempt(lines)) is None
    of_raw = again(attempt(lines, raw=IMAGES, surface="responses"))
    assert of_raw.usage.units == {"input": 100, "output": 10}
    assert [part.model for part in of_raw.usage.parts] == [None]
