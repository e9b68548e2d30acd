"""A stream of the Responses API passes, and its usage is read. Few of its frames are decoded: those that hold a response
object (the first ones and the last) and those that finish an item.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from pricing.usage import Usage
from proxy.metering.hosted_tools import HostedTools, Item
from proxy.metering.reading import UsageReader
from proxy.metering.stream_meter import TOO_LARGE, StreamMeter
from proxy.wire.sse import MAX_FRAME_BYTES, data_of, frame_at
from proxy.wire.typed_events import ENDS, error_event, frames_with, next_sequence_number, type_of

# A key or a value that is this word: in every frame with a response object, hardly ever in another.
_RESPONSE = b'"response"'
_ITEM_DONE = b'"response.output_item.done"'
_CONTENT = re.compile(rb'"(?:delta|text|refusal|arguments|result)"\s*:\s*"[^"]')
# For a frame that holds no response object: it still says that it is the end.
_ENDED = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed|cancelled)"|(?:^|[\r\n])data:[ ]?\[DONE\]')


class _Event(msgspec.Struct):
    item: Item | None = None


_items = msgspec.json.Decoder(_Event)


class ResponsesMeter(StreamMeter):
    """As its base, but that the last event of the stream is what is held. `strip_usage_chunk` means nothing here."""

    __slots__ = ("_tools",)

    _content = _CONTENT
    _too_large = error_event(TOO_LARGE, 0)

    def __init__(
        self, reader: UsageReader, *, strip_usage_chunk: bool = False, clean_error: Callable[[bytes], bytes] | None = None,
        annotate: Callable[[bytes, Usage], bytes] | None = None, max_frame_bytes: int = MAX_FRAME_BYTES, choices: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(
            reader, strip_usage_chunk=False, clean_error=clean_error, annotate=annotate, max_frame_bytes=max_frame_bytes
        )
        self._find_end = self._look
        self._error_event = b"event: error"
        self._tools = HostedTools()

    @property
    def ended(self) -> bool:
        """The stream said that it ends."""
        return self.done or any(_ENDED.search(block) for block in self._tail)

    @property
    def finished(self) -> bool:
        return self.ended and not self.error_seen

    def error_event(self, body: bytes) -> bytes:
        return error_event(body, next_sequence_number(self._tail))

    def seen_units(self) -> dict[str, int]:
        """What the provider's own tools did."""
        return self._tools.units()

    def _thought(self, block: bytes, said: re.Match[bytes]) -> bool:
        """A summary of thoughts, or an item that holds them: what they took stands in the usage, at the end."""
        start, end = frame_at(block, said.start())
        return block.find(b'"response.reasoning', start, end) >= 0

    def _look(self, block: bytes) -> int:
        """Where the first frame begins that ends the stream; on the way, the items that were finished."""
        end_at = -1
        for start, end in frames_with(block, _RESPONSE):
            kind = type_of(block[start:end])
            if kind in ENDS:
                self.error_seen = self.error_seen or kind == "response.failed"
                end_at = start
                break
        for start, end in frames_with(block if end_at < 0 else block[:end_at], _ITEM_DONE):
            self._see_item(data_of(block[start:end]))
        if block.rfind(b"event:error") >= 0:
            self._error_event = b"event:"
        return end_at

    def _see_item(self, data: bytes) -> None:
        try:
            item = _items.decode(data).item
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if item is not None:
            self.thinks = self.thinks or item.type == "reasoning"
            self._tools.see(item)
