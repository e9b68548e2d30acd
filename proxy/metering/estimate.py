"""What an attempt probably consumed, where the provider did not say: the bill is then marked `estimated`.

How near that comes, provider by provider, is measured: docs/estimation.md. Not seen, and so not counted: cached input,
hidden reasoning, what a provider adds by itself (hosted tools, `previous_response_id`, stored prompts).
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from pricing.usage import Usage
from proxy.metering.families import Family, family_of
from proxy.metering.prompt import Prompt
from proxy.metering.said import output_tokens
from proxy.metering.surfaces import FILLS, FREE, WITHOUT_OUTPUT, chat
from proxy.metering.tokenizer import Tokenizer, digits_apart

T = TypeVar("T")

_INLINE_BYTES = 4096  # 0.2 ms; more goes to the thread
_BYTES_PER_TOKEN = 4
_MAX_CHARS = 4 * 1024 * 1024  # tokenised per estimate (0.2 s of prose, 0.7 s of hostile text); the rest goes on as it began
_LARGE_BYTES = 4 * 1024 * 1024
# A large body with more structure than any provider takes would hold the interpreter for half a second to be read.
_MAX_OBJECTS, _MAX_COMMAS = 200_000, 1_000_000
_PIECE_BYTES = 256 * 1024
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]{1024,}")


class Estimator:
    """One per process; `close` it. Loads encodings when first needed, in its own thread.

    What waits for that one thread is bounded by the requests in flight, each piece of work by `_MAX_CHARS`.
    """

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer = tokenizer or Tokenizer()
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer")

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def warm(self, model: str) -> None:
        """Loads what counting for this model needs."""
        encoding = family_of(model).encoding
        if not self._tokenizer.loaded(encoding):
            await asyncio.get_running_loop().run_in_executor(self._threads, self._tokenizer.count, "", encoding)

    async def count(self, text: str, model: str) -> int:
        """Output tokens of a part of an answer (an `OutputText`'s), in this model's own count."""
        family = family_of(model)
        return await self._run(len(text), family, lambda: self._said(text, family))

    async def estimate(self, surface: str, raw_body: bytes, output_text: str, model: str) -> Usage:
        """`raw_body`: the request as the provider got it. Cached input cannot be seen: its unit is absent.

        An error's text is no output: give "" for it (`OutputText` keeps none).
        """
        if surface in FREE:
            return Usage()
        family = family_of(model)
        size = len(raw_body) + len(output_text)
        return Usage(await self._run(size, family, lambda: self._units(surface, raw_body, output_text, model, family)))

    async def _run(self, size: int, family: Family, work: Callable[[], T]) -> T:
        """In the thread where it takes long."""
        if size <= _INLINE_BYTES and self._tokenizer.loaded(family.encoding):
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _units(self, surface: str, raw_body: bytes, said: str, model: str, family: Family) -> dict[str, int]:
        body = _decode(raw_body)
        if body is None:
            units = {"input": _by_length(raw_body)}
        else:
            prompt = Prompt(family, model, Counter(self._tokenizer, family).count)
            if body:
                FILLS.get(surface, chat)(prompt, body)
            units = prompt.units()
        if surface not in WITHOUT_OUTPUT:
            around = family.per_answer + (family.per_answer_of_responses if surface == "responses" else 0)
            units["output"] = self._said(said, family, forced=_forced(body or {}), around=around)
        return units

    def _said(self, said: str, family: Family, *, forced: bool = False, around: int = 0) -> int:
        return output_tokens(said, family, Counter(self._tokenizer, family).count, forced=forced, around=around)


class Counter:
    """Tokens of one estimate's texts: counted up to a bound, then by the rate found so far."""

    __slots__ = ("_chars", "_family", "_tokenizer", "_tokens")

    def __init__(self, tokenizer: Tokenizer, family: Family) -> None:
        self._tokenizer = tokenizer
        self._family = family
        self._chars = self._tokens = 0

    def count(self, text: str) -> int:
        room = max(0, _MAX_CHARS - self._chars)
        head = text if len(text) <= room else text[:room]
        tokens = self._tokenizer.count(head, self._family.encoding) if head else 0
        if self._family.single_digits:
            tokens += digits_apart(head)
        self._chars += len(head)
        self._tokens += tokens
        if len(text) > room:
            tokens += math.ceil((len(text) - room) * self._tokens / self._chars)
        return tokens


def _decode(raw_body: bytes) -> dict[str, Any] | None:
    """None: no JSON by any reading, or too much of it. Empty: JSON that is no object."""
    if len(raw_body) > _LARGE_BYTES and (
        raw_body.count(b"{") + raw_body.count(b"[") > _MAX_OBJECTS or raw_body.count(b",") > _MAX_COMMAS
    ):
        return None
    try:
        body = msgspec.json.decode(raw_body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            body = json.loads(raw_body)  # lone surrogates, NaN: some providers take them
        except (ValueError, RecursionError):
            return None
    return body if isinstance(body, dict) else {}


def _forced(body: dict[str, Any]) -> bool:
    """The answer can only be a call of one function."""
    choice = body.get("tool_choice") or body.get("function_call")
    if isinstance(choice, dict):
        return bool(choice.get("function") or choice.get("name"))
    tools = body.get("tools")
    return choice in ("required", "any") and isinstance(tools, list) and len(tools) == 1


def _by_length(raw_body: bytes) -> int:
    """Long base64 is an image or a file, not text. In pieces, so that other threads get their turn: 3 ms each."""
    pieces = (raw_body[start : start + _PIECE_BYTES] for start in range(0, len(raw_body), _PIECE_BYTES))
    return math.ceil(sum(len(_BASE64.sub(b"", piece)) for piece in pieces) / _BYTES_PER_TOKEN)
