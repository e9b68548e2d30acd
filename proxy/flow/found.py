"""What an attempt consumed, as far as the provider's answer tells it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from pricing.usage import Usage
from proxy.flow.events import Outcome, Source
from proxy.metering.body_meter import output_text, read_tail
from proxy.metering.reading import UsageReader
from proxy.metering.stream_meter import StreamMeter
from proxy.relay.stream_end import TAIL_BYTES


class Found(NamedTuple):
    """What an attempt is settled with. `unreadable`: pieces of usage that were there and could not be read."""

    usage: Usage
    source: Source
    outcome: Outcome
    raw_usage: str | None = None
    error_code: str | None = None
    unreadable: int = 0


class Uncounted(NamedTuple):
    """Only an estimate can tell. `usage`: reported in the middle, and `text` was said since; None: nothing was reported.

    `units`: things that were counted as they passed, and that no estimate knows of.
    """

    text: str
    outcome: Outcome
    error_code: str | None = None
    usage: Usage | None = None
    raw_usage: str | None = None
    unreadable: int = 0
    units: Mapping[str, int] = {}


Reckoned: TypeAlias = Found | Uncounted


def nothing(error_code: str) -> Found:
    return Found(Usage(), "none", "upstream_error", None, error_code)


def of_stream(meter: StreamMeter | None, outcome: Outcome, error_code: str | None = None) -> Reckoned:
    """`meter` None: no stream has begun."""
    if meter is None:
        if outcome == "upstream_error":
            return Found(Usage(), "none", outcome, None, error_code)
        return Uncounted("", outcome, error_code)
    if meter.error_seen and outcome == "ok":
        outcome, error_code = "upstream_error", "error_in_stream"
    unreadable, units = meter.decode_errors, meter.seen_units()
    if meter.usage is not None:
        if outcome != "ok" and (said := meter.output_text()):
            return Uncounted(said, outcome, error_code, meter.usage, meter.raw_usage, unreadable, units)
        return Found(meter.usage, "provider", outcome, meter.raw_usage, error_code, unreadable)
    if outcome == "upstream_error" and not meter.saw_content:
        return Found(Usage(), "none", outcome, None, error_code, unreadable)
    return Uncounted(meter.output_text(), outcome, error_code, unreadable=unreadable, units=units)


def of_body(reader: UsageReader, body: bytes, outcome: Outcome) -> Reckoned:
    reading = reader.read(body)
    # One odd value somewhere (a lone surrogate, NaN) must not cost the provider's own word on usage.
    if reading.garbled and (found := read_tail(reader, body[-TAIL_BYTES:])).usage is not None:
        reading = found
    if reading.error:  # in spite of its status (OpenRouter answers 200)
        source: Source = "none" if reading.usage is None else "provider"
        usage = reading.usage or Usage()
        return Found(usage, source, "upstream_error", reading.raw_usage, "error_in_body", int(reading.garbled))
    if reading.usage is not None:
        return Found(reading.usage, "provider", outcome, reading.raw_usage)
    return Uncounted(output_text(body), outcome, unreadable=int(reading.garbled))


def of_tail(reader: UsageReader, tail: bytes) -> Reckoned:
    """Of a body too large to hold."""
    reading = read_tail(reader, tail)
    if reading.usage is None:
        return Uncounted("", "ok", "unread")
    return Found(reading.usage, "provider", "ok", reading.raw_usage)
