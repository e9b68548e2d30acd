"""Reads what the gateway needs of a chat request's body, without decoding messages. What it refuses, it explains."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from proxy.wire.refusals import Reason, Refused

MAX_MODEL_CHARS = 256
MAX_USER_CHARS = 512
MAX_TIER_CHARS = 64
MAX_OUTPUT_TOKENS = 2**31 - 1
MAX_N = 128  # OpenAI's own limit

# All that the gateway looks at. `models`, `provider` and `usage` are its extensions (OpenRouter's names).
FIELDS = (
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "user", "service_tier",
    "usage", "models", "provider",
)
GATEWAY_FIELDS = ("usage", "models", "provider")
_FIELDS = frozenset(FIELDS)
_USUAL_ORDER = ("model", "messages", "stream")
_USUAL = frozenset(_USUAL_ORDER)
_NULL = b"null"
_PLAIN_OPTIONS = frozenset([_NULL, b'{"include_usage":true}', b'{"include_usage":false}'])
_EMPTY_ARRAY_BYTES = 4096  # with more than that much blank, an empty array is the provider's to refuse
_INTEGER = re.compile(rb"-?\d+")
_top_level = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class ChatFields(msgspec.Struct):
    """`read_fields`: what was read and is present: of `FIELDS`, and `include_usage` inside stream_options.

    `model_span`: where the value of `model` lies in the body; set only where every key that was read is proven to occur
    once and unescaped in its object.
    """

    model: str
    stream: bool = False
    has_stream_options: bool = False
    include_usage: bool = False
    max_output: int | None = None  # the larger one of max_completion_tokens and max_tokens: a bound
    n: int = 1
    user: str | None = None
    service_tier: str | None = None
    usage_include: bool = False
    models: list[str] | None = None
    gateway_fields: tuple[str, ...] = ()
    read_fields: tuple[str, ...] = ()
    model_span: tuple[int, int] | None = None


def read_chat_body(raw: bytes) -> ChatFields:
    """Raises `Refused` (BAD_JSON, BAD_VALUE) with the field's name and what is allowed."""
    values = _decode(raw)
    names = values.keys()
    if names <= _USUAL:
        present = _USUAL_ORDER if len(names) == len(_USUAL) else tuple([name for name in _USUAL_ORDER if name in values])
        fields = ChatFields(_model(values), _flag(values, "stream"), read_fields=present)
        _check_messages(values)
    else:
        present = tuple([name for name in FIELDS if name in values])
        if len(present) < len(values):
            _refuse_other_spellings(values)
        fields = ChatFields(_model(values), _flag(values, "stream"), read_fields=present)
        _check_messages(values)
        _read_rarer(fields, values)
    if not fields.has_stream_options or _bytes(values, "stream_options") in _PLAIN_OPTIONS:
        fields.model_span = _model_span(raw, values)
    return fields


def _read_rarer(fields: ChatFields, values: dict[str, Raw]) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        if name in values and (limit := _integer(values, name, 1, MAX_OUTPUT_TOKENS)) is not None:
            fields.max_output = max(limit, fields.max_output or 0)
    if "n" in values:
        fields.n = _integer(values, "n", 1, MAX_N) or 1
    if "user" in values:
        fields.user = _string(values, "user", MAX_USER_CHARS)
    if "service_tier" in values:
        fields.service_tier = _string(values, "service_tier", MAX_TIER_CHARS)
    if "stream_options" in values:
        options = _object(values, "stream_options")
        fields.has_stream_options = True
        fields.include_usage = _flag(options, "include_usage", parent="stream_options.")
        if "include_usage" in options:
            fields.read_fields = (*fields.read_fields, "include_usage")
    fields.gateway_fields = tuple([name for name in GATEWAY_FIELDS if name in values])
    if fields.gateway_fields:
        fields.usage_include = _flag(_object(values, "usage"), "include", parent="usage.")
        _object(values, "provider")
        fields.models = _models(values)


