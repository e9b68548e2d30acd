"""Frames do not depend on how the bytes were cut; nothing is lost, added or reordered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.sse import FrameScanner, data_of, event_of, frame_at, is_done, split_frames, with_data

line_end = st.sampled_from([b"\n", b"\r\n", b"\r"])
text = st.sampled_from(
    [b"data: x", b"data:", b": c", b"event: error", b"data: [DONE]", b" data: y", b"a", b"", b"", b""]
)
streams = st.lists(st.tuples(text, line_end), max_size=12).map(lambda parts: b"".join(t + e for t, e in parts))
any_streams = st.one_of(
    streams, st.lists(st.sampled_from([b"\r", b"\n", b"a"]), max_size=14).map(b"".join), st.binary(max_size=40)
)


def reference_frames(stream: bytes) -> list[bytes]:
    """The definition, byte by byte: a frame ends after an empty line."""
    frames, start, line_start, i = [], 0, 0, 0
    while i < len(stream):
        if stream[i : i + 1] in (b"\r", b"\n"):
            end = i + (2 if stream[i : i + 2] == b"\r\n" else 1)
            if end == len(stream) and stream.endswith(b"\r"):
                break
            if line_start == i:
                frames.append(stream[start:end])
                start = end
            line_start = i = end
        else:
            i += 1
    return frames + ([stream[start:]] if start < len(stream) else [])


def run(stream: bytes, cuts: list[int], **options: Any) -> tuple[list[bytes], FrameScanner]:
    scanner = FrameScanner(**options)
    out, start = [], 0
    for cut in [*sorted(cuts), len(stream)]:
        out.append(scanner.feed(stream[start:cut]))
        start = cut
    out.append(scanner.finish())
    return out, scanner


@given(any_streams)
def test_frames_follow_the_definition(stream: bytes) -> None:
    assert split_frames(stream) == reference_frames(stream)


@settings(max_examples=400)
@given(any_streams, st.data())
def test_any_cut_gives_the_same_frames(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    blocks, _ = run(stream, cuts)
    assert b"".join(blocks) == stream
    assert [frame for block in blocks for frame in split_frames(block)] == reference_frames(stream)


@given(any_streams)
def test_every_single_byte_cut(stream: bytes) -> None:
    expected = reference_frames(stream)
    for cut in range(len(stream) + 1):
        blocks, _ = run(stream, [cut])
        assert [frame for block in blocks for frame in split_frames(block)] == expected
    blocks, _ = run(stream, list(range(len(stream))))
    assert [frame for block in blocks for frame in split_frames(block)] == expected


@given(any_streams)
def test_a_block_holds_only_whole_frames_until_the_end(stream: bytes) -> None:
    """What is forwarded early is never part of a frame that the meter has not seen whole."""
    ends = {0}
    for frame in reference_frames(stream):
        ends.add(max(ends) + len(frame))
    for cut in range(len(stream) + 1):
        assert len(FrameScanner().feed(stream[:cut])) in ends


@given(st.lists(st.tuples(text, line_end), max_size=12).map(lambda parts: b"".join(t + e for t, e in parts)), st.data())
def test_an_oversized_frame_passes_in_parts_unchanged(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    blocks, scanner = run(stream, cuts, max_frame_bytes=5)
    assert b"".join(blocks) == stream
    assert not scanner.mid_frame


def test_oversized_frames_are_counted_and_not_held() -> None:
    scanner = FrameScanner(max_frame_bytes=10)
    assert scanner.feed(b"data: 0123456789") == b"data: 0123456789"
    assert scanner.mid_frame
    assert scanner.feed(b"\n") == b""  # perhaps half of a blank line
    assert scanner.feed(b"\ndata: x") == b"\n\n"
    assert (scanner.oversized, scanner.mid_frame, scanner.rest) == (1, False, b"data: x")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_blank_line_across_an_oversized_part_still_ends_the_frame(line_end: bytes) -> None:
    scanner = FrameScanner(max_frame_bytes=10)
    assert scanner.feed(b"data: 0123456789" + line_end) == b"data: 0123456789"
    assert scanner.feed(line_end + b"data: x") == line_end * 2
    assert (scanner.oversized, scanner.mid_frame, scanner.rest) == (1, False, b"data: x")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_whole_chunk_is_forwarded_at_once(line_end: bytes) -> None:
    chunk = b"data: 1" + line_end * 2 + b"data: 2" + line_end * 2
    scanner = FrameScanner()
    assert scanner.feed(chunk) == chunk
    assert scanner.rest == b""


@given(streams)
def test_frame_at_agrees_with_split(stream: bytes) -> None:
    start = 0
    for frame in split_frames(stream):
        if frame.strip(b"\r\n"):
            position = start + frame.index(frame.strip(b"\r\n"))
            assert frame_at(stream, position) == (start, start + len(frame))
        start += len(frame)


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\r\n\r\n", b"{}"),
        (b" data: {}\n\n", b"{}"),  # recording 32
        (b": comment\n\n", b""),
        (b"id: 1\nevent: x\ndata: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\rdata: b\r\r", b"a\nb"),
        (b"dataset: a\n\n", b""),
        (b"event: x\ndata: {}\n\n", b"{}"),
        (b"event: x\ndata: {}", b"{}"),
        (b"event: x\ndata: a\ndata: b\n\n", b"a\nb"),
        (b"event: x\ndata: a\ndata: b", b"a\nb"),
        (b"event: x\r\ndata: a\r\n\r\n", b"a"),
        (b"event: data: y\n\n", b""),
        (b"event: x\n\n", b""),
        (b"event: x\ndata: \n\n", b""),
        (b"event: x\ndata: a\n", b"a"),
        (b"\ndata: a\n\n", b"a"),
        (b"", b""),
    ],
)
def test_data_of(frame: bytes, data: bytes) -> None:
    assert data_of(frame) == data


@pytest.mark.parametrize(
    "frame",
    [
        b"data: [DONE]\n\n",
        b"data:[DONE]\n\n",
        b"data: [DONE]\r\n\r\n",
        b"data: [DONE] \n\n",
        b"data: [DONE]",
        b": bye\ndata: [DONE]\n\n",
        b" data: [DONE]\r\r",
    ],
)
def test_done_in_all_spellings(frame: bytes) -> None:
    assert is_done(frame)


@pytest.mark.parametrize(
    "frame", [b'data: "[DONE]"\n\n', b'data: {"content":"[DONE]"}\n\n', b": [DONE]\n\n", b"data: [DONE] x\n\n"]
)
def test_not_done(frame: bytes) -> None:
    assert not is_done(frame)


def test_event_of() -> None:
    assert event_of(b"event: error\ndata: {}\n\n") == b"error"
    assert event_of(b"data: {}\r\nevent:error\r\n\r\n") == b"error"
    assert event_of(b'data: {"event: error"}\n\n') == b""


def test_with_data_keeps_the_other_lines() -> None:
    assert with_data(b"event: error\ndata: secret\n\n", b"{}") == b"event: error\ndata: {}\n\n"
    assert with_data(b"event: error\r\ndata: secret\r\n\r\n", b"{}") == b"event: error\r\ndata: {}\r\n\r\n"


@given(st.lists(st.tuples(text, line_end), max_size=12).map(lambda parts: b"".join(t + e for t, e in parts)))
def test_a_frame_stands_for_an_oversized_one(stream: bytes) -> None:
    """Byte by byte: those longer than is held are replaced, whole, all others stay."""
    most, instead = 9, b"data: too large\n\n"
    blocks, scanner = run(stream, list(range(len(stream))), max_frame_bytes=most, instead=instead)
    frames = reference_frames(stream)
    ended = frames[:-1] if frames and b"".join(frames[:-1]) != stream and not is_whole(frames[-1]) else frames
    expected = b"".join(instead if is_too_long(frame, most) else frame for frame in ended)
    got = b"".join(blocks)
    if ended is frames:
        assert got == expected
    else:
        assert got in (expected + frames[-1], expected + instead)
    assert b"".join(blocks).count(instead) == scanner.oversized


def is_whole(frame: bytes) -> bool:
    return frame.endswith((b"\n\n", b"\r\r", b"\n\r", b"\r\n\r\n", b"\r\r\n", b"\n\r\n")) or frame in (b"\n", b"\r", b"\r\n")


def is_too_long(frame: bytes, most: int) -> bool:
    """Held until its end is sure; a CR at the end is sure only with the next byte."""
    line = frame.rstrip(b"\r\n")
    return len(frame) - 1 > most or (len(frame) > most and frame.endswith(b"\r")) or len(line) > most


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("cut", [1, 7, 40])
def test_what_follows_an_oversized_frame_passes(line_end: bytes, cut: int) -> None:
    long = b"data: " + b"x" * 100 + line_end + b"data: y" + line_end * 2
    stream = b"data: 1" + line_end * 2 + long + b"data: 2" + line_end * 2 + b": 3" + line_end * 2
    scanner = FrameScanner(max_frame_bytes=20, instead=b"data: gone\n\n")
    got = b"".join(scanner.feed(stream[at : at + cut]) for at in range(0, len(stream), cut)) + scanner.finish()
    assert got == stream.replace(long, b"data: gone\n\n")
    assert scanner.oversized == 1


def test_an_oversized_frame_that_never_ends_is_dropped() -> None:
    scanner = FrameScanner(max_frame_bytes=10, instead=b"data: gone\n\n")
    assert scanner.feed(b"data: " + b"x" * 20) == b"data: gone\n\n"
    assert scanner.feed(b"x" * 20 + b"\n") == b""
    assert scanner.finish() == b""
