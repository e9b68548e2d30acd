"""A whole JSON answer: what it says, and the usage at the end of one that is too large to hold."""

from __future__ import annotations

from proxy.metering.output_text import OutputText
from proxy.metering.reading import Reading, UsageReader

# Where usage begins in the end of a body that was not held; counted tools stand before it (recording 13).
_ENDS = (b'"tool_usage"', b'"usage"')
_MAX_TRIES = 8


def read_tail(reader: UsageReader, tail: bytes) -> Reading:
    """The end of a body too large to hold: providers put usage last, or nearly."""
    for sign in _ENDS:
        at = len(tail)
        for _ in range(_MAX_TRIES):
            at = tail.rfind(sign, 0, at)
            if at < 0:
                break
            reading = reader.read(b"{" + tail[at:])
            if reading.usage is not None:
                return reading
    return Reading()


def output_text(body: bytes) -> str:
    """What the answer says, for the estimate; empty where it is no answer."""
    output = OutputText()
    output.add_body(body)
    return output.text()
