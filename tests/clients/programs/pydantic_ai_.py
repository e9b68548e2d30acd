"""pydantic-ai: agents over chat completions and over responses (what `openai:…` means by default)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from serve_cases import get_weather, given, joined, serve

provider = OpenAIProvider(base_url=given.base_url, api_key=given.key)
chat = OpenAIChatModel(given.llm, provider=provider)
responses = OpenAIResponsesModel(given.llm, provider=provider)


class City(BaseModel):
    name: str
    country: str


async def answer(model: Model) -> dict[str, Any]:
    return {"text": (await Agent(model).run(given.question)).output}


async def stream(model: Model) -> dict[str, Any]:
    async with Agent(model).run_stream(given.question) as run:
        return {"text": joined([piece async for piece in run.stream_text(delta=True, debounce_by=None)])}


async def tool(model: Model, *, streamed: bool = False) -> dict[str, Any]:
    cities: list[str] = []

    def weather(city: str) -> str:
        cities.append(city)
        return get_weather(city)

    weather.__name__ = "get_weather"
    agent = Agent(model, tools=[weather])
    if streamed:
        async with agent.run_stream(given.weather_question) as run:
            return {
                "text": joined([piece async for piece in run.stream_text(delta=True, debounce_by=None)]),
                "city": cities[0],
            }
    return {"text": (await agent.run(given.weather_question)).output, "city": cities[0]}


async def structured(model: Model) -> dict[str, Any]:
    return (await Agent(model, output_type=City).run(given.question)).output.model_dump()


serve(
    {
        "chat.answer": lambda: answer(chat),
        "chat.stream": lambda: stream(chat),
        "chat.tool": lambda: tool(chat),
        "chat.tool-stream": lambda: tool(chat, streamed=True),
        "chat.structured": lambda: structured(chat),
        "responses.answer": lambda: answer(responses),
        "responses.stream": lambda: stream(responses),
        "responses.tool": lambda: tool(responses),
        "responses.tool-stream": lambda: tool(responses, streamed=True),
        "responses.structured": lambda: structured(responses),
    }
)
