"""A stream passes, frame by frame, and its usage is read: no JSON per chunk (50 chunks: 10 us instead of 75).

A key that only the usage frame has (`UsageReader.needle`) is looked for from the block's end, and that frame decoded.
The needle inside a JSON string would stand between escaped quotes and so not match; a string that *is* the needle's
word matches, is decoded and found to carry no usage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from pricing.usage import Usage
from proxy.metering.finish import COMPLETED, FINISH
from proxy.metering.output_text import OutputText
from proxy.metering.reading import Reading, UsageReader
from proxy.wire.refusals import Reason, Refused
from proxy.wire.sse import MAX_FRAME_BYTES, FrameScanner, data_of, event_of, frame_at, is_done, with_data

# What an error's frame holds besides others: an `error` key that is not null or `"object":"error"` (vLLM), an event named
# error (recording 28), a letter that is escaped for no reason but to hide a name ({"\\u0065rror":…}).
_ERROR_WORD = re.compile(rb'"error"(?!\s*:\s*null)')
_ERROR_EVENT = re.compile(rb"(?:^|[\r\n])(event:[ ]?error)")
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_CONTENT = re.compile(rb'"(?:content|reasoning_content|reasoning|refusal|arguments|name|text)"\s*:\s*"[^"]')
_MAX_HELD_BYTES = 1024 * 1024
# Stands for an event that is not held, so that nobody knows whom it names; clients read it as an error.
TOO_LARGE = Refused(Reason.UPSTREAM_BROKE, "The provider sent an event that is too large to be passed on.").body()
_TOO_LARGE = b"data: %b\n\n" % TOO_LARGE


class _Choice(msgspec.Struct):
    index: Any = 0
    finish_reason: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []


_finishes = msgspec.json.Decoder(_Chunk)


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
    `choices`: how many the answer has (`n`): all must have finished for a stream without [DONE] to be whole.

    How chat's events differ from others' (responses_meter.py) is in `_find_end`, `_error_event`, `_content`, `_thought`,
    `_too_large` and `ended`.
    """

    __slots__ = (
        "_annotate", "_bare_usage", "_choices", "_clean", "_error_event", "_find_end", "_finished", "_held", "_held_bytes",
        "_needle", "_output", "_reader", "_scanner", "_strip", "_tail", "completed", "counting", "decode_errors", "done", "error_data",
        "error_seen", "frames", "overflowed", "raw_usage", "saw_content", "thinks", "usage",
    )

    _content = _CONTENT
    _too_large = _TOO_LARGE

    def __init__(
        self, reader: UsageReader, *, strip_usage_chunk: bool, clean_error: Callable[[bytes], bytes] | None = None,
        annotate: Callable[[bytes, Usage], bytes] | None = None, max_frame_bytes: int = MAX_FRAME_BYTES, choices: int = 1,
    ) -> None:
        self._reader = reader
        self._needle = reader.needle
        self._strip = strip_usage_chunk
        self._clean = clean_error
        self._annotate = annotate
        # A frame too large to be read could hold an error that nobody cleaned.
        self._scanner = FrameScanner(
            max_frame_bytes=max_frame_bytes, instead=self._too_large if clean_error is not None else None
        )
        # Where the first frame begins that ends the stream; -1: there is none.
        self._find_end: Callable[[bytes], int] = _done_at if choices == 1 else self._see_finishes
        self._error_event = b"event:"  # chat's events have no names but for errors
        self._choices = choices
        self._finished: set[object] = set()
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
        self.completed = False  # a finish was said before any content; see `finished`
        self.thinks = False  # what was said first is a thought
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
        """The stream said that it ends: [DONE], a usage chunk (recording 17 has no [DONE]), a finish reason at last, of each
        choice."""
        if self.done or self._bare_usage:
            return True
        if self._choices > 1:
            return len(self._finished) >= self._choices
        return any(FINISH.search(block) for block in self._tail)

    @property
    def finished(self) -> bool:
        """The provider said that its answer is complete: of one without content, that takes more than its end."""
        return self.ended and not self.error_seen and (self.saw_content or self.completed)

    @property
    def reported(self) -> bool:
        """The provider has reported usage."""
        return self.usage is not None

    @property
    def hides(self) -> bool:
        """The model may consume what cannot be seen here: nothing was said yet, or thoughts were, or are reported. Thoughts that
        are shown need not be all of them."""
        return not self.saw_content or self.thinks or (self.usage is not None and bool(self.usage.reasoning_tokens))

    def output_text(self) -> str:
        """What was said since the last usage (all, where there was none): the part that only an estimate can count."""
        return self._output.text()

    def seen_units(self) -> dict[str, int]:
        """Counted things so far, for an estimate: a stream that broke has no usage to say them."""
        return {}

    def error_event(self, body: bytes) -> bytes:
        """An error in OpenAI's shape as an event that may end this stream: the official SDKs raise on it."""
        return b"data: %b\n\n" % body

    def feed(self, chunk: bytes) -> Fed:
        block = self._scanner.feed(chunk)
        if self.done:
            self._hold(block)
            return _HELD
        if not block:
            return _NOTHING
        at = self._find_end(block)
        if at >= 0:
            self.done = True
            forward = self._inspect(block[:at])
            # The event that ends the stream is held whole, however long: it may be all of the answer once more.
            held = self._inspect(block[at:])
            self._held.append(held)
            self._held_bytes = min(len(held), _MAX_HELD_BYTES // 2)
            return Fed(forward, True)
        return Fed(self._inspect(block), False)

    def finish(self, *, drop_unfinished: bool = False) -> bytes:
        """What is still held, the unfinished frame included unless the stream broke (it would swallow what follows)."""
        rest = self._scanner.finish()
        if rest:
            self.done = self.done or self._find_end(rest) >= 0
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
            first = self._content.search(block)
            # After that nobody asks: an answer with output is not empty.
            self.completed = self.completed or COMPLETED.search(block) is not None
            if first is not None:
                self.saw_content, self.thinks = True, self.thinks or self._thought(block, first)
        if self.counting:
            self.frames += block.count(b"\n\n") or block.count(b"\n\r\n")
        self._tail = (self._tail[1], block)
        if block.rfind(self._needle) >= 0:
            block = self._find_usage(block)
        else:
            self._output.keep(block)
        # rfind: 2 to 3 us per block where `in` takes 5; for one byte 0.2.
        if (
            block.rfind(b'"error"') >= 0
            or block.rfind(self._error_event) >= 0
            or (block.rfind(b"\\") >= 0 and block.rfind(b"\\u00") >= 0)
        ):
            return self._find_errors(block)
        return block

    def _thought(self, block: bytes, said: re.Match[bytes]) -> bool:
        return said[0].startswith(b'"reasoning')

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

    def _see_finishes(self, block: bytes) -> int:
        """Which of several choices finished; and where the stream ends."""
        for match in FINISH.finditer(block):
            start, end = frame_at(block, match.start())
            self._finished.update(_finished_in(data_of(block[start:end])))
        return _done_at(block)

    def _find_errors(self, block: bytes) -> bytes:
        out: list[bytes] = []
        copied = 0
        for start, end in _suspects(block):
            frame = block[start:end]
            data = data_of(frame)
            if event_of(frame) != b"error" and not self._reader.read(data).error:
                continue
            cleaned = self._clean(data) if self._clean is not None else data
            if not self.error_seen:
                self.error_seen, self.error_data = True, cleaned[:4096]
            if cleaned != data:
                out.append(block[copied:start] + with_data(frame, cleaned))
                copied = end
        return b"".join(out) + block[copied:] if copied else block


def _suspects(block: bytes) -> Iterator[tuple[int, int]]:
    """The frames that may hold an error, in their order."""
    positions = [match.start() for match in _ERROR_WORD.finditer(block)]
    if block.rfind(b"event:") >= 0:
        positions += [match.start(1) for match in _ERROR_EVENT.finditer(block)]
    if block.rfind(b"\\u00") >= 0:
        positions += [match.start() for match in _ESCAPED_LETTER.finditer(block)]
    seen = -1
    for position in sorted(positions):
        if position >= seen:
            start, seen = frame_at(block, position)
            yield start, seen


def _finished_in(data: bytes) -> Iterator[object]:
    """Indexes of choices that have a finish reason."""
    try:
        chunk = _finishes.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for choice in chunk.choices:
        if isinstance(choice.finish_reason, str) and isinstance(choice.index, int):
            yield choice.index


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
