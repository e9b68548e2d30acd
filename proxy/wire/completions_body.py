"""Reads what the gateway needs of a legacy completion's body (`POST /v1/completions`), without decoding prompts."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from proxy.wire import body_fields as body
from proxy.wire.body_fields import BodyFields

FIELDS = (
    "model", "prompt", "stream", "stream_options", "max_tokens", "n", "best_of", "user", "service_tier",
    *body.GATEWAY_FIELDS,
)  # fmt: skip
MAX_BEST_OF = 128  # OpenAI allows 20, vLLM more
_FIELDS = frozenset(FIELDS)
_EXAMPLE = '{"model": "…", "prompt": "…"}'
_PLAIN_OPTIONS = frozenset([body.NULL, b'{"include_usage":true}', b'{"include_usage":false}'])
_values = msgspec.json.Decoder(list[Raw])


class CompletionsFields(BodyFields):
    """`n`: choices in the answer, so n × `prompts`. `candidates`: what is generated, and billed, for them: best_of × prompts.

    `max_output` None: the server's own default, which is 16 at OpenAI and vLLM and the whole context at others.
    """

    prompts: int = 1
    candidates: int = 1


def read_completions_body(raw: bytes) -> CompletionsFields:
    """Raises `Refused` (BAD_JSON, BAD_VALUE) with the field's name and what is allowed."""
    values = body.decode_body(raw, _FIELDS, _EXAMPLE)
    present = tuple([name for name in FIELDS if name in values])
    fields = CompletionsFields(model=body.model_name(values), stream=body.flag(values, "stream"), read_fields=present)
    fields.prompts = _prompts(values)
    fields.max_output = body.integer(values, "max_tokens", 0, body.MAX_OUTPUT_TOKENS)
    each = body.integer(values, "n", 1, body.MAX_N) or 1
    best_of = body.integer(values, "best_of", 0, MAX_BEST_OF) or 1
    fields.n = each * fields.prompts
    fields.candidates = max(each, best_of) * fields.prompts
    fields.user = body.string(values, "user", body.MAX_USER_CHARS)
    fields.service_tier = body.string(values, "service_tier", body.MAX_TIER_CHARS)
    if "stream_options" in values:
        options = body.object_of(values, "stream_options")
        fields.has_stream_options = True
        fields.include_usage = body.flag(options, "include_usage", parent="stream_options.")
        if "include_usage" in options:
            fields.read_fields = (*fields.read_fields, "include_usage")
    body.read_extensions(fields, values)
    if not fields.has_stream_options or body.bytes_of(values, "stream_options") in _PLAIN_OPTIONS:
        fields.model_span = body.model_span(raw, values)
    return fields


def _prompts(values: dict[str, Raw]) -> int:
    """How many: one for a text, for an array of token ids, and where none is given (the model begins a document)."""
    value = memoryview(values.get("prompt", Raw(body.NULL)))
    if value == body.NULL or value[0] == ord('"'):
        return 1
    if value[0] != ord("["):
        raise body.bad("prompt", "must be a string or an array of strings, of token ids or of arrays of token ids")
    each = _values.decode(value)
    if not each:
        raise body.bad("prompt", "must not be empty")
    return len(each) if memoryview(each[0])[0] in b'"[' else 1
