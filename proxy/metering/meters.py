"""Which meter reads the stream of which surface."""

from __future__ import annotations

from collections.abc import Callable

from pricing.usage import Usage
from proxy.metering.reading import UsageReader
from proxy.metering.responses_meter import ResponsesMeter
from proxy.metering.stream_meter import StreamMeter


def open_meter(
    surface: str, reader: UsageReader, *, strip_usage_chunk: bool, clean_error: Callable[[bytes], bytes] | None,
    annotate: Callable[[bytes, Usage], bytes] | None = None, choices: int = 1,
) -> StreamMeter:  # fmt: skip
    """For one attempt."""
    kind = ResponsesMeter if surface == "responses" else StreamMeter
    return kind(
        reader, strip_usage_chunk=strip_usage_chunk, clean_error=clean_error, annotate=annotate, choices=choices
    )
