"""Reads what the gateway needs of a moderation's body (`POST /v1/moderations`), the one surface whose model is optional."""

from __future__ import annotations

from proxy.wire import body_fields as body
from proxy.wire.body_fields import BodyFields

FIELDS = ("model", "input", *body.GATEWAY_FIELDS)
DEFAULT_MODEL = "omni-moderation-latest"  # OpenAI's API reference, "Create moderation"
_FIELDS = frozenset(FIELDS)
_EXAMPLE = '{"input": "…"}'
_INSERTED = b'"model":"%b",' % DEFAULT_MODEL.encode()


def read_moderations_body(raw: bytes) -> tuple[BodyFields, bytes]:
    """The fields, and the body that they were read from: the client's, or, where it names no model, with the default one.

    Raises `Refused` (BAD_JSON, BAD_VALUE) with the field's name and what is allowed.
    """
    values = body.decode_body(raw, _FIELDS, _EXAMPLE)
    body.must_be_given(
        values, "input", b'"[', "a string or an array of strings or of content parts", '"Hello"', empty_text=True
    )
    if "model" not in values:
        start = raw.index(b"{") + 1
        raw = raw[:start] + _INSERTED + raw[start:]
        values = body.decode_body(raw, _FIELDS, _EXAMPLE)
    present = tuple([name for name in FIELDS if name in values])
    fields = BodyFields(model=body.model_name(values), max_output=0, read_fields=present)
    body.read_extensions(fields, values)
    fields.model_span = body.model_span(raw, values)
    return fields, raw
