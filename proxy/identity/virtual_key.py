"""The format of our keys: prefix, 40 base62 characters, 6 base62 characters of a CRC32 over what precedes (pure).

The checksum lets a typo or junk be refused before any lookup; scanners use it to tell our keys from noise.
"""

from __future__ import annotations

import os
import re
import zlib
from enum import Enum

VIRTUAL_PREFIX = "sk-syn-"
MANAGEMENT_PREFIX = "sk-adm-"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARS = 40
_CHECKSUM_CHARS = 6
# 320 bits modulo 62^40 (238 bits): the bias of the remainder is below 2^-81.
_RANDOM_BYTES = 40
_OURS = re.compile(r"[0-9A-Za-z]{46}", re.ASCII)
_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)

MIN_LITERAL_CHARS = 16
MAX_LITERAL_CHARS = 512

# Prefixes that only the named provider hands out. A bare `sk-` is also OpenAI's old form, DeepSeek's and LiteLLM's.
PROVIDER_PREFIXES = {
    "sk-proj-": "OpenAI",
    "sk-svcacct-": "OpenAI",
    "sk-admin-": "OpenAI",
    "sk-ant-": "Anthropic",
    "sk-or-": "OpenRouter",
    "gsk_": "Groq",
    "AIza": "Google",
    "xai-": "xAI",
    "pplx-": "Perplexity",
}


class KeyShape(Enum):
    """What a token is by its looks alone."""

    VIRTUAL = "virtual key"
    VIRTUAL_MALFORMED = "virtual key with a wrong checksum or length"
    MANAGEMENT = "management key"
    MANAGEMENT_MALFORMED = "management key with a wrong checksum or length"
    PROVIDER = "a provider's key"
    BARE_SK = "sk-…: an old OpenAI key, or a literal that was imported"
    OTHER = "anything else"


def mint(random: bytes | None = None, *, prefix: str = VIRTUAL_PREFIX) -> str:
    """A new key; `random` is 40 bytes."""
    data = os.urandom(_RANDOM_BYTES) if random is None else random
    if len(data) != _RANDOM_BYTES:
        raise ValueError(f"a key is minted from {_RANDOM_BYTES} random bytes, got {len(data)}")
    body = prefix + _base62(int.from_bytes(data, "big"), _RANDOM_CHARS)
    return body + _checksum(body)


def mint_management(random: bytes | None = None) -> str:
    return mint(random, prefix=MANAGEMENT_PREFIX)


def check(text: str) -> KeyShape:
    if text.startswith(VIRTUAL_PREFIX):
        return KeyShape.VIRTUAL if _is_whole(text, VIRTUAL_PREFIX) else KeyShape.VIRTUAL_MALFORMED
    if text.startswith(MANAGEMENT_PREFIX):
        return KeyShape.MANAGEMENT if _is_whole(text, MANAGEMENT_PREFIX) else KeyShape.MANAGEMENT_MALFORMED
    if provider_of(text) is not None:
        return KeyShape.PROVIDER
    return KeyShape.BARE_SK if text.startswith("sk-") else KeyShape.OTHER


def provider_of(text: str) -> str | None:
    """Whose key this is by its prefix; None where the prefix does not say."""
    return next((name for prefix, name in PROVIDER_PREFIXES.items() if text.startswith(prefix)), None)


def literal_problem(text: str) -> str | None:
    """Why `text` cannot be a literal key of somebody's own making; None where it can."""
    if not MIN_LITERAL_CHARS <= len(text) <= MAX_LITERAL_CHARS:
        return f"it must have {MIN_LITERAL_CHARS} to {MAX_LITERAL_CHARS} characters"
    if _PRINTABLE.fullmatch(text) is None:
        return "only printable ASCII characters without spaces can travel in a header"
    return None


def last4(text: str) -> str:
    return text[-4:]


def _is_whole(text: str, prefix: str) -> bool:
    if _OURS.fullmatch(text, len(prefix)) is None:
        return False
    body = text[:-_CHECKSUM_CHARS]
    return text[-_CHECKSUM_CHARS:] == _checksum(body)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), _CHECKSUM_CHARS)


def _base62(value: int, width: int) -> str:
    digits = []
    for _ in range(width):
        value, rest = divmod(value, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))
