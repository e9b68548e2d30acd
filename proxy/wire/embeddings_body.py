"""Reads what the gateway needs of an embedding's body (`POST /v1/embeddings`): `input` stays as it came, whether it is
text, several texts or token ids (LangChain sends those); so does `encoding_format`.
"""

from __future__ import annotations

from proxy.wire import body_fields as body
from proxy.wire.body_fields import BodyFields

FIELDS = ("model", "input", "user", "service_tier", *body.GATEWAY_FIELDS)
_FIELDS = frozenset(FIELDS)
_EXAMPLE = '{"model": "…", "input": "…"}'


def read_embeddings_body(raw: bytes) -> BodyFields:
    """Raises `Refused` (BAD_JSON, BAD_VALUE) with the field's name and what is allowed."""
    values = body.decode_body(raw, _FIELDS, _EXAMPLE)
    present = tuple([name for name in FIELDS if name in values])
    fields = BodyFields(model=body.model_name(values), max_output=0, read_fields=present)
    body.must_be_given(
        values, "input", b'"[', "a string or an array of strings, of token ids or of arrays of token ids", '"Hello"'
    )
    fields.user = body.string(values, "user", body.MAX_USER_CHARS)
    fields.service_tier = body.string(values, "service_tier", body.MAX_TIER_CHARS)
    body.read_extensions(fields, values)
    fields.model_span = body.model_span(raw, values)
    return fields
