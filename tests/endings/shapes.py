"""What each OpenAI-shaped provider's stream and body look like: one per usage reader.

Where there is a recording its bytes are used, else bytes of our own in that provider's format (notes on providers: Mistral and
Together report on the finish chunk, xAI's chat leaves reasoning out of completion_tokens, Gemini's leaves thoughts out).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.wire.recordings import available, load, missing_reason

DONE = b"data: [DONE]\n\n"
Change = Callable[[dict[str, Any]], dict[str, Any] | None]
_REQUIRED = os.environ.get("CI") == "true"


@dataclass(frozen=True)
class Shape:
    """`tokens`: input, cached, output, as the provider means its figures."""

    name: str
    reader: str
    frames: tuple[bytes, ...]
    tokens: tuple[int, int, int]

    @property
    def said(self) -> list[int]:
        """Frames with something that a model has said."""
        return [at for at, frame in enumerate(self.frames) if _says(data_of(frame))]

    @property
    def finish_at(self) -> int:
        return next(at for at, frame in enumerate(self.frames) if _finishes(data_of(frame)))

    @property
    def usage_at(self) -> int:
        return max(at for at, frame in enumerate(self.frames) if usage_of(data_of(frame)))

    @property
    def until_said(self) -> tuple[bytes, ...]:
        """To the last that was said, nothing of an end yet."""
        return self.frames[: self.said[-1] + 1]

    def with_usage(self, change: Change) -> tuple[bytes, ...]:
        """Each usage changed; gone where `change` says None."""
        return tuple(frame for old in self.frames if (frame := _changed(old, change)) is not None)

    def body(self, change: Change = lambda usage: usage) -> bytes:
        """The same as an answer that is no stream."""
        usage = usage_of(data_of(self.frames[self.usage_at]))
        assert usage is not None
        message = {"role": "assistant", "content": "Three words long."}
        answer: dict[str, Any] = {
            "id": "chatcmpl-1", "object": "chat.completion", "model": "recorded",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }  # fmt: skip
        if (changed := change(usage)) is not None:
            answer["usage"] = changed
        return orjson.dumps(answer)


def data_of(frame: bytes) -> dict[str, Any]:
    for line in frame.splitlines():
        if line.lstrip().startswith(b"data:") and b"{" in line:
            parsed: dict[str, Any] = orjson.loads(line.split(b"data:", 1)[1])
            return parsed
    return {}


def usage_of(data: Mapping[str, Any]) -> dict[str, Any] | None:
    return data.get("usage") or (data.get("x_groq") or {}).get("usage")


def _says(data: Mapping[str, Any]) -> bool:
    deltas = [choice.get("delta") or {} for choice in data.get("choices") or ()]
    return any(delta.get(name) for delta in deltas for name in ("content", "reasoning", "reasoning_content", "tool_calls"))


def _finishes(data: Mapping[str, Any]) -> bool:
    return any(choice.get("finish_reason") for choice in data.get("choices") or ())


def _changed(frame: bytes, change: Change) -> bytes | None:
    data = data_of(frame)
    usage = usage_of(data)
    if usage is None:
        return frame
    changed = change(usage)
    if changed is None and data.get("choices") == []:
        return None
    holder = data if data.get("usage") else data["x_groq"]
    holder["usage"] = changed
    return b"data: %b\n\n" % orjson.dumps(data)


# ---- what is wrong with usage


def gone(usage: dict[str, Any]) -> None:
    return None


def zero(usage: dict[str, Any]) -> dict[str, Any]:
    return {name: zero(value) if isinstance(value, dict) else 0 for name, value in usage.items() if not isinstance(value, bool)}


def halved(usage: dict[str, Any]) -> dict[str, Any]:
    """As a running count would be earlier."""
    counts = {name: value // 2 for name, value in usage.items() if isinstance(value, int) and not isinstance(value, bool)}
    return {**usage, **counts}


def absurd(usage: dict[str, Any]) -> dict[str, Any]:
    """More from the cache than there was, by every name; and less than nothing."""
    more = usage["prompt_tokens"] + 1000
    details = {"cached_tokens": more, "audio_tokens": -7}
    return {
        **usage, "prompt_tokens_details": details, "prompt_cache_hit_tokens": more, "num_cached_tokens": more,
        "cached_tokens": more, "completion_tokens_details": {"reasoning_tokens": -3},
    }  # fmt: skip


# ---- the shapes


def _recorded(number: int, index: int) -> Callable[[], tuple[bytes, ...]]:
    def frames() -> tuple[bytes, ...]:
        recording = [recording for recording in load(number) if recording.is_stream][index]
        return tuple(frame + b"\n\n" for frame in recording.body.split(b"\n\n") if frame.strip())

    return frames


def _chunk(delta: Mapping[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: %b\n\n" % orjson.dumps({"id": "c-1", "object": "chat.completion.chunk", "choices": choices, **more})


def _own(finish_usage: Mapping[str, Any] | None, last_usage: Mapping[str, Any] | None = None) -> tuple[bytes, ...]:
    words = [_chunk({"content": f"word{number} "}) for number in range(8)]
    at_finish = {} if finish_usage is None else {"usage": finish_usage}
    last = () if last_usage is None else (_chunk(None, usage=last_usage),)
    return (_chunk({"role": "assistant", "content": ""}), *words, _chunk({}, "stop", **at_finish), *last, DONE)


def _usage(prompt: int, completion: int, total: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


def _running() -> tuple[bytes, ...]:
    """Usage on every chunk (vLLM's `continuous_usage_stats`, Perplexity), and always the prompt with it."""
    words = [_chunk({"content": f"word{number} "}, usage=_usage(50, number + 1, 51 + number)) for number in range(8)]
    first = _chunk({"role": "assistant", "content": ""}, usage=_usage(50, 0, 50))
    return (first, *words, _chunk({}, "stop", usage=_usage(50, 9, 59)), _chunk(None, usage=_usage(50, 9, 59)), DONE)


_XAI = _usage(40, 9, 60, prompt_tokens_details={"cached_tokens": 8}, completion_tokens_details={"reasoning_tokens": 11})
_RECORDED = {
    "openai": _recorded(1, 1), "azure": _recorded(17, 0), "groq": _recorded(29, 0), "deepseek": _recorded(33, 0),
    "openrouter": _recorded(32, 1),
}  # fmt: skip
RUNNING = Shape("running count", "openai", _running(), (50, 0, 9))
_OWN = (
    Shape("mistral", "mistral", _own(_usage(30, 9, 39, prompt_tokens_details={"cached_tokens": 12})), (30, 12, 9)),
    Shape("xai", "xai", _own(None, _XAI), (40, 8, 20)),
    Shape("gemini_openai", "gemini_openai", _own(_usage(25, 9, 47)), (25, 0, 22)),
    Shape("together", "together", _own(_usage(33, 9, 42, cached_tokens=4)), (33, 4, 9)),
    RUNNING,
)


def shapes() -> list[Shape]:
    """Without recordings only those of our own; with CI=true their absence fails."""
    if not available():
        assert not _REQUIRED, missing_reason()
        return list(_OWN)
    recorded = []
    for reader, frames in _RECORDED.items():
        shape = Shape(reader, reader, frames(), (0, 0, 0))
        usage = usage_of(data_of(shape.frames[shape.usage_at])) or {}
        details = usage.get("prompt_tokens_details") or {}
        cached = details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0
        recorded.append(Shape(reader, reader, shape.frames, (usage["prompt_tokens"], cached, usage["completion_tokens"])))
    return [*recorded, *_OWN]
