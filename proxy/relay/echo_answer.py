"""What the built-in llm says: the words of the last user message, on OpenAI's chat wire (pure).

A token is a word. So whoever reads an answer can check its usage by counting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import orjson

from proxy.outbound.sink import Headers

_WORD = re.compile(r"\S+\s*")
_MAX_CHOICES = 128  # OpenAI's own bound (API reference, chat completions, n)
_NOTHING_TO_SAY = "Send me a message and I will say it back to you."
_JSON: Headers = [(b"content-type", b"application/json")]
_EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8")]


class EchoAnswer(NamedTuple):
    status: int
    headers: Headers
    pieces: Iterator[bytes]


class _BadRequest(Exception):
    def __init__(self, message: str, param: str | None) -> None:
        super().__init__(message)
        self.param = param


def echo_answer(body: bytes, *, completion_id: str, created_s: int) -> EchoAnswer:
    """The answer to a chat completion request; a request that cannot be answered gets OpenAI's 400."""
    try:
        return _answer(_object(body), completion_id, created_s)
    except _BadRequest as bad:
        error = {"message": str(bad), "type": "invalid_request_error", "param": bad.param, "code": None}
        return EchoAnswer(400, _JSON, iter([orjson.dumps({"error": error})]))


def _answer(request: dict[str, Any], completion_id: str, created_s: int) -> EchoAnswer:
    messages = _messages(request)
    choices = _count(request, "n", most=_MAX_CHOICES) or 1
    most = _count(request, "max_completion_tokens") or _count(request, "max_tokens")
    options = request.get("stream_options") or {}
    if not isinstance(options, dict):
        raise _BadRequest("stream_options must be an object.", "stream_options")
    words = _WORD.findall(_said(messages))
    finish = "stop"
    if most is not None and len(words) > most:
        words, finish = words[:most], "length"
    prompt, completion = sum(len(_text(message).split()) for message in messages), len(words) * choices
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    base = {"id": completion_id, "object": "chat.completion", "created": created_s, "model": request.get("model")}
    if request.get("stream"):
        base["object"] = "chat.completion.chunk"
        asked = usage if options.get("include_usage") else None
        return EchoAnswer(200, _EVENTS, _events(base, words, choices, finish, asked))
    said: dict[str, Any] = {"role": "assistant", "content": "".join(words), "refusal": None, "annotations": []}
    whole = base | {
        "choices": [
            {"index": index, "message": said, "logprobs": None, "finish_reason": finish} for index in range(choices)
        ],
        "usage": usage,
        "system_fingerprint": None,
    }
    return EchoAnswer(200, _JSON, iter([orjson.dumps(whole)]))


def _events(
    base: dict[str, Any], words: list[str], choices: int, finish: str, usage: dict[str, Any] | None
) -> Iterator[bytes]:
    """One event per word and choice. Asked for usage, every chunk says `"usage":null` but the last, as OpenAI's do."""
    nulled = base if usage is None else base | {"usage": None}

    def event(index: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event(nulled | {"choices": [choice]})

    for index in range(choices):
        yield event(index, {"role": "assistant", "content": "", "refusal": None})
    for word in words:
        for index in range(choices):
            yield event(index, {"content": word})
    for index in range(choices):
        yield event(index, {}, finish)
    if usage is not None:
        yield _event(base | {"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _object(body: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _BadRequest(f"The body is not JSON: {error}.", None) from None
    if not isinstance(request, dict):
        raise _BadRequest("The body must be a JSON object.", None)
    return cast(dict[str, Any], request)


def _messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise _BadRequest("messages must be a list of at least one message object.", "messages")
    return messages


def _count(request: dict[str, Any], name: str, *, most: int | None = None) -> int | None:
    value = request.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (most is not None and value > most):
        raise _BadRequest(f"{name} must be a whole number from 1{f' to {most}' if most else ' up'}.", name)
    return value


def _said(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user" and (text := _text(message).strip()):
            return text
    return _NOTHING_TO_SAY


def _text(message: dict[str, Any]) -> str:
    """The text of a message: a string, or its text parts; images and the like have no words."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "\n".join(texts)
