"""OpenAI Agents SDK: over responses, its default, and over chat completions. Its traces would go to OpenAI itself: off."""

from __future__ import annotations

from typing import Any

from agents import (
    Agent,
    Model,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel
from serve_cases import get_weather, given, joined, serve

set_tracing_disabled(True)
client = AsyncOpenAI(base_url=given.base_url, api_key=given.key)
chat = OpenAIChatCompletionsModel(given.llm, openai_client=client)
responses = OpenAIResponsesModel(given.llm, openai_client=client)


class City(BaseModel):
    name: str
    country: str


def agent(model: Model, **options: Any) -> Agent[None]:
    return Agent(name="Guide", instructions="Be brief.", model=model, **options)


async def answer(model: Model) -> dict[str, Any]:
    return {"text": (await Runner.run(agent(model), given.question)).final_output}


async def streamed(of: Agent[None], question: str) -> str:
    run = Runner.run_streamed(of, question)
    deltas = [
        event.data.delta
        async for event in run.stream_events()
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
    ]
    return joined(deltas)


async def stream(model: Model) -> dict[str, Any]:
    return {"text": await streamed(agent(model), given.question)}


async def tool(model: Model, *, stream: bool = False) -> dict[str, Any]:
    cities: list[str] = []

    @function_tool(name_override="get_weather")
    def weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return get_weather(city)

    of = agent(model, tools=[weather])
    text = (
        await streamed(of, given.weather_question)
        if stream
        else (await Runner.run(of, given.weather_question)).final_output
    )
    return {"text": text, "city": cities[0]}


async def structured(model: Model) -> dict[str, Any]:
    return (await Runner.run(agent(model, output_type=City), given.question)).final_output.model_dump()


serve(
    {
        "chat.answer": lambda: answer(chat),
        "chat.stream": lambda: stream(chat),
        "chat.tool": lambda: tool(chat),
        "chat.tool-stream": lambda: tool(chat, stream=True),
        "chat.structured": lambda: structured(chat),
        "responses.answer": lambda: answer(responses),
        "responses.stream": lambda: stream(responses),
        "responses.tool": lambda: tool(responses),
        "responses.tool-stream": lambda: tool(responses, stream=True),
        "responses.structured": lambda: structured(responses),
    }
)
