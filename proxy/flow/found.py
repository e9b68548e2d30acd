"""What an attempt consumed, as far as the provider's answer tells it, by the table of endings (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pricing.usage import Usage
from proxy.flow.events import Outcome, Source
from proxy.flow.outcomes import ERROR_SAID, Counts, Verdict
from proxy.metering.body_meter import output_text, read_tail
from proxy.metering.finish import says_finish
from proxy.metering.reading import UsageReader
from proxy.metering.stream_meter import StreamMeter
from proxy.relay.stream_end import TAIL_BYTES

_NO_UNITS: Mapping[str, int] = {}
_NOTHING, _REPORTED, _SINCE = Counts.NOTHING, Counts.REPORTED, Counts.SINCE  # looking one up takes as long as all the rest


class Uncounted(NamedTuple):
    """What only an estimate can tell. `reported`: `text` was said after the usage that is there; else nothing was reported.

    `units`: things that were counted as they passed, and that no estimate knows of.
    """

    text: str
    reported: bool
    units: Mapping[str, int]


class Found(NamedTuple):
    """What an attempt is settled with, once what is `uncounted` was added to its usage.

    `unreadable`: pieces of usage that were there and could not be read. `finished`: the provider said that its answer is
    complete. `void`: the client left, and its workspace pays nothing then.
    """

    usage: Usage
    source: Source
    outcome: Outcome
    raw_usage: str | None = None
    error_code: str | None = None
    unreadable: int = 0
    finished: bool = False
    void: bool = False
    uncounted: Uncounted | None = None


def of_stream(verdict: Verdict, meter: StreamMeter | None) -> Found:
    """`meter` None: no stream has begun."""
    if meter is None:
        return _found(verdict, None, None, 0, False)
    usage = meter.usage
    text, units = "", _NO_UNITS
    if usage is None or verdict.ending.reported_then_said is _SINCE:
        text, units = meter.output_text(), meter.seen_units()
    return _found(verdict, usage, meter.raw_usage, meter.decode_errors, meter.finished, text, units)


def of_body(verdict: Verdict, reader: UsageReader, body: bytes, surface: str) -> Found:
    reading = reader.read(body)
    # One odd value somewhere (a lone surrogate, NaN) must not cost the provider's own word on usage.
    if reading.garbled and (found := read_tail(reader, body[-TAIL_BYTES:])).usage is not None:
        reading = found
    usage, raw_usage, unreadable = reading.usage, reading.raw_usage, int(reading.garbled)
    if reading.error and verdict.ending.outcome != "upstream_error":  # in spite of its status (OpenRouter answers 200)
        verdict = verdict._replace(ending=ERROR_SAID, error_code="error_in_body")
    if verdict.ending.outcome == "upstream_error":  # an error's text is no output: it is not even looked at
        return _found(verdict, usage, raw_usage, unreadable, False)
    text = "" if usage is not None else output_text(body)
    return _found(verdict, usage, raw_usage, unreadable, says_finish(surface, body), text)


def of_tail(verdict: Verdict, reader: UsageReader, tail: bytes) -> Found:
    """Of a body too large to hold, read to its end."""
    reading = read_tail(reader, tail)
    if reading.usage is None and verdict.error_code is None:
        verdict = verdict._replace(error_code="unread")
    return _found(verdict, reading.usage, reading.raw_usage, 0, verdict.ending.outcome != "upstream_error")


def _found(
    verdict: Verdict, usage: Usage | None, raw_usage: str | None, unreadable: int, finished: bool, text: str = "",
    units: Mapping[str, int] = _NO_UNITS,
) -> Found:  # fmt: skip
    ending, error_code, _ = verdict
    reported = usage is not None
    counts = ending.counts(reported, bool(text or (units and not reported)))
    uncounted = None
    if usage is None or counts is not _REPORTED:
        if counts is not _NOTHING:
            uncounted = Uncounted(text, reported, units)
        if usage is None or counts is _NOTHING:
            usage = Usage()
    return Found(usage, counts.source, ending.outcome, raw_usage, error_code, unreadable, finished, False, uncounted)
