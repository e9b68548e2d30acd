"""Recordings of wires that are not OpenAI's, as their readers get them: a body, or the data of each event."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from proxy.metering.reading import Reading
from proxy.providers.native import NATIVE
from proxy.wire.sse import FrameScanner, data_of, split_frames
from tests.wire.recordings import Recording


def body(wire: str, answer: object) -> Reading:
    return NATIVE[wire].read(json.dumps(answer).encode())


def stream(wire: str, *events: Any) -> Reading:
    """`events`: objects, or the bytes of what is none."""
    reads = NATIVE[wire].stream()
    for event in events:
        reads.feed(event if isinstance(event, bytes) else json.dumps(event).encode())
    return reads.reading()


def read(wire: str, recording: Recording, *, cut: int | None = None) -> Reading:
    """`cut`: so many bytes arrive at a time."""
    if recording.body[:1] == b"\0":
        return _fed(wire, _payloads(recording.body))
    if recording.body.lstrip()[:1] in (b"{", b"["):
        return NATIVE[wire].read(recording.body)
    scanner = FrameScanner()
    size = cut or len(recording.body)
    blocks = [scanner.feed(recording.body[at : at + size]) for at in range(0, len(recording.body), size)]
    return _fed(wire, (data_of(frame) for block in (*blocks, scanner.finish()) for frame in split_frames(block)))


def _fed(wire: str, events: Iterator[bytes]) -> Reading:
    reads = NATIVE[wire].stream()
    for event in events:
        if event:
            reads.feed(event)
    return reads.reading()


def _payloads(frames: bytes) -> Iterator[bytes]:
    while frames:
        length, of_headers, _ = struct.unpack(">III", frames[:12])
        yield frames[12 + of_headers : length - 4]
        frames = frames[length:]
