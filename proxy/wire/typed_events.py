"""Events of the Responses API: each frame has a name, its data repeats it as `type` (OpenAPI, "Responses streaming").

The stream's last event holds the whole response; no `[DONE]` follows (recordings 5, 13, 14, 15; OpenRouter sends one).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from proxy.wire.sse import data_of, event_of, frame_at

# `cancelled` is a status of a response but no event in the published list: who sends it has ended, too.
ENDS = frozenset(["response.completed", "response.incomplete", "response.failed", "response.cancelled"])
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d{1,15})(?!\d)')


class _Named(msgspec.Struct):
    type: Any = None


_decoder = msgspec.json.Decoder(_Named)


def type_of(frame: bytes) -> str:
    """The event's type; empty where it says none."""
    try:
        found = _decoder.decode(data_of(frame)).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return event_of(frame).decode("latin-1")
    return found if isinstance(found, str) else event_of(frame).decode("latin-1")


def frames_with(block: bytes, needle: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each frame that holds the needle, in their order."""
    position = block.find(needle) if block.rfind(needle) >= 0 else -1  # rfind takes half the time
    while position >= 0:
        start, end = frame_at(block, position)
        yield start, end
        position = block.find(needle, end)


def next_sequence_number(blocks: tuple[bytes, ...]) -> int:
    """One more than the last that these blocks hold; 0: none does."""
    for block in reversed(blocks):
        found = _SEQUENCE.findall(block)
        if found:
            return int(found[-1]) + 1
    return 0


def error_event(body: bytes, sequence_number: int) -> bytes:
    """`body`: an error in OpenAI's shape. As the provider sends one inside a stream (recording 16): SDKs raise on it."""
    return b'event: error\ndata: {"type":"error","sequence_number":%d,%b\n\n' % (sequence_number, body[1:])
