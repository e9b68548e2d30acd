"""A make-believe OpenAI for client libraries: answers by what it is asked, calls a tool once, and keeps its own books.

Every answer reports other quantities, so that one row cannot be mistaken for another.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.clients import responses_wire
from tests.clients.expected import ANSWER, CITY, DIMENSIONS, EMBEDDING_LLM, LLM, MODERATION_LLM, VECTOR, WEATHER
from tests.upstream.script import Script, chunked, whole
from tests.upstream.server import Recorded

CREATED = 1_767_225_600
TOOL_ARGUMENTS = {"get_weather": {"city": "Paris"}}


@dataclass(frozen=True, slots=True)
class Billed:
    """What one answer reports. `cached` is part of `input`, `reasoning` of `output`. `reported`: a usage was on the wire."""

    surface: str
    stream: bool
    input: int
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    reported: bool = True


@dataclass
class Provider:
    """`upstream.always(Provider().answer)`. `books`: in the order of the calls. `sent`: the last body."""

    books: list[Billed] = field(default_factory=list)
    sent: dict[str, Any] = field(default_factory=dict)

    def answer(self, request: Recorded) -> Script:
        path = request.path.partition("?")[0].removeprefix("/v1")
        surfaces: dict[str, Callable[[dict[str, Any]], Script]] = {
            "/chat/completions": self._chat,
            "/responses": self._responses,
            "/completions": self._completions,
            "/embeddings": self._embeddings,
            "/moderations": self._moderations,
        }
        if request.method == "GET" and path == "/models":
            names = (LLM, EMBEDDING_LLM, MODERATION_LLM)
            models = [{"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"} for name in names]
            return _json({"object": "list", "data": models})
        if request.method != "POST" or path not in surfaces:
            return whole(b'{"error":{"message":"no such path","type":"invalid_request_error"}}', status=404)
        self.sent = request.json()
        return surfaces[path](self.sent)

    def _bill(self, surface: str, *, stream: bool = False, output: bool = True, reported: bool = True) -> Billed:
        number = len(self.books) + 1
        tokens = {"cached": 100 + 3 * number, "output": 50 + 7 * number, "reasoning": 10 + number} if output else {}
        billed = Billed(surface, stream, 1000 + 17 * number, **tokens, reported=reported)
        self.books.append(billed)
        return billed

    # ---- chat

    def _chat(self, body: dict[str, Any]) -> Script:
        stream = bool(body.get("stream"))
        message, finish = chat_message(body)
        asked = bool((body.get("stream_options") or {}).get("include_usage"))
        billed = self._bill("chat", stream=stream, reported=asked or not stream)
        usage = chat_usage(billed)
        if not stream:
            choice = {
                "index": 0,
                "message": {"role": "assistant", "refusal": None, **message},
                "logprobs": None,
                "finish_reason": finish,
            }
            return _json({"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": body["model"], "choices": [choice],
                          "usage": usage, "service_tier": "default", "system_fingerprint": "fp_1"})  # fmt: skip
        frames = [[_delta(part, None)] for part in _deltas(message)] + [[_delta({}, finish)]]

        def event(choices: list[dict[str, Any]], of: dict[str, Any] | None) -> dict[str, Any]:
            base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": body["model"],
                    "service_tier": "default", "system_fingerprint": "fp_1", "choices": choices}  # fmt: skip
            return {**base, "usage": of} if asked else base

        events = [event(choices, None) for choices in frames] + ([event([], usage)] if asked else [])
        return _sse(events, done=True)

    # ---- responses

    def _responses(self, body: dict[str, Any]) -> Script:
        stream = bool(body.get("stream"))
        billed = self._bill("responses", stream=stream)
        usage = {
            "input_tokens": billed.input, "input_tokens_details": {"cached_tokens": billed.cached}, "output_tokens": billed.output,
            "output_tokens_details": {"reasoning_tokens": billed.reasoning}, "total_tokens": billed.input + billed.output,
        }  # fmt: skip
        items = responses_wire.output(body, TOOL_ARGUMENTS)
        number = len(self.books)
        whole_response = responses_wire.response(body, items, usage, number)
        return _sse(responses_wire.events(whole_response), named=True) if stream else _json(whole_response)

    # ---- the older ones

    def _completions(self, body: dict[str, Any]) -> Script:
        stream = bool(body.get("stream"))
        asked = bool((body.get("stream_options") or {}).get("include_usage"))
        billed = self._bill("completions", stream=stream, reported=asked or not stream)
        base = {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": body["model"]}
        if not stream:
            return _json({**base, "choices": [_text_choice(ANSWER, "stop")], "usage": chat_usage(billed)})
        events: list[dict[str, Any]] = [{**base, "choices": [_text_choice(word, None)]} for word in _words(ANSWER)]
        events.append({**base, "choices": [_text_choice("", "stop")]})
        if asked:
            events = [{**event, "usage": None} for event in events] + [
                {**base, "choices": [], "usage": chat_usage(billed)}
            ]
        return _sse(events, done=True)

    def _embeddings(self, body: dict[str, Any]) -> Script:
        inputs = body["input"]
        one = isinstance(inputs, str) or (inputs and isinstance(inputs[0], int))
        billed = self._bill("embeddings", output=False)
        vector: Any = list(VECTOR)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *VECTOR)).decode()
        data = [
            {"object": "embedding", "index": index, "embedding": vector} for index in range(1 if one else len(inputs))
        ]
        usage = {"prompt_tokens": billed.input, "total_tokens": billed.input}
        return _json({"object": "list", "data": data, "model": body["model"], "usage": usage})

    def _moderations(self, body: dict[str, Any]) -> Script:
        self.books.append(Billed("moderations", False, 0, reported=False))
        names = ("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
                 "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic")  # fmt: skip
        result = {"flagged": False, "categories": dict.fromkeys(names, False), "category_scores": dict.fromkeys(names, 0.001),
                  "category_applied_input_types": {name: ["text"] for name in names}}  # fmt: skip
        return _json({"id": "modr-1", "model": body["model"], "results": [result]})


def chat_usage(billed: Billed) -> dict[str, Any]:
    return {
        "prompt_tokens": billed.input, "completion_tokens": billed.output, "total_tokens": billed.input + billed.output,
        "prompt_tokens_details": {"cached_tokens": billed.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": billed.reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                                      "rejected_prediction_tokens": 0},
    }  # fmt: skip


def chat_message(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The assistant's message and its finish reason: a tool is called once, an answer of a wanted shape has it."""
    if body["messages"][-1]["role"] == "tool":
        return {"content": WEATHER}, "stop"
    if tools := body.get("tools"):
        name = tools[0]["function"]["name"]
        arguments = orjson.dumps(TOOL_ARGUMENTS.get(name, CITY)).decode()
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        return {"content": None, "tool_calls": [call]}, "tool_calls"
    if (body.get("response_format") or {}).get("type") in ("json_schema", "json_object"):
        return {"content": orjson.dumps(CITY).decode()}, "stop"
    return {"content": ANSWER}, "stop"


