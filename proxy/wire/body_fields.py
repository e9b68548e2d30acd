"""Reading the top level of a client's JSON body by the same rules on every surface. What is refused is explained.

A body is read once and not decoded further than needed: values stay bytes until one is looked at. `read_fields` and
`model_span` tell wire/splice.py what must be proven before the client's bytes are forwarded as they came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from proxy.wire.refusals import Reason, Refused

MAX_MODEL_CHARS = 256
MAX_USER_CHARS = 512
MAX_TIER_CHARS = 64
MAX_OUTPUT_TOKENS = 2**31 - 1
MAX_N = 128  # OpenAI's own limit

# The gateway's extensions of a body (OpenRouter's names).
GATEWAY_FIELDS = ("usage", "models", "provider")

NULL = b"null"
_EMPTY_VALUE_BYTES = 4096  # with more than that much blank, an empty array or text is the provider's to refuse
_INTEGER = re.compile(rb"-?\d+")
_top_level = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_Values = Mapping[str, Raw]


class BodyFields(msgspec.Struct):
    """What every surface reads; what a surface does not have keeps its default.

    `read_fields`: what was read and is present. `model_span`: where the value of `model` lies in the body; set only where
    every key that was read is proven to occur once and unescaped in its object.
    """

    model: str
    stream: bool = False
    has_stream_options: bool = False
    include_usage: bool = False
    max_output: int | None = None  # tokens, per choice
    n: int = 1  # choices in the answer
    user: str | None = None
    service_tier: str | None = None
    usage_include: bool = False
    models: list[str] | None = None
    gateway_fields: tuple[str, ...] = ()
    read_fields: tuple[str, ...] = ()
    model_span: tuple[int, int] | None = None


def decode_body(raw: bytes, known: frozenset[str], example: str) -> dict[str, Raw]:
    """The top level: each key once (the last one wins), its value as it came. Lone surrogates and NaN are no JSON.

    `known`: the fields that the surface reads. Raises `Refused`.
    """
    try:
        if not raw.isascii():
            raw.decode()  # values are skipped, not decoded: their UTF-8 is checked here
        values = _top_level.decode(raw)
    except msgspec.ValidationError:
        why = f"The body must be a JSON object, such as {example}."
    except msgspec.DecodeError as error:
        why = f"The body is not valid JSON: {_in_words(error)}."
    except UnicodeDecodeError as error:
        why = f"The body is not valid UTF-8 (byte {error.start}). Send JSON encoded as UTF-8."
    except RecursionError:
        why = "The body is nested too deeply."
    else:
        if not values.keys() <= known:
            refuse_other_spellings(values, known)
        return values
    raise Refused(Reason.BAD_JSON, why)


def _in_words(why: msgspec.DecodeError) -> str:
    """msgspec's message without its preamble; it names a byte, never the content."""
    text = str(why).removeprefix("JSON is malformed: ")
    return text[0].lower() + text[1:]


def refuse_other_spellings(values: _Values, known: frozenset[str]) -> None:
    """Go's encoding/json matches keys in any case: with `Model` beside `model`, not what was checked is served."""
    for name in values:
        if name not in known and (folded := name.casefold()) in known:
            raise Refused(Reason.BAD_VALUE, f"Unknown field {name!r}. Write it {folded!r}.", param=name)


def read_extensions(fields: BodyFields, values: _Values) -> None:
    fields.gateway_fields = tuple([name for name in GATEWAY_FIELDS if name in values])
    if fields.gateway_fields:
        fields.usage_include = flag(object_of(values, "usage"), "include", parent="usage.")
        object_of(values, "provider")
        fields.models = llm_names(values, "models")


def bytes_of(values: _Values, name: str) -> bytes:
    """The value as it came; `null` where there is none."""
    value = values.get(name)
    return NULL if value is None else bytes(value)


def bad(name: str, what: str) -> Refused:
    return Refused(Reason.BAD_VALUE, f"`{name}` {what}.", param=name)


def model_name(values: _Values) -> str:
    model = string(values, "model", MAX_MODEL_CHARS)
    if model is None:
        raise bad("model", "is required: the name of an llm (GET /v1/models lists them)")
    if not model.strip():
        raise bad("model", "must not be empty")
    return model


def string(values: _Values, name: str, most: int) -> str | None:
    value = bytes_of(values, name)
    if value == NULL:
        return None
    text = msgspec.json.decode(value) if value.startswith(b'"') else None
    # These reach the ledger, and Postgres stores no NUL.
    if not isinstance(text, str) or len(text) > most or "\0" in text:
        raise bad(name, f"must be a string of at most {most} characters, without NUL")
    return text


def flag(values: _Values, name: str, *, parent: str = "") -> bool:
    value = bytes_of(values, name)
    if value not in (b"true", b"false", NULL):
        raise bad(parent + name, "must be true or false")
    return value == b"true"


def integer(values: _Values, name: str, least: int, most: int) -> int | None:
    value = bytes_of(values, name)
    if value == NULL:
        return None
    # 19 digits: int() of a longer text takes quadratic time, and is out of range anyway.
    if not _INTEGER.fullmatch(value) or len(value) > 19 or not least <= int(value) <= most:
        raise bad(name, f"must be an integer from {least} to {most}")
    return int(value)


def object_of(values: _Values, name: str) -> dict[str, Raw]:
    value = bytes_of(values, name)
    if value == NULL:
        return {}
    if not value.startswith(b"{"):
        raise bad(name, "must be an object")
    return _top_level.decode(value)


def llm_names(values: _Values, name: str) -> list[str] | None:
    value = bytes_of(values, name)
    if value == NULL:
        return None
    try:
        models: list[str] = msgspec.json.decode(value, type=list[str])
    except msgspec.ValidationError:
        models = [""]
    if not all(models):
        raise bad(name, "must be an array of llm names")
    return models


def must_be_given(
    values: _Values, name: str, kinds: bytes, what: str, example: str, *, empty_text: bool = False
) -> None:
    """A value that begins with one of `kinds` (`"` a string, `[` an array) and is not empty; perhaps megabytes: not copied."""
    value = memoryview(values.get(name, Raw(NULL)))
    if value == NULL:
        raise bad(name, f"is required: {what}, such as {example}")
    if value[0] not in kinds:
        raise bad(name, f"must be {what}")
    if value.nbytes < _EMPTY_VALUE_BYTES:
        inside = bytes(value)[1:-1]
        if not (inside.strip() if value[0] == ord("[") else inside or empty_text):
            raise bad(name, "must not be empty")


def model_span(raw: bytes, values: dict[str, Raw]) -> tuple[int, int] | None:
    """Proof that the body is `{"key":value,…}` with exactly these keys and values, and where `model`'s value lies."""
    # Written anew it is the same: no key came twice, none was escaped, no blank hides anything.
    if _encode(values) == raw:
        return _span(values, colon=3, comma=1)
    # Python's json.dumps: one blank after each colon and comma.
    fields = [b'"%b": %b' % (name.encode(), bytes(value)) for name, value in values.items()]
    if raw == b"{" + b", ".join(fields) + b"}":
        return _span(values, colon=4, comma=2)
    return None


def _span(values: dict[str, Raw], *, colon: int, comma: int) -> tuple[int, int] | None:
    at = 1
    for name, value in values.items():
        if not (name.isascii() and name.isidentifier()):
            return None  # escaped, it is longer than it looks
        size = memoryview(value).nbytes
        at += len(name) + colon
        if name == "model":
            return at, at + size
        at += size + comma
    raise AssertionError("model was read")