def _decode(raw: bytes) -> dict[str, Raw]:
    """The top level: each key once (the last one wins), its value as it came. Lone surrogates and NaN are no JSON."""
    try:
        if not raw.isascii():
            raw.decode()  # values are skipped, not decoded: their UTF-8 is checked here
        return _top_level.decode(raw)
    except msgspec.ValidationError:
        why = 'The body must be a JSON object, such as {"model": "…", "messages": […]}.'
    except msgspec.DecodeError as error:
        why = f"The body is not valid JSON: {_in_words(error)}."
    except UnicodeDecodeError as error:
        why = f"The body is not valid UTF-8 (byte {error.start}). Send JSON encoded as UTF-8."
    except RecursionError:
        why = "The body is nested too deeply."
    raise Refused(Reason.BAD_JSON, why)


def _bytes(values: dict[str, Raw], name: str) -> bytes:
    value = values.get(name)
    return _NULL if value is None else bytes(value)


def _in_words(why: msgspec.DecodeError) -> str:
    """msgspec's message without its preamble; it names a byte, never the content."""
    text = str(why).removeprefix("JSON is malformed: ")
    return text[0].lower() + text[1:]


def _refuse_other_spellings(values: dict[str, Raw]) -> None:
    """Go's encoding/json matches keys in any case: with `Model` beside `model`, not what was checked is served."""
    for name in values:
        if name not in _FIELDS and (folded := name.casefold()) in _FIELDS:
            raise Refused(Reason.BAD_VALUE, f"Unknown field {name!r}. Write it {folded!r}.", param=name)


def _model_span(raw: bytes, values: dict[str, Raw]) -> tuple[int, int] | None:
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


def _check_messages(values: dict[str, Raw]) -> None:
    messages = memoryview(values.get("messages", Raw(_NULL)))  # megabytes, perhaps: not copied
    if messages == _NULL:
        raise _bad("messages", 'is required: an array, such as [{"role": "user", "content": "Hello"}]')
    if messages[0] != ord("["):
        raise _bad("messages", "must be an array")
    if messages.nbytes < _EMPTY_ARRAY_BYTES and not bytes(messages)[1:-1].strip():
        raise _bad("messages", "must not be empty")


def _model(values: dict[str, Raw]) -> str:
    model = _string(values, "model", MAX_MODEL_CHARS)
    if model is None:
        raise _bad("model", "is required: the name of an llm (GET /v1/models lists them)")
    if not model.strip():
        raise _bad("model", "must not be empty")
    return model


def _string(values: dict[str, Raw], name: str, most: int) -> str | None:
    value = _bytes(values, name)
    if value == _NULL:
        return None
    text = msgspec.json.decode(value) if value.startswith(b'"') else None
    # These reach the ledger, and Postgres stores no NUL.
    if not isinstance(text, str) or len(text) > most or "\0" in text:
        raise _bad(name, f"must be a string of at most {most} characters, without NUL")
    return text


def _flag(values: dict[str, Raw], name: str, *, parent: str = "") -> bool:
    value = _bytes(values, name)
    if value not in (b"true", b"false", _NULL):
        raise _bad(parent + name, "must be true or false")
    return value == b"true"


def _integer(values: dict[str, Raw], name: str, least: int, most: int) -> int | None:
    value = _bytes(values, name)
    if value == _NULL:
        return None
    # 19 digits: int() of a longer text takes quadratic time, and is out of range anyway.
    if not _INTEGER.fullmatch(value) or len(value) > 19 or not least <= int(value) <= most:
        raise _bad(name, f"must be an integer from {least} to {most}")
    return int(value)


def _object(values: dict[str, Raw], name: str) -> dict[str, Raw]:
    value = _bytes(values, name)
    if value == _NULL:
        return {}
    if not value.startswith(b"{"):
        raise _bad(name, "must be an object")
    return _top_level.decode(value)


def _models(values: dict[str, Raw]) -> list[str] | None:
    value = _bytes(values, "models")
    if value == _NULL:
        return None
    try:
        models: list[str] = msgspec.json.decode(value, type=list[str])
    except msgspec.ValidationError:
        models = [""]
    if not all(models):
        raise _bad("models", "must be an array of llm names")
    return models


def _bad(name: str, what: str) -> Refused:
    return Refused(Reason.BAD_VALUE, f"`{name}` {what}.", param=name)
