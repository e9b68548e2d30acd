"""The text of an answer, for the estimate: kept as it passed, decoded only when there is much of it or at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from proxy.wire.sse import data_of, split_frames

# Raw frames are ~50 times their text: a short stream is never decoded, a long one at most once per frame.
COMPACT_AT_BYTES = 16 * 1024
MAX_TEXT_CHARS = 4 * 1024 * 1024
_MAX_VOICES = 512  # choices × kinds × calls; more are one voice
# A tool call in the text: CALL, its name, ARGUMENTS, its arguments. Calls come after all else.
CALL, ARGUMENTS = "\x1e", "\x1f"


class _Said(msgspec.Struct):
    """A delta or a message. Anything may have any type: providers send lists of parts, nulls, numbers."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None


class _Choice(msgspec.Struct):
    index: Any = 0
    delta: _Said | None = None
    message: _Said | None = None
    text: Any = None  # legacy completions


class _Answer(msgspec.Struct):
    """A chat chunk or body; a Responses event (`type`, `delta`, `item`) or body (`output`)."""

    choices: list[_Choice] | None = None
    type: Any = None
    delta: Any = None
    item: Any = None
    output_index: Any = 0
    output: Any = None


_decoder = msgspec.json.Decoder(_Answer)
# Events of the Responses API whose `delta` a model has said; `.done` events repeat it.
_DELTAS = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.audio.transcript.delta": "content",
    "response.function_call_arguments.delta": "call",
    "response.custom_tool_call_input.delta": "call",
    "response.mcp_call_arguments.delta": "call",
    "response.code_interpreter_call_code.delta": "call",
}


class OutputText:
    """Bounded memory: raw blocks up to `COMPACT_AT_BYTES`, text up to `MAX_TEXT_CHARS` (then `truncated`)."""

    __slots__ = ("_blocks", "_chars", "_raw_bytes", "_voices", "truncated")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._raw_bytes = 0
        self._voices: dict[tuple[int, str, int], list[str]] = {}
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
        plain = ["".join(parts) for (_, kind, _), parts in self._voices.items() if kind != "call"]
        calls = ["".join(parts) for (_, kind, _), parts in self._voices.items() if kind == "call"]
        return "\n".join(plain) + "".join(calls)

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
            self._choice(choice)
        if answer.type is not None:
            self._event(answer)
        if isinstance(answer.output, list):
            for place, item in enumerate(answer.output):
                self._item(place, item)

    def _choice(self, choice: _Choice) -> None:
        said = choice.delta or choice.message
        index = choice.index if isinstance(choice.index, int) else 0
        if said is not None:
            self._say(index, "content", said.content)
            # Both names at once carry the same text (OpenRouter, vLLM).
            self._say(index, "reasoning", said.reasoning_content or said.reasoning)
            self._say(index, "refusal", said.refusal)
            self._say(index, "content", said.audio)
            for place, call in enumerate(said.tool_calls if isinstance(said.tool_calls, list) else ()):
                self._call(index, place, call)
            self._call(index, 0, said.function_call)
        self._say(index, "content", choice.text)

    def _event(self, answer: _Answer) -> None:
        place = answer.output_index if isinstance(answer.output_index, int) else 0
        if answer.type == "response.output_item.added" and isinstance(answer.item, dict):
            self._name(0, place, answer.item.get("name"))
        elif isinstance(answer.type, str) and (kind := _DELTAS.get(answer.type)) is not None:
            self._say(0, kind, answer.delta, place)

    def _item(self, place: int, item: object) -> None:
        """Of a Responses body: a message, a reasoning item, a call."""
        if not isinstance(item, dict):
            return
        self._name(0, place, item.get("name"))
        self._say(0, "call", item.get("arguments") or item.get("input"), place)
        kind = "reasoning" if item.get("type") == "reasoning" else "content"
        self._say(0, kind, item.get("summary") if kind == "reasoning" else None)
        self._say(0, kind, item.get("content"))

    def _call(self, index: int, place: int, call: object) -> None:
        if not isinstance(call, dict):
            return
        number = call.get("index", place)
        place = number if isinstance(number, int) else place
        held = call.get("function") or call.get("custom") or call
        if isinstance(held, dict):
            self._name(index, place, held.get("name"))
            self._say(index, "call", held.get("arguments") or held.get("input"), place)

    def _name(self, index: int, place: int, name: object) -> None:
        if isinstance(name, str) and name:
            self._say(index, "call", CALL + name + ARGUMENTS, place)

    def _say(self, index: int, kind: str, value: object, place: int = 0) -> None:
        if not value:
            return
        voice = (index, kind, place)
        if voice not in self._voices and len(self._voices) >= _MAX_VOICES:
            voice = (-1, kind, 0)
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
        for key in ("text", "name", "arguments", "content", "refusal", "thinking", "function", "custom", "input", "transcript"):
            part = value.get(key)
            if part is not None:
                yield from texts_in(part, depth - 1)
