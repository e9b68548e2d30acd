"""What a reader finds in a whole body, under the names that a `StreamMeter` has."""

from __future__ import annotations

from pricing.usage import Usage
from proxy.metering.body_meter import read_tail
from proxy.metering.reading import Reading, UsageReader


class WholeBody:
    """One attempt's body. `read` once; then read the attributes (as a `StreamMeter` has them)."""

    __slots__ = ("_reader", "decode_errors", "error_seen", "images", "parts", "pending", "raw_usage", "usage")

    def __init__(self, reader: UsageReader) -> None:
        self._reader = reader
        self.usage: Usage | None = None
        self.raw_usage: str | None = None
        self.decode_errors = 0
        self.error_seen = False  # a body that is an error in spite of its status (OpenRouter answers 200)
        self.pending = False  # the provider goes on in the background: this is not what it will bill

    def read(self, body: bytes) -> tuple[Usage | None, str | None]:
        return self._take(self._reader.read(body))

    def read_tail(self, tail: bytes) -> tuple[Usage | None, str | None]:
        return self._take(read_tail(self._reader, tail))

    def _take(self, reading: Reading) -> tuple[Usage | None, str | None]:
        self.usage, self.raw_usage, self.error_seen = reading.usage, reading.raw_usage, reading.error
        self.pending = reading.pending
        if reading.garbled:
            self.decode_errors += 1
        return self.usage, self.raw_usage
