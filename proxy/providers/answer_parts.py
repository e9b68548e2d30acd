"""What answers of all surfaces have in common: an error in place of an answer, the tier that was served."""

from __future__ import annotations

import json
import re

import msgspec
from msgspec import Raw

# Raw with a default, never `Raw | None`: msgspec would accept only null (and every answer would be free).
ABSENT = Raw(b"")
NULLS = frozenset([b"", b"null"])
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MAX_RAW_USAGE = 8192
MAX_NAME = 256

_NO_ERROR = frozenset([b"", b"null", b"false", b'""', b"{}", b"[]"])
# A wish that some echo; what was served stays unknown.
_NOT_SERVED = frozenset(["", "auto"])
# As JSON can write it.
_ERROR_NAME = re.compile(rb'"(?:e|\\u0065)(?:r|\\u0072){2}(?:o|\\u006[fF])(?:r|\\u0072)"')
_NOT_A_NAME = re.compile(r"[^a-z0-9_.\-]")
_SAME_TIER = {"standard": "default", "on_demand": "default", "fast": "priority"}
_objects = msgspec.json.Decoder(dict[str, object])


def says_error(error: Raw, kind: Raw = ABSENT, what: Raw = ABSENT) -> bool:
    """An `error` that says something; vLLM says object: error (`what`), a bare error object as data type: error (`kind`)."""
    if error is not ABSENT and bytes(error) not in _NO_ERROR:
        return True
    return _is_error(bytes(kind)) or _is_error(bytes(what))


def hides_error(data: bytes) -> bool:
    """An `error` that says something stands before one that says nothing: `{"error":{…},"error":null}`.

    Of equal names the last counts here as in most clients; some take the first, and what it says of our account is there
    for all to read. Asked only where no usage is: an answer that has been counted is no error.
    """
    if len(_ERROR_NAME.findall(data)) < 2:
        return False
    try:
        return _said_twice(json.loads(data, object_pairs_hook=_Pairs))
    except (ValueError, RecursionError):
        return False


class _Pairs(list[tuple[str, object]]):
    """An object with all its names."""


def _said_twice(found: object) -> bool:
    if not isinstance(found, _Pairs):
        return False
    values = [value for name, value in found if name == "error"]
    if len(values) > 1 and any(value for value in values):
        return True
    return any(_said_twice(value) for name, value in found if name == "response")


def _is_error(word: bytes) -> bool:
    """Escapes are undone: a client's parser does so as well."""
    if b"\\" not in word:
        return word == b'"error"'
    try:
        return bool(msgspec.json.decode(word) == "error")
    except UNREADABLE:
        return False


def object_in(raw: Raw | bytes) -> dict[str, object] | None:
    """None: it is no object."""
    try:
        return _objects.decode(raw)
    except UNREADABLE:
        return None


def name_of(value: object) -> str | None:
    """A model's, or whatever stands there for one. None: not said."""
    return value[:MAX_NAME] if isinstance(value, str) and value else None


def tier_of(raw: bytes) -> str | None:
    if raw == b'"default"':  # nearly always
        return "default"
    if not raw.startswith(b'"'):
        return None
    try:
        return tier_name(msgspec.json.decode(raw))
    except UNREADABLE:
        return None


def tier_name(value: object) -> str | None:
    """The tier served: `default` for the standard one under any name, others in lower case. None: not said."""
    if not isinstance(value, str):
        return None
    name = _NOT_A_NAME.sub("?", value.strip().lower()[:64])
    return None if name in _NOT_SERVED else _SAME_TIER.get(name, name)


def as_text(*parts: tuple[str, Raw | bytes]) -> str:
    """The provider's usage as it came, to be kept; of several objects, under their names."""
    if len(parts) == 1:
        return bytes(parts[0][1]).decode(errors="replace")[:MAX_RAW_USAGE]
    named = b",".join(b'"%b":%b' % (name.encode(), bytes(raw)) for name, raw in parts)
    return (b"{%b}" % named).decode(errors="replace")[:MAX_RAW_USAGE]
