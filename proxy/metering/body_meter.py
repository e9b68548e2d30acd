"""A whole JSON answer and its usage."""

from __future__ import annotations

from pricing.usage import Usage
from proxy.metering.output_text import OutputText
from proxy.metering.reading import UsageReader


class BodyMeter:
    """One attempt's body. `read` once; then read the attributes (as a `StreamMeter` has them)."""

    __slots__ = ("_reader", "decode_errors", "error_seen", "raw_usage", "usage")

    def __init__(self, reader: UsageReader) -> None:
        self._reader = reader
        self.usage: Usage | None = None
        self.raw_usage: str | None = None
        self.decode_errors = 0
        self.error_seen = False  # a body that is an error in spite of its status (OpenRouter answers 200)

    def read(self, body: bytes) -> tuple[Usage | None, str | None]:
        reading = self._reader.read(body)
        self.usage, self.raw_usage, self.error_seen = reading.usage, reading.raw_usage, reading.error
        if reading.garbled:
            self.decode_errors += 1
        return self.usage, self.raw_usage


def output_text(body: bytes) -> str:
    """What the answer says, for the estimate; empty where it is not a chat answer."""
    output = OutputText()
    output.add_body(body)
    return output.text()
