"""The text of an answer, for the estimate: kept as it passed, decoded only when there is much of it or at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from proxy.wire.sse import data_of, split_frames

# Raw frames are ~50 times their text: a short stream is never decoded, a long one at most once per frame.
COMPACT_AT_BYTES = 16 * 1024
MAX_TEXT_CHARS = 4 * 1024 * 1024
_MAX_VOICES = 512  # choices × kinds; more are one voice


class _Said(msgspec.Struct):
    """A delta or a message. Anything may have any type: providers send lists of parts, nulls, numbers."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(msgspec.Struct):
    index: Any = 0
    delta: _Said | None = None
    message: _Said | None = None
    text: Any = None  # legacy completions


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None


_decoder = msgspec.json.Decoder(_Answer)


class OutputText:
    """Bounded memory: raw blocks up to `COMPACT_AT_BYTES`, text up to `MAX_TEXT_CHARS` (then `truncated`)."""

    __slots__ = ("_blocks", "_chars", "_raw_bytes", "_voices", "truncated")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._raw_bytes = 0
        self._voices: dict[tuple[int, str], list[str]] = {}
        self._chars = 0
        self.truncated = False

    def keep(self, block: bytes) -> None:
        """A block of whole frames."""
        self._blocks.append(block)
        self._raw_bytes += len(block)
        if self._raw_bytes > COMPACT_AT_BYTES:
            self._compact()

    def clear(self) -> None:
        if self._raw_bytes or self._voices:
            self._blocks.clear()
            self._voices.clear()
            self._raw_bytes = self._chars = 0

    def text(self) -> str:
        self._compact()
        return "\n".join("".join(parts) for parts in self._voices.values())

    def add_body(self, body: bytes) -> None:
        """A whole answer that is not a stream."""
        self._add(body)

    def _compact(self) -> None:
        block = b"".join(self._blocks)
        self._blocks, self._raw_bytes = [], 0
        for frame in split_frames(block) if b"\r" in block else block.split(b"\n\n"):
            data = frame[6:] if frame.startswith(b"data: {") and b"\n" not in frame else data_of(frame)
            if data.startswith(b"{"):
                self._add(data)

    def _add(self, data: bytes) -> None:
        try:
            answer = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # not an answer: an error's text is never counted
        for choice in answer.choices or ():
            said = choice.delta or choice.message
            index = choice.index if isinstance(choice.index, int) else 0
            if said is not None:
                self._say(index, "content", said.content)
                # Both names at once carry the same text (OpenRouter, vLLM).
                self._say(index, "reasoning", said.reasoning_content or said.reasoning)
                self._say(index, "refusal", said.refusal)
                self._say(index, "calls", said.tool_calls)
                self._say(index, "calls", said.function_call)
            self._say(index, "content", choice.text)

    def _say(self, index: int, kind: str, value: object) -> None:
        if not value:
            return
        voice = (index, kind)
        if voice not in self._voices and len(self._voices) >= _MAX_VOICES:
            voice = (-1, kind)
        parts = self._voices.setdefault(voice, [])
        for text in texts_in(value):
            room = MAX_TEXT_CHARS - self._chars
            if len(text) > room:
                self.truncated = True
                text = text[:room]
            self._chars += len(text)
            if text:
                parts.append(text)


def texts_in(value: object, depth: int = 8) -> Iterable[str]:
    """Text of a string, a list of parts or tool calls, an object: what a model has to write or read, not its ids."""
    if isinstance(value, str):
        yield value
    elif depth == 0:
        return  # no provider nests text that deep; a bomb does
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part, depth - 1)
    elif isinstance(value, dict):
        for key in ("text", "name", "arguments", "content", "refusal", "thinking", "function", "custom", "input"):
            part = value.get(key)
            if part is not None:
                yield from texts_in(part, depth - 1)
