"""Whether a model may consume what cannot be seen in its stream: then the provider's own word is worth waiting for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.metering.meters import open_meter
from proxy.providers.readers import reader_for


def chat(delta: dict[str, Any], usage: dict[str, Any] | None = None) -> bytes:
    return b"data: %b\n\n" % orjson.dumps({"choices": [{"index": 0, "delta": delta}], "usage": usage})


def event(kind: str, **more: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **more}))


def usage(reasoning: int) -> dict[str, Any]:
    details = {"reasoning_tokens": reasoning}
    return {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14, "completion_tokens_details": details}


OPENING = chat({"role": "assistant", "content": ""})
TEXT = chat({"content": "Hi", "reasoning": None})
SPOKEN = event("response.output_text.delta", delta="Hi")


@pytest.mark.parametrize("surface, frames, hides", [
    ("chat", [], True),
    ("chat", [OPENING], True),
    ("chat", [OPENING, TEXT], False),
    ("chat", [OPENING, chat({"content": None, "reasoning_content": "Let me"}), TEXT], True),
    ("chat", [chat({"content": "", "reasoning": "Let me"})], True),
    ("chat", [chat({"content": "I was reasoning about it"})], False),
    ("chat", [TEXT, chat({}, usage(0))], False),
    ("chat", [TEXT, chat({}, usage(7))], True),
    ("responses", [event("response.created", response={"usage": None})], True),
    ("responses", [SPOKEN], False),
    ("responses", [event("response.reasoning_summary_text.delta", delta="Let me"), SPOKEN], True),
    ("responses", [event("response.output_item.done", item={"type": "reasoning", "summary": []}), SPOKEN], True),
    ("responses", [event("response.output_item.done", item={"type": "web_search_call"}), SPOKEN], False),
])  # fmt: skip
@pytest.mark.parametrize("together", [False, True], ids=["frame by frame", "in one block"])
def test_hides(surface: str, frames: list[bytes], hides: bool, together: bool) -> None:
    meter = open_meter(surface, reader_for(surface, "openai"), strip_usage_chunk=False, clean_error=None)
    for piece in [b"".join(frames)] if together else frames:
        meter.feed(piece)
    assert meter.hides == hides
