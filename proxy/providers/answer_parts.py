"""What answers of all surfaces have in common: an error in place of an answer, the tier that was served."""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

# Raw with a default, never `Raw | None`: msgspec would accept only null (and every answer would be free).
ABSENT = Raw(b"")
NULLS = frozenset([b"", b"null"])
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MAX_RAW_USAGE = 8192

_NO_ERROR = frozenset([b"", b"null", b"false", b'""', b"{}", b"[]"])
# A wish that some echo; what was served stays unknown.
_NOT_SERVED = frozenset(["", "auto"])
_NOT_A_NAME = re.compile(r"[^a-z0-9_.\-]")
_SAME_TIER = {"standard": "default", "on_demand": "default", "fast": "priority"}
_objects = msgspec.json.Decoder(dict[str, object])


def says_error(error: Raw, kind: Raw = ABSENT, what: Raw = ABSENT) -> bool:
    """An `error` that says something; vLLM says object: error (`what`), a bare error object as data type: error (`kind`)."""
    if error is not ABSENT and bytes(error) not in _NO_ERROR:
        return True
    return _is_error(bytes(kind)) or _is_error(bytes(what))


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
