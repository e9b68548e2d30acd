"""What every client must get, case by case, whatever library it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LLM, EMBEDDING_LLM, MODERATION_LLM = "scripted-llm", "scripted-embedding", "scripted-moderation"
QUESTION = "Which town is it?"
WEATHER_QUESTION = "How is the weather in Paris?"
ANSWER = "It is Paris, the capital of France."
WEATHER = "It is 21 degrees in Paris."
CITY = {"name": "Paris", "country": "France"}
VECTOR = (0.25, -0.5, 0.125, 1.0)  # exact as 32-bit floats
DIMENSIONS = len(VECTOR)

_TEXT: dict[str, Any] = {"text": ANSWER}
_TOLD: dict[str, Any] = {"text": WEATHER, "city": "Paris"}
_VECTORS: dict[str, Any] = {"vectors": [list(VECTOR), list(VECTOR)]}

# case → what the program reports and how many calls reach the provider. The surface is what precedes the dot.
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "chat.answer": (_TEXT, 1),
    "chat.stream": (_TEXT, 1),
    "chat.tool": (_TOLD, 2),  # the call, then the answer to its result
    "chat.tool-stream": (_TOLD, 2),
    "chat.structured": (dict(CITY), 1),
    "chat.structured-json": (dict(CITY), 1),  # asked for in the prompt, not by a schema
    "chat.structured-stream": (dict(CITY), 1),
    "models.list": ({"listed": True}, 0),
    "responses.answer": (_TEXT, 1),
    "responses.stream": (_TEXT, 1),
    "responses.tool": (_TOLD, 2),
    "responses.tool-stream": (_TOLD, 2),
    "responses.structured": (dict(CITY), 1),
    "completions.answer": (_TEXT, 1),
    "completions.stream": (_TEXT, 1),
    "embeddings.base64": (_VECTORS, 1),
    "embeddings.float": (_VECTORS, 1),
    "embeddings.tokens": (_VECTORS, 1),
    "moderations.answer": ({"flagged": False}, 1),
}

# case → what the provider must have been sent, for a case that is about that.
SENT: dict[str, Callable[[dict[str, Any]], bool]] = {
    "chat.stream": lambda body: body["stream"] is True,
    "chat.tool-stream": lambda body: body["stream"] is True,
    "responses.stream": lambda body: body["stream"] is True,
    "responses.tool-stream": lambda body: body["stream"] is True,
    "embeddings.base64": lambda body: body["encoding_format"] == "base64",
    "embeddings.float": lambda body: body.get("encoding_format", "float") == "float",
    "embeddings.tokens": lambda body: all(isinstance(number, int) for tokens in body["input"] for number in tokens),
}
