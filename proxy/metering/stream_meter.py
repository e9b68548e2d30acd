"""A stream passes, frame by frame, and its usage is read: no JSON per chunk (50 chunks: 10 us instead of 75).

A key that only the usage frame has (`UsageReader.needle`) is looked for from the block's end, and that frame decoded.
The needle inside a JSON string would stand between escaped quotes and so not match; a string that *is* the needle's
word matches, is decoded and found to carry no usage.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pricing.usage import Usage
from proxy.metering.output_text import OutputText
from proxy.metering.reading import Reading, UsageReader
from proxy.wire.sse import MAX_FRAME_BYTES, FrameScanner, data_of, event_of, frame_at, is_done, with_data

# An `error` key that is not null, `"object":"error"` (vLLM), or an event named error (recording 28).
_ERROR = re.compile(rb'"error"\s*(?::\s*(?!null)|[,}])|(?:^|[\r\n])event:[ ]?error')
_CONTENT = re.compile(rb'"(?:content|reasoning_content|reasoning|refusal|arguments|name|text)"\s*:\s*"[^"]')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_MAX_HELD_BYTES = 1024 * 1024


class Fed(NamedTuple):
    """`forward`: bytes for the client now. `done`: `data: [DONE]` was seen; it and what follows is held."""

    forward: bytes
    done: bool


_NOTHING = Fed(b"", False)
_HELD = Fed(b"", True)


class StreamMeter:
    """One attempt's stream. `feed` each chunk, `finish` once; then read the attributes.

    `strip_usage_chunk`: the gateway asked for usage and the client did not: chunks with usage and empty choices go.
    `clean_error`: applied to the data of error frames (a provider's answer to our own account).
    `annotate`: applied to the data of frames with usage that the client gets (`usage.cost`).
    """

    __slots__ = (
        "_annotate", "_bare_usage", "_clean", "_held", "_held_bytes", "_needle", "_output", "_reader", "_scanner", "_strip",
        "_tail", "counting", "decode_errors", "done", "error_data", "error_seen", "frames", "overflowed", "raw_usage",
        "saw_content", "usage",
    )

    def __init__(
        self, reader: UsageReader, *, strip_usage_chunk: bool, clean_error: Callable[[bytes], bytes] | None = None,
        annotate: Callable[[bytes, Usage], bytes] | None = None, max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        self._reader = reader
        self._needle = reader.needle
        self._strip = strip_usage_chunk
        self._clean = clean_error
        self._annotate = annotate
        self._scanner = FrameScanner(max_frame_bytes=max_frame_bytes)
        self._output = OutputText()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._bare_usage = False
        self._tail = (b"", b"")
        self.usage: Usage | None = None  # the last reported: it replaces earlier ones
        self.raw_usage: str | None = None
        self.decode_errors = 0  # usage that was there and could not be read
        self.error_seen = False
        self.error_data = b""  # the first error frame's data, at most 4 KiB
        self.saw_content = False
        self.done = False  # `data: [DONE]` was seen
        self.counting = False  # count `frames`: set by who drains, as it costs 10 us per block of 50
        self.frames = 0
        self.overflowed = False  # more than 1 MiB followed [DONE] and was dropped

    @property
    def held(self) -> bytes:
        return b"".join(self._held)

    @property
    def oversized(self) -> int:
        """Frames too long to be held and so not metered."""
        return self._scanner.oversized

    @property
    def ended(self) -> bool:
        """The stream said that it ends: [DONE], a usage chunk (recording 17 has no [DONE]), a finish reason at last."""
        return self.done or self._bare_usage or any(_FINISH.search(block) for block in self._tail)

    def output_text(self) -> str:
        """What was said since the last usage (all, where there was none): the part that only an estimate can count."""
        return self._output.text()

    def feed(self, chunk: bytes) -> Fed:
        block = self._scanner.feed(chunk)
        if self.done:
            self._hold(block)
            return _HELD
        if not block:
            return _NOTHING
        at = _done_at(block)
        if at >= 0:
            self.done = True
            forward = self._inspect(block[:at])
            self._hold(block[at:])
            return Fed(forward, True)
        return Fed(self._inspect(block), False)

    def finish(self, *, drop_unfinished: bool = False) -> bytes:
        """What is still held, the unfinished frame included unless the stream broke (it would swallow what follows)."""
        rest = self._scanner.finish()
        if rest:
            self.done = self.done or is_done(rest)
            rest = self._inspect(rest)
            if not drop_unfinished:
                self._held.append(rest)
        return self.held

    def _hold(self, block: bytes) -> None:
        block = self._inspect(block)
        room = _MAX_HELD_BYTES - self._held_bytes
        if len(block) > room:
            self.overflowed = True
            block = block[:room]
        self._held_bytes += len(block)
        self._held.append(block)

    def _inspect(self, block: bytes) -> bytes:
        """The block as the client gets it."""
        if not block:
            return block
        if not self.saw_content:
            self.saw_content = _CONTENT.search(block) is not None
        if self.counting:
            self.frames += block.count(b"\n\n") or block.count(b"\n\r\n")
        self._tail = (self._tail[1], block)
        if block.rfind(self._needle) >= 0:
            block = self._find_usage(block)
        else:
            self._output.keep(block)
        # rfind: 2 to 3 us per block where `in` takes 5.
        if block.rfind(b'"error"') >= 0 or block.rfind(b"event:") >= 0:
            block = self._find_errors(block)
        return block

    def _find_usage(self, block: bytes) -> bytes:
        """From the block's end: the first that is found is the last reported."""
        edits: list[tuple[int, int, bytes]] = []
        after_usage = 0
        position = block.rfind(self._needle)
        while position >= 0:
            start, end = frame_at(block, position)
            reading = self._reader.read(data_of(block[start:end]))
            if not after_usage and self._take(reading):
                after_usage = end
            if reading.usage is not None and (shown := self._shown(block[start:end], reading)) is not None:
                edits.append((start, end, shown))
            if after_usage and not self._strip and self._annotate is None:
                break
            position = block.rfind(self._needle, 0, start)
        if after_usage:
            self._output.clear()
        if after_usage < len(block):
            self._output.keep(block[after_usage:])
        for start, end, shown in edits:
            block = block[:start] + shown + block[end:]
        return block

    def _shown(self, frame: bytes, reading: Reading) -> bytes | None:
        """What the client gets of a frame with usage; None: the frame as it came."""
        if self._strip and reading.bare:
            return b""
        if self._annotate is not None and reading.usage is not None:
            return with_data(frame, self._annotate(data_of(frame), reading.usage))
        return None

    def _take(self, reading: Reading) -> bool:
        if reading.garbled:
            self.decode_errors += 1
        if reading.usage is None:
            return False
        self.usage, self.raw_usage, self._bare_usage = reading.usage, reading.raw_usage, reading.bare
        return True

    def _find_errors(self, block: bytes) -> bytes:
        out: list[bytes] = []
        copied = seen = 0
        for match in _ERROR.finditer(block):
            if match.start() < seen:
                continue
            start, seen = frame_at(block, match.end() - 1)
            frame = block[start:seen]
            data = data_of(frame)
            if event_of(frame) != b"error" and not self._reader.read(data).error:
                continue
            cleaned = self._clean(data) if self._clean is not None else data
            if not self.error_seen:
                self.error_seen, self.error_data = True, cleaned[:4096]
            if cleaned != data:
                out.append(block[copied:start] + with_data(frame, cleaned))
                copied = seen
        return b"".join(out) + block[copied:] if copied else block


def _done_at(block: bytes) -> int:
    """Start of the first frame whose data is [DONE]; -1: those words are an answer's."""
    position = block.rfind(b"[DONE]")  # from the end, and half the time of `find`
    if position < 0:
        return -1
    start, end = frame_at(block, position)
    if is_done(block[start:end]) and block.rfind(b"[DONE]", 0, start) < 0:
        return start
    position = block.find(b"[DONE]")
    while position >= 0:
        start, end = frame_at(block, position)
        if is_done(block[start:end]):
            return start
        position = block.find(b"[DONE]", end)
    return -1
