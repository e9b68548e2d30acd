"""openai-python, whichever major is installed: the same code for 1.109, 2.x and 3.x."""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI
from pydantic import BaseModel
from serve_cases import TOOL, get_weather, given, joined, serve

client = OpenAI(base_url=given.base_url, api_key=given.key)
CHAT_TOOLS: Any = [{"type": "function", "function": TOOL}]
RESPONSES_TOOLS: Any = [{"type": "function", "strict": True, **TOOL}]


class City(BaseModel):
    name: str
    country: str


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def chat_answer() -> dict[str, Any]:
    answer = client.chat.completions.create(model=given.llm, messages=ask(given.question))
    assert answer.usage is not None and answer.usage.prompt_tokens > 0
    return {"text": answer.choices[0].message.content}


def chat_stream() -> dict[str, Any]:
    stream = client.chat.completions.create(
        model=given.llm, messages=ask(given.question), stream=True, stream_options={"include_usage": True}
    )
    events = list(stream)
    assert events[-1].usage is not None and events[-1].usage.completion_tokens > 0
    return {"text": joined(choice.delta.content for event in events for choice in event.choices)}


def chat_tool() -> dict[str, Any]:
    messages = ask(given.weather_question)
    message = client.chat.completions.create(model=given.llm, messages=messages, tools=CHAT_TOOLS).choices[0].message
    assert message.tool_calls
    call: Any = message.tool_calls[0]
    city = json.loads(call.function.arguments)["city"]
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": get_weather(city)}]
    answer = client.chat.completions.create(model=given.llm, messages=messages, tools=CHAT_TOOLS)
    return {"text": answer.choices[0].message.content, "city": city}


def chat_tool_stream() -> dict[str, Any]:
    messages = ask(given.weather_question)
    call: dict[str, str] = {}
    for event in client.chat.completions.create(model=given.llm, messages=messages, tools=CHAT_TOOLS, stream=True):
        for piece in event.choices[0].delta.tool_calls or []:
            call["id"] = call.get("id") or piece.id
            call["name"] = call.get("name") or piece.function.name
            call["arguments"] = call.get("arguments", "") + (piece.function.arguments or "")
    city = json.loads(call["arguments"])["city"]
    function = {"name": call["name"], "arguments": call["arguments"]}
    messages += [
        {"role": "assistant", "tool_calls": [{"id": call["id"], "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": call["id"], "content": get_weather(city)},
    ]
    stream = client.chat.completions.create(model=given.llm, messages=messages, tools=CHAT_TOOLS, stream=True)
    return {"text": joined(event.choices[0].delta.content for event in stream), "city": city}


def chat_structured() -> dict[str, Any]:
    parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    return (
        parse(model=given.llm, messages=ask(given.question), response_format=City)
        .choices[0]
        .message.parsed.model_dump()
    )


def models_list() -> dict[str, Any]:
    return {"listed": given.llm in [model.id for model in client.models.list()]}


def responses_answer() -> dict[str, Any]:
    return {"text": client.responses.create(model=given.llm, input=given.question).output_text}


def responses_stream() -> dict[str, Any]:
    with client.responses.stream(model=given.llm, input=given.question) as stream:
        text = joined(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text
    return {"text": text}


def responses_tool() -> dict[str, Any]:
    first = client.responses.create(model=given.llm, input=given.weather_question, tools=RESPONSES_TOOLS)
    (call,) = (item for item in first.output if item.type == "function_call")
    city = json.loads(call.arguments)["city"]
    told: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": get_weather(city)}]
    answer = client.responses.create(model=given.llm, previous_response_id=first.id, input=told, tools=RESPONSES_TOOLS)
    return {"text": answer.output_text, "city": city}


def responses_structured() -> dict[str, Any]:
    parsed = client.responses.parse(model=given.llm, input=given.question, text_format=City).output_parsed
    assert parsed is not None
    return parsed.model_dump()


def completions_answer() -> dict[str, Any]:
    return {"text": client.completions.create(model=given.llm, prompt=given.question).choices[0].text}


def completions_stream() -> dict[str, Any]:
    stream = client.completions.create(model=given.llm, prompt=given.question, stream=True)
    return {"text": joined(event.choices[0].text for event in stream)}


def embed(**options: Any) -> dict[str, Any]:
    answer = client.embeddings.create(model=given.embedding_llm, **{"input": ["one", "two"], **options})
    return {"vectors": [item.embedding for item in answer.data]}


def moderations_answer() -> dict[str, Any]:
    return {"flagged": client.moderations.create(model=given.moderation_llm, input="Hello").results[0].flagged}


serve(
    {
        "chat.answer": chat_answer,
        "chat.stream": chat_stream,
        "chat.tool": chat_tool,
        "chat.tool-stream": chat_tool_stream,
        "chat.structured": chat_structured,
        "models.list": models_list,
        "responses.answer": responses_answer,
        "responses.stream": responses_stream,
        "responses.tool": responses_tool,
        "responses.structured": responses_structured,
        "completions.answer": completions_answer,
        "completions.stream": completions_stream,
        "embeddings.base64": embed,
        "embeddings.float": lambda: embed(encoding_format="float"),
        "embeddings.tokens": lambda: embed(input=[[9906, 1917], [1917]]),
        "moderations.answer": moderations_answer,
    }
)
