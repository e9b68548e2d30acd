"""instructor: an object instead of a text, by a forced tool call, whole and streamed."""

from __future__ import annotations

from typing import Any

import instructor
from openai import OpenAI
from pydantic import BaseModel
from serve_cases import given, serve

plain = OpenAI(base_url=given.base_url, api_key=given.key)
client = instructor.from_openai(plain)
json_client = instructor.from_openai(plain, mode=instructor.Mode.JSON)
MESSAGES: Any = [{"role": "user", "content": given.question}]


class City(BaseModel):
    name: str
    country: str


def partial() -> dict[str, Any]:
    *before, last = client.chat.completions.create_partial(model=given.llm, messages=MESSAGES, response_model=City)
    assert before, "not streamed"
    return last.model_dump()


def create(of: instructor.Instructor) -> dict[str, Any]:
    return of.chat.completions.create(model=given.llm, messages=MESSAGES, response_model=City).model_dump()


serve(
    {
        "chat.structured": lambda: create(client),
        "chat.structured-json": lambda: create(json_client),
        "chat.structured-stream": partial,
    }
)
