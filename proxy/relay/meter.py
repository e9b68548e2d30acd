"""What the pump needs of whoever reads a stream as it passes (metering/stream_meter.py)."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    counting: bool
    frames: int  # since `counting` was set

    @property
    def reported(self) -> bool:
        """The provider has reported usage."""

    @property
    def hides(self) -> bool:
        """The model may consume what cannot be seen in the stream: thoughts."""

    def feed(self, chunk: bytes) -> tuple[bytes, bool]:
        """Bytes for the client now, in whole frames; whether [DONE] was seen: it is held, with all that follows."""

    def finish(self) -> bytes:
        """What is held, at the end of the stream."""
