from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing.usage import Usage
from proxy.metering.estimate import Estimator
from proxy.metering.tokenizer import Tokenizer
from tests.wire.recordings import Recording, params

_SHARED = Tokenizer()


@pytest.fixture
async def estimator() -> AsyncIterator[Estimator]:
    made = Estimator(_SHARED)
    yield made
    made.close()


def chat(*messages: object, **more: object) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": messages} | more).encode()


async def test_a_short_chat(estimator: Estimator) -> None:
    """OpenAI reports 8 prompt tokens for "hello"."""
    usage = await estimator.estimate_chat(
        chat({"role": "user", "content": "hello"}), "Hello! How can I help you today?", "gpt-4o"
    )
    assert usage == Usage({"input": 8, "output": 9})


async def test_special_token_text_is_text(estimator: Estimator) -> None:
    usage = await estimator.estimate_chat(chat({"role": "user", "content": "<|endoftext|>"}), "<|endoftext|>", "gpt-4o")
    assert usage == Usage({"input": 14, "output": 7})


async def test_parts_images_tools(estimator: Estimator) -> None:
    async def prompt(body: bytes) -> int:
        return (await estimator.estimate_chat(body, "", "gpt-4o")).input_tokens

    text = await prompt(chat({"role": "user", "content": [{"type": "text", "text": "hello"}]}))
    assert text == 8
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    assert await prompt(chat({"role": "user", "content": [{"type": "text", "text": "hello"}, image]})) == 8 + 765
    small = {"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}}
    assert await prompt(chat({"role": "user", "content": [{"type": "text", "text": "hello"}, small]})) == 8 + 85
    assert (
        await prompt(
            chat({"role": "user", "content": "hello"}, tools=[{"type": "function", "function": {"name": "f"}}])
        )
        > 8
    )


async def test_large_counts_leave_the_event_loop(estimator: Estimator) -> None:
    await estimator.warm("gpt-4o")
    seen: list[str] = []
    original = _SHARED.count

    def spy(text: str, name: str) -> int:
        seen.append(threading.current_thread().name)
        return original(text, name)

    estimator._tokenizer = type("Spy", (), {"count": staticmethod(spy), "loaded": staticmethod(_SHARED.loaded)})()  # type: ignore[assignment]
    await estimator.estimate_chat(chat({"role": "user", "content": "word " * 5000}), "", "gpt-4o")
    assert {name.partition("_")[0] for name in seen} == {"tokenizer"}
    seen.clear()
    await estimator.estimate_chat(chat({"role": "user", "content": "hi"}), "", "gpt-4o")
    assert set(seen) == {threading.current_thread().name}


async def test_the_first_load_leaves_the_event_loop() -> None:
    fresh = Estimator()
    loads: list[str] = []
    original = fresh._tokenizer._load

    def spy(name: str) -> object:
        loads.append(threading.current_thread().name)
        return original(name)

    fresh._tokenizer._load = spy  # type: ignore[assignment, method-assign]
    await asyncio.gather(
        *(fresh.estimate_chat(chat({"role": "user", "content": "hi"}), "", "gpt-4o") for _ in range(3))
    )
    fresh.close()
    assert loads
    assert all(name.startswith("tokenizer") for name in loads)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=30),
        st.dictionaries(
            st.sampled_from(["messages", "tools", "response_format", "x"]),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=3),
                    st.dictionaries(st.sampled_from(["role", "content", "type", "image_url", "text"]), inner),
                ),
                max_leaves=6,
            ),
        ).map(lambda value: json.dumps(value).encode()),
    ),
    st.text(max_size=20),
)
async def test_anything_can_be_estimated(estimator: Estimator, body: bytes, output: str) -> None:
    usage = await estimator.estimate_chat(body, output, "gpt-4o")
    assert usage.input_tokens >= 0
    assert usage.output_tokens >= 0


async def test_a_deep_body_can_be_estimated(estimator: Estimator) -> None:
    deep = b'{"messages":[{"role":"user","content":' + b"[" * 900 + b"]" * 900 + b"}]}"
    assert (await estimator.estimate_chat(deep, "", "gpt-4o")).input_tokens > 0


@pytest.mark.parametrize("recording", params(1, 3, 7, 33, 50))
async def test_close_to_what_providers_reported(estimator: Estimator, recording: Recording) -> None:
    """Within a quarter and 40 tokens (tools and images are approximations)."""
    if recording.request is None or b"prompt_tokens" not in recording.body:
        return
    reported = int(recording.body.split(b'"prompt_tokens":')[1].split(b",")[0])
    usage = await estimator.estimate_chat(json.dumps(recording.request).encode(), "", str(recording.request["model"]))
    if recording.number != 50:
        assert abs(usage.input_tokens - reported) <= reported / 4 + 40
