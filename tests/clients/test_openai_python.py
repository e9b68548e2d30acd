"""The official SDK as it comes from PyPI: only base_url and key differ from talking to OpenAI."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import orjson
import pytest
from pydantic import BaseModel

from tests.gateway import RunningGateway
from tests.upstream.script import chunked, whole
from tests.upstream.server import Upstream
from tests.wire.recordings import Recording, params

MESSAGES: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key) as client:
        yield client


def answer(**message: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return orjson.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "upstream-model",
            "choices": [choice],
            "usage": USAGE,
        }
    )


async def test_chat(client: openai.AsyncOpenAI, gateway: RunningGateway, upstream: Upstream) -> None:
    upstream.expect(whole(answer(content="Hi.")))
    completion = await client.chat.completions.create(model="scripted-llm", messages=MESSAGES)
    assert completion.choices[0].message.content == "Hi."
    assert completion.usage is not None and completion.usage.total_tokens == 12
    assert completion._request_id is not None and completion._request_id.startswith("req_")
    (row,) = await gateway.rows(1)
    assert row["request_id"] == completion._request_id


@pytest.mark.parametrize("recording", params(1, only="stream")[:1])
async def test_stream_with_parallel_tools_from_a_recording(
    client: openai.AsyncOpenAI, gateway: RunningGateway, upstream: Upstream, recording: Recording
) -> None:
    upstream.expect(chunked([recording.body], piece=7))
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    usage = None
    stream = await client.chat.completions.create(
        model="scripted-llm", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    async for event in stream:
        usage = event.usage or usage
        for choice in event.choices:
            for call in choice.delta.tool_calls or []:
                assert call.function is not None
                names[call.index] = names.get(call.index) or call.function.name or ""
                arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    assert len(names) >= 2 and all(names.values())
    assert all(isinstance(orjson.loads(text), dict) for text in arguments.values())
    (row,) = await gateway.rows(1)
    assert usage is not None
    assert (row["input_tokens"], row["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)


@pytest.mark.parametrize("recording", params(1, only="stream")[:1])
async def test_stream_without_usage_shows_no_usage_chunk(
    client: openai.AsyncOpenAI, gateway: RunningGateway, upstream: Upstream, recording: Recording
) -> None:
    upstream.expect(chunked([recording.body]))
    events = [
        event
        async for event in await client.chat.completions.create(model="scripted-llm", messages=MESSAGES, stream=True)
    ]
    assert all(event.choices for event in events) and all(event.usage is None for event in events)
    (row,) = await gateway.rows(1)
    assert row["usage_source"] == "provider" and row["input_tokens"] > 0


async def test_structured_output(client: openai.AsyncOpenAI, gateway: RunningGateway, upstream: Upstream) -> None:
    class City(BaseModel):
        name: str
        country: str

    upstream.expect(whole(answer(content='{"name":"Paris","country":"France"}')))
    parsed = await client.chat.completions.parse(model="scripted-llm", messages=MESSAGES, response_format=City)
    assert parsed.choices[0].message.parsed == City(name="Paris", country="France")
    assert upstream.requests[0].json()["response_format"]["json_schema"]["strict"] is True
    await gateway.rows(1)


async def test_errors_are_the_sdks_own(gateway: RunningGateway, upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as not_found:
        await client.chat.completions.create(model="scripted-lm", messages=MESSAGES)
    assert not_found.value.code == "model_not_found" and "scripted-llm" in not_found.value.message
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-syn-" + "x" * 46).chat.completions.create(
            model="scripted-llm", messages=MESSAGES
        )
    with pytest.raises(openai.AuthenticationError) as provider_key:
        await client.with_options(api_key="sk-proj-" + "x" * 40).chat.completions.create(
            model="scripted-llm", messages=MESSAGES
        )
    assert provider_key.value.code == "provider_key_sent"
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model="scripted-llm", messages=MESSAGES, n=0)
    assert bad.value.param == "n"
    assert (await gateway.api("usage/events"))["data"] == [], "a refusal is no attempt"


async def test_the_sdk_retries_and_every_attempt_has_its_row(
    client: openai.AsyncOpenAI, gateway: RunningGateway, upstream: Upstream
) -> None:
    busy = whole(
        b'{"error":{"message":"busy"}}',
        status=503,
        headers=[("content-type", "application/json"), ("retry-after-ms", "5")],
    )
    upstream.expect(busy, busy, whole(answer(content="At last.")))
    completion = await client.chat.completions.create(model="scripted-llm", messages=MESSAGES)
    assert completion.choices[0].message.content == "At last."
    rows = await gateway.rows(3)
    assert [row["outcome"] for row in rows] == ["upstream_error", "upstream_error", "ok"]


async def test_an_error_inside_a_stream_raises(
    client: openai.AsyncOpenAI, gateway: RunningGateway, upstream: Upstream
) -> None:
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    frame = b"data: " + orjson.dumps(event) + b"\n\n"
    upstream.expect(chunked([frame, b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n']))
    stream = await client.chat.completions.create(model="scripted-llm", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass
    (row,) = await gateway.rows(1)
    assert row["outcome"] == "upstream_error"


async def test_models(client: openai.AsyncOpenAI, gateway: RunningGateway) -> None:
    names = [model.id async for model in client.models.list()]
    assert names == ["scripted-llm", "synapscale/echo"]
    assert (await client.models.retrieve("synapscale/echo")).owned_by == "synapscale"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-0")
