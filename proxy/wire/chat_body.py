"""Reads what the gateway needs of a chat request's body, without decoding messages. What it refuses, it explains."""

from __future__ import annotations

from msgspec import Raw

from proxy.wire.body_fields import (
    GATEWAY_FIELDS,
    MAX_N,
    MAX_OUTPUT_TOKENS,
    MAX_TIER_CHARS,
    MAX_USER_CHARS,
    NULL,
    BodyFields,
    bytes_of,
    decode_body,
    flag,
    integer,
    model_name,
    model_span,
    must_be_given,
    object_of,
    read_extensions,
    string,
)

# All that the gateway looks at.
FIELDS = (
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "user", "service_tier",
    *GATEWAY_FIELDS,
)  # fmt: skip
_FIELDS = frozenset(FIELDS)
_USUAL_ORDER = ("model", "messages", "stream")
_USUAL = frozenset(_USUAL_ORDER)
_EXAMPLE = '{"model": "…", "messages": […]}'
_PLAIN_OPTIONS = frozenset([NULL, b'{"include_usage":true}', b'{"include_usage":false}'])


def read_chat_body(raw: bytes) -> BodyFields:
    """Raises `Refused` (BAD_JSON, BAD_VALUE) with the field's name and what is allowed.

    `max_output`: the larger one of max_completion_tokens and max_tokens: a bound.
    """
    values = decode_body(raw, _FIELDS, _EXAMPLE)
    is_usual = values.keys() <= _USUAL
    if is_usual and len(values) == len(_USUAL):
        present: tuple[str, ...] = _USUAL_ORDER
    else:
        present = tuple([name for name in FIELDS if name in values])
    fields = BodyFields(model_name(values), flag(values, "stream"), read_fields=present)
    must_be_given(values, "messages", b"[", "an array", '[{"role": "user", "content": "Hello"}]')
    if not is_usual:
        _read_rarer(fields, values)
    if not fields.has_stream_options or bytes_of(values, "stream_options") in _PLAIN_OPTIONS:
        fields.model_span = model_span(raw, values)
    return fields


def _read_rarer(fields: BodyFields, values: dict[str, Raw]) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        if name in values and (limit := integer(values, name, 0, MAX_OUTPUT_TOKENS)) is not None:
            fields.max_output = max(limit, fields.max_output or 0)
    if "n" in values:
        fields.n = integer(values, "n", 1, MAX_N) or 1
    if "user" in values:
        fields.user = string(values, "user", MAX_USER_CHARS)
    if "service_tier" in values:
        fields.service_tier = string(values, "service_tier", MAX_TIER_CHARS)
    if "stream_options" in values:
        options = object_of(values, "stream_options")
        fields.has_stream_options = True
        fields.include_usage = flag(options, "include_usage", parent="stream_options.")
        if "include_usage" in options:
            fields.read_fields = (*fields.read_fields, "include_usage")
    read_extensions(fields, values)
