"""What must hold for any bytes: a function per reader of what strangers send. `make fuzz` and test_targets.py feed them.

Multipart bodies will be one more when a surface takes them.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from pricing.price import Unpriced
from pricing.rate import rate
from pricing.usage import Usage
from proxy.flow.answer import with_cost
from proxy.ingress.surfaces import CHAT, OTHERS
from proxy.metering.body_meter import output_text, read_tail
from proxy.metering.meters import open_meter
from proxy.metering.reading import Reading
from proxy.metering.stream_meter import StreamMeter
from proxy.objects.minted import StreamMints, minted
from proxy.objects.references import line_references, references
from proxy.providers.clean import clean_error
from proxy.providers.native import NATIVE
from proxy.providers.readers import reader_for
from proxy.providers.registry import READERS
from proxy.providers.support import SURFACES
from proxy.server.request_head import plain_head
from proxy.wire.client_request import ClientRequest
from proxy.wire.refusals import Refused
from proxy.wire.splice import upstream_body
from proxy.wire.sse import FrameScanner, data_of, event_of, is_done, split_frames, with_data

KEY = "fake-provider-key-0123456789"
_STREAMED = ("chat", "responses", "completions")
_FREE = rate(Usage(), Unpriced("no price"))
sys.set_int_max_str_digits(0)


def cut(data: bytes) -> tuple[list[bytes], bytes]:
    """The first byte says how often, as many pairs where; the rest is the body. Its pieces, and the body."""
    count = min(data[0] if data else 0, 8)
    places, body = data[1 : 1 + 2 * count], data[1 + 2 * count :]
    ends = sorted(int.from_bytes(places[i : i + 2], "big") % (len(body) + 1) for i in range(0, len(places), 2))
    starts = [0, *ends]
    return [body[start:end] for start, end in zip(starts, [*ends, len(body)], strict=True)], body


def sse_scanner(data: bytes) -> None:
    pieces, body = cut(data)
    scanner, at_once = FrameScanner(), FrameScanner()
    blocks = [scanner.feed(piece) for piece in pieces]
    assert at_once.feed(body) == b"".join(blocks)
    assert scanner.finish() == at_once.finish() == body[sum(map(len, blocks)) :]
    for block in (*blocks, body):
        assert b"".join(split_frames(block)) == block
    for frame in split_frames(body):
        data_of(frame), event_of(frame), is_done(frame)
        assert data_of(with_data(frame, b"other")) == b"other"
    small = FrameScanner(max_frame_bytes=16)
    assert b"".join([*map(small.feed, pieces), small.finish()]) == body


def _metered(surface: str, pieces: list[bytes], **options: Any) -> tuple[bytes, StreamMeter]:
    meter = open_meter(
        surface, reader_for(surface, "openai"), **{"strip_usage_chunk": False, "clean_error": None, **options}
    )
    sent = b"".join(meter.feed(piece).forward for piece in pieces)
    return sent + meter.finish(), meter


def _meter(surface: str) -> Target:
    def run(data: bytes) -> None:
        pieces, body = cut(data)
        sent, meter = _metered(surface, pieces)
        at_once, other = _metered(surface, [body])
        assert sent == at_once == body
        assert (meter.usage, meter.raw_usage, meter.done) == (other.usage, other.raw_usage, other.done)
        assert meter.usage is None or all(count >= 0 for count in meter.usage.units.values())
        assert all(count > 0 for count in meter.seen_units().values())
        meter.ended, meter.output_text(), meter.error_event(b'{"error":{}}')
        _metered(
            surface, pieces, strip_usage_chunk=True, clean_error=lambda found: clean_error(found, KEY), choices=2,
            annotate=lambda found, usage: with_cost(found, _FREE),
        )  # fmt: skip

    return run


def _body(surface: Any) -> Target:
    def run(raw: bytes) -> None:
        try:
            fields, sent = surface.read(raw)
        except Refused:
            return
        top = _loaded(sent)
        assert top["model"] == fields.model
        assert fields.stream == (surface.name in _STREAMED and bool(top.get("stream")))
        request = ClientRequest(
            UUID(int=0), surface.name, fields.model, fields.stream, sent, fields.include_usage, fields.max_output, fields.n,
            fields.user, fields.service_tier, fields.read_fields, fields.model_span, fields.has_stream_options,
            fields.usage_include, fields.gateway_fields,
        )  # fmt: skip
        for asks in (False, True):
            body = upstream_body(request, model="another", ask_usage=asks, keep_extensions=False)
            keys = [name for name, _ in json.loads(body, object_pairs_hook=list)]
            assert all(keys.count(name) == 1 for name in fields.read_fields if name in keys)
            expected = {name: value for name, value in top.items() if name not in fields.gateway_fields}
            expected["model"] = "another"
            if asks and fields.stream:
                expected["stream_options"] = {**(top.get("stream_options") or {}), "include_usage": True}
            assert _loaded(body) == expected

    return run


def _loaded(body: bytes) -> Any:
    return json.loads(body, parse_float=str, parse_int=str)


def objects(raw: bytes) -> None:
    for items in (False, True):
        try:
            for reference in references(raw, items=items):
                assert reference.kind and len(reference.param) <= 200
        except Refused:
            continue
    with contextlib.suppress(Refused):
        line_references(raw)
    assert all(each.id for each in minted(raw, surface="responses"))
    pieces, body = cut(raw)
    mints = StreamMints()
    seen = [each for frame in split_frames(body) for each in mints.see(frame)] + mints.finish()
    at_once = StreamMints()
    assert {(each.kind, each.id) for each in seen} == {(e.kind, e.id) for e in [*at_once.see(body), *at_once.finish()]}


def request_head(head: bytes) -> None:
    plain = plain_head(head)
    if plain is None:
        return
    digits = head[len(plain.before) : len(head) - len(plain.after)]
    assert plain.before + digits + plain.after == head
    assert digits.isdigit() and int(digits) == plain.length
    lengths = [value for name, value in plain.headers if name.lower() == b"content-length"]
    assert [int(value) for value in lengths] == [plain.length]


def usage(data: bytes) -> None:
    for surface in (*SURFACES, "images", "transcriptions", "ocr"):
        for name in READERS:
            reader = reader_for(surface, name)
            for reading in (reader.read(data), read_tail(reader, data)):
                _is_sane(reading)
                # Others count what is there where the provider says nothing.
                assert reading.usage is None or reading.raw_usage is not None or surface not in ("chat", "responses")
    output_text(data)
    with_cost(data, _FREE)


def native(data: bytes) -> None:
    """Each line is an event."""
    for reader in NATIVE.values():
        _is_sane(reader.read(data))
        stream = reader.stream()
        for event in data.split(b"\n"):
            stream.feed(event)
        reading = stream.reading()
        _is_sane(reading)
        assert reading.usage is None or reading.raw_usage is not None


def _is_sane(reading: Reading) -> None:
    usage = reading.usage
    if usage is not None:
        for units in (usage.units, *(part.units for part in usage.parts)):
            assert all(isinstance(count, int) and count >= 0 for count in units.values())
        assert usage.reasoning_tokens is None or 0 <= usage.reasoning_tokens <= usage.output_tokens


def errors(data: bytes) -> None:
    """A provider's error, with our key wherever the fuzzer puts KEY."""
    said = data.replace(b"KEY", KEY.encode())
    cleaned = clean_error(said, KEY)
    assert KEY.encode() not in cleaned
    try:
        json.loads(said)
    except (ValueError, RecursionError):
        return
    json.loads(cleaned)


Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {
    "sse": sse_scanner,
    **{f"meter-{surface}": _meter(surface) for surface in ("chat", "responses", "completions")},
    **{f"body-{surface.name}": _body(surface) for surface in (CHAT, *OTHERS)},
    "objects": objects,
    "head": request_head,
    "usage": usage,
    "native": native,
    "errors": errors,
}
