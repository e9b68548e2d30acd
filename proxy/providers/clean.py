"""Errors of a provider as a client may see them: nothing that names our account there."""

from __future__ import annotations

import json
import re

import msgspec
import orjson

REMOVED = "[removed]"
_MIN_KEY_CHARS = 8  # shorter "keys" (local servers: "x", "none") are words, not secrets

_ACCOUNT = re.compile(
    r"""
      [A-Za-z0-9_\-]*\*{3,}[A-Za-z0-9_\-]*                    # a masked key keeps its ends: sk-ab***cd (recording 23)
    | \b(?:sk|gsk|xai|sess|csk|pplx|tgp|nvapi|whsec)[-_][A-Za-z0-9_\-]{8,}
    | \bAIza[A-Za-z0-9_\-]{20,} | \bAQ\.[A-Za-z0-9_\-]{20,} | \bya29\.[A-Za-z0-9_.\-]{20,}
    | \bAKIA[A-Z0-9]{12,}
    # A digit, or letters of mixed case, tell ids from words: user_location, team-members and key-value stay.
    | \b(?:org|proj|user|acct|team|ws|wrkspc|key|pk|rk|fw|hf)[-_](?=[A-Za-z0-9_\-]*(?:\d|[a-z][A-Z]))[A-Za-z0-9_\-]{8,}
    | (?<=projects/)[A-Za-z0-9\-]{6,} | (?<=project_number:)\d{6,} | (?<=[Pp]roject\s)\d{6,}
    | (?i:(?<=team\s)|(?<=account\s)|(?<=organization\s)|(?<=tenant\s))[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4,12}){4}
    | (?<=Bearer\s)[A-Za-z0-9._~+/=\-]{8,}
    """,
    re.VERBOSE,
)


def clean_error(body: bytes, provider_key: str) -> bytes:
    """The body with the key, what looks like one and ids of our account replaced. For answers to our own (global) keys.

    JSON stays JSON; a body with nothing to remove stays as it came, unless an object in it has a key twice: of those only the
    last was looked at, and so only the last passes.
    """
    try:
        value = orjson.loads(body)
        cleaned = _walk(value, provider_key)
        if cleaned == value and not _says_twice(body):
            return body
        return msgspec.json.encode(cleaned)  # orjson ends at a depth that it reads
    except (orjson.JSONDecodeError, RecursionError):
        return _cleaned(body.decode(errors="surrogateescape"), provider_key).encode(errors="surrogateescape")


class _Twice(Exception):
    pass


def _once(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _Twice


_decode = json.JSONDecoder(object_pairs_hook=_once, parse_int=str, parse_float=str, strict=False).decode


def _says_twice(body: bytes) -> bool:
    """Whether some object of this JSON has a key twice."""
    try:
        _decode(body.decode())
    except _Twice:
        return True
    return False


def _walk(value: object, key: str) -> object:
    if isinstance(value, str):
        return _cleaned(value, key)
    if isinstance(value, list):
        return [_walk(part, key) for part in value]
    if isinstance(value, dict):
        return {_cleaned(name, key): _walk(part, key) for name, part in value.items()}
    return value


def _cleaned(text: str, key: str) -> str:
    if len(key) >= _MIN_KEY_CHARS:
        text = text.replace(key, REMOVED)
    return _ACCOUNT.sub(REMOVED, text)
