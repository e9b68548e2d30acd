"""tiktoken on vendored ranks: no network, ever; loaded when first needed (0.3 s and 50 MB per encoding)."""

from __future__ import annotations

import base64
import hashlib
import lzma
import re
import threading
from importlib.resources import files
from typing import NamedTuple

import tiktoken


class _Known(NamedTuple):
    pattern: str
    sha256: str


# Patterns and hashes are tiktoken 0.14.0's (tiktoken_ext/openai_public.py); a test compares them.
_KNOWN = {
    "cl100k_base": _Known(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
        r"|\s+(?!\S)|\s",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": _Known(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}
# gpt-4 and older, embeddings; all that came after, and other makers' models as an approximation, o200k_base.
_CL100K = re.compile(r"(?:.*/|ft:)?(?:gpt-4(?![o.\d])|gpt-3\.?5|text-embedding-|davinci-002|babbage-002)")
_PIECE_CHARS = 100_000  # bounds the work of one call; a cut costs at most one token


_DIGITS = re.compile(r"\d{2,}")


def digits_apart(text: str) -> int:
    """Tokens more where each digit is one: the encodings put up to three into one."""
    # In pieces, so that other threads get their turn: 2 ms each.
    pieces = (text[start : start + _PIECE_CHARS] for start in range(0, len(text), _PIECE_CHARS))
    return sum(length - (length + 2) // 3 for piece in pieces for length in map(len, _DIGITS.findall(piece)))


def encoding_name(model: str) -> str:
    return "cl100k_base" if _CL100K.match(model) else "o200k_base"


class Tokenizer:
    """Blocking: the caller chooses the thread. Safe from several threads."""

    def __init__(self) -> None:
        self._encodings: dict[str, tiktoken.Encoding] = {}
        self._loading = threading.Lock()

    def loaded(self, name: str) -> bool:
        return name in self._encodings

    def count(self, text: str, name: str) -> int:
        """Tokens of ordinary text: `<|endoftext|>` in it is text, too."""
        encoding = self._encodings.get(name) or self._load(name)
        if len(text) <= _PIECE_CHARS:
            return len(encoding.encode_ordinary(text))
        pieces = (text[start : start + _PIECE_CHARS] for start in range(0, len(text), _PIECE_CHARS))
        return sum(len(encoding.encode_ordinary(piece)) for piece in pieces)

    def _load(self, name: str) -> tiktoken.Encoding:
        with self._loading:
            if name not in self._encodings:
                self._encodings[name] = _build(name)
            return self._encodings[name]


def _build(name: str) -> tiktoken.Encoding:
    known = _KNOWN[name]
    packed = (files("proxy.metering") / "data" / f"{name}.tiktoken.xz").read_bytes()
    ranks = lzma.decompress(packed)
    if hashlib.sha256(ranks).hexdigest() != known.sha256:
        raise RuntimeError(f"{name}.tiktoken.xz is damaged: reinstall synapscale-gateway")
    table: dict[bytes, int] = {}
    for line in ranks.splitlines():
        token, _, rank = line.partition(b" ")
        table[base64.b64decode(token)] = int(rank)
    return tiktoken.Encoding(name, pat_str=known.pattern, mergeable_ranks=table, special_tokens={})
