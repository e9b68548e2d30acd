"""Server-sent events by whole frames (WHATWG HTML, "Server-sent events", 9.2.5): nothing is parsed that need not be.

A frame is what ends with a blank line, that line included; a blank line of its own is a frame too. Lines end with LF,
CRLF or CR, also mixed. Where a stream is cut into chunks makes no difference to its frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r")
# Clients ignore a line " data: …" (its field name starts with a blank, recording 32); whoever counts must not.
_DATA_LINE = re.compile(rb"(?:^|[\r\n])[ \t]*data:[ ]?([^\r\n]*)")
_EVENT_LINE = re.compile(rb"(?:^|[\r\n])event:[ ]?([^\r\n]*)")
_CR = 0x0D

# Events of the Responses API hold whole images (base64), the last one all of them.
MAX_FRAME_BYTES = 32 * 1024 * 1024


class FrameScanner:
    """Bytes in, the longest run of whole frames out. An unfinished frame waits in `rest`.

    A frame longer than `max_frame_bytes` is not held: it passes in parts, or, with `instead`, that whole frame stands for
    it; `oversized` counts it. Time is linear in the bytes, however they are cut.
    """

    __slots__ = ("_cr", "_fresh", "_instead", "_line_start", "_max", "_rest", "_scanned", "oversized")

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES, instead: bytes | None = None) -> None:
        self._max = max_frame_bytes
        self._instead = instead
        self._rest = bytearray()
        self._fresh = True  # `rest` begins a frame (False: in the middle of an oversized one)
        # `rest` holds a CR: its lines are walked from `_scanned`, in a line that began at `_line_start`.
        self._cr = False
        self._scanned = 0
        self._line_start = 0
        self.oversized = 0

    @property
    def rest(self) -> bytes:
        return bytes(self._rest)

    @property
    def mid_frame(self) -> bool:
        """What was returned so far ends inside an oversized frame."""
        return not self._fresh

    def feed(self, chunk: bytes) -> bytes:
        rest = self._rest
        # A blank line that ends with LF ends a frame for sure (after CR, LF may still follow).
        if not rest and self._fresh and chunk.endswith((b"\n\n", b"\r\n\r\n")):
            return chunk
        searched = len(rest)
        rest += chunk
        end = self._end_by_lf(searched) if not self._cr and b"\r" not in chunk else self._end_by_line(searched)
        block = b""
        if end:
            block = bytes(rest[:end])
            del rest[:end]
            if not self._fresh and self._instead is not None:
                block = block[_first_end(block) :]
            self._fresh = True
        if len(rest) > self._max:
            block += self._overflow()
        if not rest:
            self._cr = False
        return block

    def finish(self) -> bytes:
        """The unfinished rest, once no more bytes come."""
        rest = bytes(self._rest) if self._fresh or self._instead is None else b""
        self._rest.clear()
        self._fresh, self._cr = True, False
        return rest

    def _end_by_lf(self, searched: int) -> int:
        """Where the last whole frame of `rest` ends; 0: none is whole. `searched` bytes were there before."""
        at = self._rest.rfind(b"\n\n", max(0, searched - 1))
        if at >= 0:
            return at + 2
        return 1 if self._fresh and self._rest.startswith(b"\n") else 0

    def _end_by_line(self, searched: int) -> int:
        rest = self._rest
        if not self._cr:
            self._cr = True
            self._scanned = searched
            self._line_start = rest.rfind(b"\n", 0, searched) + 1
            if self._line_start == 0 and not self._fresh:
                self._line_start = -1
        last = 0
        size = len(rest)
        for match in _LINE_END.finditer(rest, self._scanned):
            start, end = match.span()
            self._scanned = start
            if end == size and rest[end - 1] == _CR:
                break  # perhaps half of a CRLF: the next byte decides
            if start == self._line_start:
                last = end
            self._line_start = self._scanned = end
        else:
            self._scanned = size
        self._scanned -= last
        self._line_start -= last
        return last

    def _overflow(self) -> bytes:
        """All of an oversized frame so far, but line ends that may turn out to be half of a blank line."""
        rest = self._rest
        begun = self._fresh
        if begun:
            self.oversized += 1
            self._fresh = False
        end = len(rest)
        while end and rest[end - 1] in b"\r\n":
            end -= 1
        part = bytes(rest[:end])
        del rest[:end]
        self._scanned, self._line_start = 0, -1
        if self._instead is None:
            return part
        return self._instead if begun else b""


def _frame_ends(block: bytes) -> Iterator[int]:
    """Ends of frames, line by line; a CR that ends the block may be half of a CRLF and ends nothing yet."""
    line_start = 0
    size = len(block)
    for match in _LINE_END.finditer(block):
        start, end = match.span()
        if end == size and block[end - 1] == _CR:
            return
        if start == line_start:
            yield end
        line_start = end


def _first_end(block: bytes) -> int:
    """Where the frame ends in whose middle the block begins; the block holds that end."""
    line_start = -1
    for match in _LINE_END.finditer(block):
        if match.start() == line_start:
            return match.end()
        line_start = match.end()
    raise AssertionError("the end was found")


def split_frames(block: bytes) -> list[bytes]:
    """The frames of a block; an unfinished one is the last."""
    frames = []
    start = 0
    for end in _frame_ends(block):
        frames.append(block[start:end])
        start = end
    if start < len(block):
        frames.append(block[start:])
    return frames


def frame_at(block: bytes, position: int) -> tuple[int, int]:
    """Start and end of the frame that holds a position of a block (of whole frames, but perhaps the last)."""
    if b"\r" not in block:
        start = block.rfind(b"\n\n", 0, position)
        start = start + 2 if start >= 0 else len(block) - len(block.lstrip(b"\n"))
        end = block.find(b"\n\n", position)
        return start, end + 2 if end >= 0 else len(block)
    start = 0
    for end in _frame_ends(block):
        if end > position:
            return start, end
        start = end
    return start, len(block)


def data_of(frame: bytes) -> bytes:
    """The `data` of a frame: its data lines joined by LF. Empty for a comment."""
    if frame.startswith(b"data: ") and frame.endswith(b"\n\n"):
        data = frame[6:-2]
        if b"\n" not in data and b"\r" not in data:
            return data
    elif frame.startswith(b"event: ") and b"\r" not in frame:
        start = frame.find(b"\n") + 1
        end = len(frame) - 2 if frame.endswith(b"\n\n") else len(frame)
        if frame.startswith(b"data: ", start) and frame.find(b"\n", start, end) < 0:
            return frame[start + 6 : end]
    return b"\n".join(_DATA_LINE.findall(frame))


def event_of(frame: bytes) -> bytes:
    """The event's type, the last one given; empty where there is none."""
    names: list[bytes] = _EVENT_LINE.findall(frame)
    return names[-1] if names else b""


def is_done(frame: bytes) -> bool:
    """`data: [DONE]`, in any spelling."""
    return data_of(frame).strip() == b"[DONE]"


def with_data(frame: bytes, data: bytes) -> bytes:
    """The frame with other data; its other lines and its kind of line ends stay."""
    line_end = b"\r\n" if b"\r\n" in frame else b"\n"
    lines = [line for line in frame.splitlines() if line and not line.lstrip(b" \t").startswith(b"data:")]
    lines += [b"data: " + line for line in data.split(b"\n")]
    return line_end.join(lines) + line_end + line_end
