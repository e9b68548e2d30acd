"""What an attempt probably consumed, where the provider did not say: the bill is then marked `estimated`.

An approximation for all but OpenAI's own text models: other makers' tokenizers differ (the factor is 1 for each: none
is measured yet); images count as one high-detail tile set; audio, files and hidden reasoning are not seen.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from pricing.usage import Usage
from proxy.metering.output_text import texts_in
from proxy.metering.tokenizer import Tokenizer, encoding_name

# OpenAI's cookbook, "How to count tokens with tiktoken": each message is wrapped in 3 tokens, the answer primed with 3.
_PER_MESSAGE = 3
_PER_ANSWER = 3
_PER_IMAGE, _PER_SMALL_IMAGE = 765, 85  # 1024 × 1024 in high detail, any in low detail (gpt-4o)
_INLINE_BYTES = 4096  # 0.2 ms; more goes to a thread
_BYTES_PER_TOKEN = 4


class Estimator:
    """One per process; `close` it. Loads encodings when first needed, in its own thread."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer = tokenizer or Tokenizer()
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer")

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def warm(self, model: str) -> None:
        """Loads what counting for this model needs."""
        await self.count("", model)

    async def count(self, text: str, model: str) -> int:
        name = encoding_name(model)
        if len(text) <= _INLINE_BYTES and self._tokenizer.loaded(name):
            return self._tokenizer.count(text, name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._tokenizer.count, text, name)

    async def estimate_chat(self, raw_body: bytes, output_text: str, model: str) -> Usage:
        """`raw_body`: the request as the provider got it. Cached input cannot be seen: its unit is absent."""
        name = encoding_name(model)
        if len(raw_body) + len(output_text) <= _INLINE_BYTES and self._tokenizer.loaded(name):
            return self._estimate(raw_body, output_text, name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._estimate, raw_body, output_text, name)

    def _estimate(self, raw_body: bytes, output_text: str, name: str) -> Usage:
        prompt = self._prompt_tokens(raw_body, name)
        return Usage(units={"input": prompt, "output": self._tokenizer.count(output_text, name)})

    def _prompt_tokens(self, raw_body: bytes, name: str) -> int:
        try:
            body = msgspec.json.decode(raw_body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return math.ceil(len(raw_body) / _BYTES_PER_TOKEN)
        if not isinstance(body, dict):
            return 0
        tokens = _PER_ANSWER
        messages = body.get("messages")
        for message in messages if isinstance(messages, list) else []:
            if not isinstance(message, dict):
                continue
            tokens += _PER_MESSAGE + _images(message.get("content"))
            tokens += sum(self._tokenizer.count(text, name) for text in _texts(message))
        # Providers rewrite schemas in their own form; compact JSON comes close.
        for field in ("tools", "functions", "response_format"):
            if body.get(field):
                tokens += self._tokenizer.count(msgspec.json.encode(body[field]).decode(), name)
        return tokens


def _texts(message: dict[str, object]) -> Iterable[str]:
    for field in ("role", "name", "content", "reasoning_content", "refusal", "tool_calls", "function_call"):
        yield from texts_in(message.get(field))


def _images(content: object) -> int:
    if not isinstance(content, list):
        return 0
    tokens = 0
    for part in content:
        if isinstance(part, dict) and part.get("type") in ("image_url", "input_image", "image"):
            image = part.get("image_url")
            small = isinstance(image, dict) and image.get("detail") == "low"
            tokens += _PER_SMALL_IMAGE if small else _PER_IMAGE
    return tokens
