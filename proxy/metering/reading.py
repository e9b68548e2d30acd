"""What a piece of a provider's answer says about usage, and who can read it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pricing.usage import Part, Usage


class Reading(NamedTuple):
    """`usage` None: none was reported, or (`garbled`) it was and could not be read."""

    usage: Usage | None = None
    raw_usage: str | None = None  # the provider's usage object as it came
    bare: bool = False  # `choices` is there and empty: a chunk that only carries usage
    error: bool = False  # an error object stands where an answer should
    garbled: bool = False
    pending: bool = False  # not the end: the provider goes on, and will bill

    @property
    def parts(self) -> tuple[Part, ...]:
        """What other models consumed."""
        return () if self.usage is None else self.usage.parts


class UsageReader(Protocol):
    """Reads one wire format with one provider's sums. Never raises, whatever the bytes."""

    @property
    def needle(self) -> bytes:
        """Bytes that every piece with usage holds and others almost never do."""

    def read(self, data: bytes) -> Reading:
        """The data of one event, or a whole body."""


class UsageStream(Protocol):
    """One attempt's stream on a wire where no single event has it all. Never raises, whatever the bytes."""

    def feed(self, data: bytes) -> None:
        """The data of one event. Those without usage may be left out, but for errors."""

    def reading(self) -> Reading:
        """What was said so far; `pending` where the end was not."""


class NativeReader(UsageReader, Protocol):
    """A provider's own wire: whole bodies by `read`, streams by `stream`."""

    def stream(self) -> UsageStream:
        """For one attempt."""
