from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.body_meter import output_text
from proxy.metering.output_text import COMPACT_AT_BYTES, MAX_TEXT_CHARS, OutputText, texts_in


def frame(*choices: object) -> bytes:
    return b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n"


def test_choices_and_kinds_are_joined_apart() -> None:
    kept = OutputText()
    kept.keep(frame({"index": 0, "delta": {"content": "Hel"}}, {"index": 1, "delta": {"content": "Wor"}}))
    kept.keep(
        b": comment\n\n"
        + frame({"index": 0, "delta": {"content": "lo"}})
        + frame({"index": 1, "delta": {"content": "ld"}})
    )
    kept.keep(
        frame({"index": 0, "delta": {"reasoning_content": "hm", "reasoning": "hm", "refusal": "no"}})
        + b"data: [DONE]\n\n"
    )
    assert kept.text() == "Hello\nWorld\nhm\nno"
    assert kept.text() == "Hello\nWorld\nhm\nno"


def test_lists_of_parts_tools_and_legacy_text() -> None:
    kept = OutputText()
    kept.keep(
        frame(
            {
                "delta": {
                    "content": [{"type": "thinking", "thinking": [{"text": "so"}]}, {"type": "text", "text": "yes"}]
                }
            }
        )
    )  # Mistral
    kept.keep(
        frame(
            {"delta": {"tool_calls": [{"index": 0, "id": "call", "function": {"name": "f", "arguments": "{}"}}]}},
            {"text": "!"},
        )
    )
    assert kept.text() == "soyes!\nf{}"


def test_errors_are_not_text() -> None:
    kept = OutputText()
    kept.keep(b'data: {"error":{"message":"long text"}}\n\ndata: no json\n\ndata: {"choices":5}\n\n')
    assert kept.text() == ""


@given(st.integers(1, 400))
def test_nothing_is_lost_by_compaction(pieces: int) -> None:
    kept = OutputText()
    for number in range(pieces):
        kept.keep(frame({"index": 0, "delta": {"content": f"{number},"}}))
        assert kept._raw_bytes <= COMPACT_AT_BYTES
    assert kept.text() == "".join(f"{number}," for number in range(pieces))


def test_text_is_bounded() -> None:
    kept = OutputText()
    for _ in range(5):
        kept.keep(frame({"index": 0, "delta": {"content": "x" * (MAX_TEXT_CHARS // 4 + 1)}}))
    assert len(kept.text()) == MAX_TEXT_CHARS
    assert kept.truncated


def test_clear_forgets() -> None:
    kept = OutputText()
    kept.keep(frame({"index": 0, "delta": {"content": "x" * (COMPACT_AT_BYTES + 1)}}))
    kept.keep(frame({"index": 0, "delta": {"content": "y"}}))
    kept.clear()
    assert kept.text() == ""


def test_of_a_body() -> None:
    assert output_text(b'{"choices":[{"message":{"role":"assistant","content":"hi"}}]}') == "hi"
    assert output_text(b'{"error":{"message":"hi"}}') == ""
    assert output_text(b"<html>") == ""


def test_a_bomb_says_nothing() -> None:
    deep: object = "text"
    for _ in range(5000):
        deep = [deep]
    assert list(texts_in(deep)) == []
