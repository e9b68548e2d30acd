from __future__ import annotations

import json

import pytest

from proxy.wire.sse import data_of, event_of
from proxy.wire.typed_events import error_event, frames_with, next_sequence_number, type_of


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n', "response.created"),
        (b'data: {"response":{"type":"x"},"type":"response.failed"}\n\n', "response.failed"),
        (b'event: response.completed\ndata: {"response":{}}\n\n', "response.completed"),
        (b"event: response.completed\r\ndata: {cut\r\n\r\n", "response.completed"),
        (b'data: {"type":5}\n\n', ""),
        (b'data: {"ty\\u0070e":"response.completed"}\n\n', "response.completed"),
        (b"data: [1]\n\n", ""),
        (b": comment\n\n", ""),
    ],
)
def test_type_of(frame: bytes, kind: str) -> None:
    assert type_of(frame) == kind


def test_frames_with() -> None:
    block = b"data: a\n\ndata: b a\n\ndata: c\n\ndata: a a\n\n"
    assert [block[start:end] for start, end in frames_with(block, b"a a")] == [b"data: a a\n\n"]
    assert len(list(frames_with(block, b" a"))) == 3
    assert list(frames_with(block, b"z")) == []


def test_next_sequence_number() -> None:
    assert next_sequence_number((b"", b"")) == 0
    assert next_sequence_number((b'data: {"sequence_number":3}\n\ndata: {"sequence_number": 4}\n\n', b": ping\n\n")) == 5
    assert next_sequence_number((b'{"sequence_number":%d}' % 10**400,)) == 0


def test_error_event() -> None:
    event = error_event(b'{"error":{"message":"m","code":null}}', 7)
    assert event_of(event) == b"error"
    assert json.loads(data_of(event)) == {
        "type": "error",
        "sequence_number": 7,
        "error": {"message": "m", "code": None},
    }
