"""A make-believe OpenAI-shaped llm for load, chaos and bench: what it does is written in the name of its model.

`sim` alone answers at once. After a colon, settings joined by commas, for example `sim:chunks=50,gap_ms=20`:

chunks       content chunks of a stream, and completion tokens of any answer (8)
gap_ms       between the chunks of a stream (0: everything in one write)
first_ms     before the head (0)
prompt       prompt tokens (otherwise the words of the messages)
cached       of these, cached tokens
usage        `always`: in streams also unasked; `never` (otherwise as OpenAI: in a stream only when asked)
status       answers every request with this error
cut          breaks off after so many chunks, by `how=close` (otherwise) | `reset` | `stall`
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from tests.upstream.script import LAST_CHUNK, Close, Reset, Script, Send, Silence, Step, Wait, chunk, head, whole
from tests.upstream.server import Recorded

_CREATED = 1_767_225_600


def simulated(request: Recorded) -> Script:
    """The standing answer of a stand-alone upstream (`upstream.always(simulated)`)."""
    if request.method == "GET":
        return whole(b'{"object":"list","data":[]}')
    body: dict[str, Any] = orjson.loads(request.body)
    model = str(body.get("model", ""))
    settings = _settings(model)
    prompt = int(settings["prompt"]) if "prompt" in settings else _words(body.get("messages"))
    options = body.get("stream_options") or {}
    asked = settings.get("usage") == "always" or (
        bool(options.get("include_usage")) and settings.get("usage") != "never"
    )
    script = (
        _stream(model, prompt, asked)
        if body.get("stream")
        else _single(model, prompt, settings.get("usage") != "never")
    )
    # the scripts are cached: what differs per request is said on a copy
    return Script(
        script.steps, script.prompt_tokens, script.completion_tokens, model, label=str(body.get("user") or "")
    )


def _settings(model: str) -> dict[str, str]:
    _, _, text = model.partition(":")
    return dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)


def _words(messages: Any) -> int:
    count = 0
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content or ""}]
        count += sum(len(str(part.get("text", "")).split()) for part in parts)
    return count


def _usage(settings: dict[str, str], prompt: int) -> dict[str, Any]:
    completion = int(settings.get("chunks", 8))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": int(settings.get("cached", 0)), "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


@lru_cache(maxsize=1024)
def _single(model: str, prompt: int, with_usage: bool) -> Script:
    settings = _settings(model)
    if "status" in settings:
        return _error(int(settings["status"]))
    tokens = int(settings.get("chunks", 8))
    body: dict[str, Any] = {
        "id": "chatcmpl-sim",
        "object": "chat.completion",
        "created": _CREATED,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "word " * tokens, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "service_tier": "default",
    }
    if with_usage:
        body["usage"] = _usage(settings, prompt)
    steps: list[Step] = [*_pause(settings, "first_ms"), *whole(orjson.dumps(body), headers=HEADERS_JSON).steps]
    return Script(steps, prompt, tokens)


@lru_cache(maxsize=1024)
def _stream(model: str, prompt: int, asked: bool) -> Script:
    settings = _settings(model)
    if "status" in settings:
        return _error(int(settings["status"]))
    count, cut = int(settings.get("chunks", 8)), int(settings.get("cut", -1))

    def frame(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        event: dict[str, Any] = {
            "id": "chatcmpl-sim",
            "object": "chat.completion.chunk",
            "created": _CREATED,
            "model": model,
            "service_tier": "default",
            "system_fingerprint": "fp_sim",
            "choices": choices,
        }
        if asked:
            event["usage"] = usage
        return chunk(b"data: " + orjson.dumps(event) + b"\n\n")

    def choice(delta: dict[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    opening = head(200, [*HEADERS_STREAM, ("transfer-encoding", "chunked")])
    frames = [frame(choice({"role": "assistant", "content": "", "refusal": None}))]
    frames += [frame(choice({"content": f"word{index} "})) for index in range(count)]
    closing = frame(choice({}, "stop"))
    if asked:
        closing += frame([], _usage(settings, prompt))
    closing += chunk(b"data: [DONE]\n\n") + LAST_CHUNK
    if not settings.get("gap_ms") and cut < 0:
        steps: list[Step] = [*_pause(settings, "first_ms"), Send(opening + b"".join(frames) + closing, tokens=count)]
        return Script(steps, prompt, count)
    steps = [*_pause(settings, "first_ms"), Send(opening + frames[0])]
    for index, part in enumerate(frames[1:]):
        if index == cut:
            how: dict[str, Step] = {"reset": Reset(), "stall": Silence()}
            return Script([*steps, how.get(settings.get("how", "close"), Close())], prompt, index)
        steps += [*_pause(settings, "gap_ms"), Send(part, tokens=1)]
    return Script([*steps, *_pause(settings, "gap_ms"), Send(closing)], prompt, count)


def _pause(settings: dict[str, str], name: str) -> list[Step]:
    return [Wait(float(settings[name]) / 1000)] if settings.get(name) else []


def _error(status: int) -> Script:
    body = {"error": {"message": f"simulated {status}", "type": "simulated_error", "param": None, "code": None}}
    return whole(orjson.dumps(body), status=status)


# As many headers as a real provider sends: filtering them is part of what a bench measures.
_HEADERS_COMMON = (
    ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ("access-control-expose-headers", "X-Request-ID"),
    ("openai-organization", "org-simulated"),
    ("openai-processing-ms", "12"),
    ("openai-project", "proj_simulated"),
    ("openai-version", "2020-10-01"),
    ("x-envoy-upstream-service-time", "15"),
    ("x-ratelimit-limit-requests", "5000"),
    ("x-ratelimit-limit-tokens", "4000000"),
    ("x-ratelimit-remaining-requests", "4999"),
    ("x-ratelimit-remaining-tokens", "3999990"),
    ("x-ratelimit-reset-requests", "12ms"),
    ("x-ratelimit-reset-tokens", "0s"),
    ("x-request-id", "req_simulated"),
    ("cf-cache-status", "DYNAMIC"),
    ("set-cookie", "__cf_bm=simulated; path=/; HttpOnly; Secure"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("server", "cloudflare"),
    ("cf-ray", "0000000000000000-FRA"),
    ("alt-svc", 'h3=":443"; ma=86400'),
)
HEADERS_JSON = (("content-type", "application/json"), *_HEADERS_COMMON)
HEADERS_STREAM = (("content-type", "text/event-stream; charset=utf-8"), *_HEADERS_COMMON)
