"""The body for the provider: the client's bytes with as little changed as possible. What was checked is what is sent.

A field that the gateway read must be the only one of its name: a provider may take the first of two keys where we took
the last, or the other way round. So the bytes go as they came only where that is proven, by length (`model_span`, see
wire/body_fields.py) or by looking; else the top level is written anew from the values that were read, each value's bytes
still as they came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from proxy.wire.client_request import ClientRequest

_top_level = msgspec.json.Decoder(dict[str, Raw])
_ASK_USAGE = b'"stream_options":{"include_usage":true},'
_MODEL_VALUE = re.compile(rb'"model"\s*:\s*("(?:[^"\\]|\\.)*")')
# An escaped letter or underscore: `"mod\u0065l"` is the key model to a parser, not to a search.
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")


def upstream_body(
    request: ClientRequest, *, model: str, ask_usage: bool, keep_extensions: bool,
    rename: Mapping[str, str] | None = None,
) -> bytes:
    """`ask_usage`: this provider reports usage in a stream only if asked. `rename`: fields it knows by another name."""
    inject = ask_usage and request.stream and not request.include_usage
    dropped = () if keep_extensions else request.gateway_fields
    renamed = {old: new for old, new in (rename or {}).items() if old in request.read_fields}
    if not dropped and not renamed and not (inject and request.has_stream_options):
        spliced = _spliced(request, model, inject)
        if spliced is not None:
            return spliced
    return _rewritten(request.raw, model, inject, dropped, renamed)


def _spliced(request: ClientRequest, model: str, inject: bool) -> bytes | None:
    """The client's bytes with at most two places changed; None where another parser could read them otherwise."""
    raw = request.raw
    span = request.model_span or _looked_for(raw, request.read_fields)
    if span is None:
        return None
    if model == request.llm and not inject:
        return raw
    # One copy of what may be megabytes.
    start = raw.index(b"{") + 1
    view = memoryview(raw)
    name = view[span[0] : span[1]] if model == request.llm else msgspec.json.encode(model)
    return b"".join((view[:start], _ASK_USAGE if inject else b"", view[start : span[0]], name, view[span[1] :]))


def _looked_for(raw: bytes, read_fields: tuple[str, ...]) -> tuple[int, int] | None:
    """Where the value of `model` lies, if every field that was read occurs exactly once in all the body."""
    if raw.rfind(b"\\u00") >= 0 and _ESCAPED_LETTER.search(raw):
        return None
    for name in read_fields:
        key = b'"%b"' % name.encode()
        if raw.find(key) != raw.rfind(key):
            return None
    match = _MODEL_VALUE.search(raw)
    return match.span(1) if match else None


def _rewritten(raw: bytes, model: str, inject: bool, dropped: tuple[str, ...], renamed: Mapping[str, str]) -> bytes:
    values = _top_level.decode(raw)
    values["model"] = Raw(msgspec.json.encode(model))
    for name in dropped:
        values.pop(name, None)
    for old, new in renamed.items():
        values[new] = values.pop(old)
    options = bytes(values.get("stream_options", b"null"))
    if inject:
        asked = _top_level.decode(options) if options.startswith(b"{") else {}
        asked["include_usage"] = Raw(b"true")
        values["stream_options"] = Raw(msgspec.json.encode(asked))
    elif options.startswith(b"{"):
        values["stream_options"] = Raw(msgspec.json.encode(_top_level.decode(options)))  # its keys once, too
    return msgspec.json.encode(values)