def _deltas(message: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """As OpenAI cuts a message: the role first, then words, or the call's name and then its arguments in pieces."""
    if calls := message.get("tool_calls"):
        call = calls[0]
        text = call["function"]["arguments"]
        yield {"role": "assistant", "content": None, "refusal": None,
               "tool_calls": [{"index": 0, **call, "function": {"name": call["function"]["name"], "arguments": ""}}]}  # fmt: skip
        for start in range(0, len(text), 7):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": text[start : start + 7]}}]}
        return
    yield {"role": "assistant", "content": "", "refusal": None}
    for word in _words(message["content"]):
        yield {"content": word}


def _words(text: str) -> list[str]:
    return text.replace(" ", " \n").split("\n")


def _delta(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _text_choice(text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}


def _json(body: dict[str, Any]) -> Script:
    return whole(orjson.dumps(body))


def _sse(events: Sequence[dict[str, Any]], *, done: bool = False, named: bool = False) -> Script:
    """`named`: with `event:` lines, as the Responses API sends."""
    frames = [b"data: " + orjson.dumps(event) + b"\n\n" for event in events]
    if named:
        frames = [
            b"event: %b\n%b" % (event["type"].encode(), frame) for event, frame in zip(events, frames, strict=True)
        ]
    return chunked([*frames, *([b"data: [DONE]\n\n"] if done else [])])
