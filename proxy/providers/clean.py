"""Errors of a provider as a client may see them: nothing that names our account there."""

from __future__ import annotations

import re

import orjson

REMOVED = "[removed]"
_MIN_KEY_CHARS = 8  # shorter "keys" (local servers: "x", "none") are words, not secrets

_ACCOUNT = re.compile(
    r"""
      [A-Za-z0-9_\-]*\*{3,}[A-Za-z0-9_\-]*                    # a masked key keeps its ends: sk-ab***cd (recording 23)
    | \b(?:sk|gsk|xai|sess|csk|pplx|tgp|nvapi|whsec)[-_][A-Za-z0-9_\-]{8,}
    | \bAIza[A-Za-z0-9_\-]{20,} | \bAQ\.[A-Za-z0-9_\-]{20,} | \bya29\.[A-Za-z0-9_.\-]{20,}
    | \bAKIA[A-Z0-9]{12,}
    # A digit tells ids from words: user_location, team-members and key-value stay.
    | \b(?:org|proj|user|acct|team|ws|wrkspc|key|pk|rk|fw|hf)[-_](?=[A-Za-z0-9_\-]*\d)[A-Za-z0-9_\-]{8,}
    | (?<=projects/)[A-Za-z0-9\-]{6,} | (?<=project_number:)\d{6,} | (?<=[Pp]roject\s)\d{6,}
    | (?i:(?<=team\s)|(?<=account\s)|(?<=organization\s)|(?<=tenant\s))[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4,12}){4}
    | (?<=Bearer\s)[A-Za-z0-9._~+/=\-]{8,}
    """,
    re.VERBOSE,
)


def clean_error(body: bytes, provider_key: str) -> bytes:
    """The body with the key, what looks like one and ids of our account replaced. For answers to our own (global) keys.

    JSON stays JSON; a body with nothing to remove stays as it came.
    """
    try:
        value = orjson.loads(body)
        cleaned = _walk(value, provider_key)
    except (orjson.JSONDecodeError, RecursionError):
        return _cleaned(body.decode(errors="surrogateescape"), provider_key).encode(errors="surrogateescape")
    return body if cleaned == value else orjson.dumps(cleaned)


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
