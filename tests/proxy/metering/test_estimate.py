from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing.usage import Usage
from proxy.metering import estimate as module
from proxy.metering.body_meter import output_text
from proxy.metering.estimate import Estimator
from proxy.metering.tokenizer import Tokenizer
from tests.proxy.metering.test_image_size import png, url

_SHARED = Tokenizer()
SURFACES = ["chat", "responses", "completions", "embeddings", "moderations", "never heard of"]
MODELS = ["gpt-4o", "gpt-4", "gpt-5-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "command-r", "mistral-large-4", "x"]


@pytest.fixture
async def estimator() -> AsyncIterator[Estimator]:
    made = Estimator(_SHARED)
    yield made
    made.close()


def chat(*messages: object, **more: object) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": messages} | more).encode()


HELLO = {"role": "user", "content": "hello"}


async def test_a_short_chat(estimator: Estimator) -> None:
    """OpenAI reports 8 prompt tokens for "hello"."""
    usage = await estimator.estimate("chat", chat(HELLO), "Hello! How can I help you today?", "gpt-4o")
    assert usage == Usage({"input": 8, "output": 9})
    assert usage == await estimator.estimate("chat", chat(HELLO), "Hello! How can I help you today?", "gpt-4o")


async def test_special_token_text_is_text(estimator: Estimator) -> None:
    usage = await estimator.estimate("chat", chat({"role": "user", "content": "<|endoftext|>"}), "<|endoftext|>", "gpt-4o")
    assert usage == Usage({"input": 14, "output": 7})


async def test_families_count_in_their_own_way(estimator: Estimator) -> None:
    """Recorded: 9 tokens of text are 17 at Claude, 16 at OpenAI; every digit is one of Gemini's."""
    body = chat({"role": "user", "content": "What is 4200 + 42?"})
    wanted = {"gpt-4o": 16, "claude-sonnet-4-0": 17, "gemini-2.5-flash": 13}
    assert wanted == {model: (await estimator.estimate("chat", body, "", model)).input_tokens for model in wanted}


async def test_images_are_units_of_their_own(estimator: Estimator) -> None:
    image = {"type": "image_url", "image_url": {"url": url(png(400, 400))}}
    usage = await estimator.estimate("chat", chat({"role": "user", "content": [{"type": "text", "text": "hello"}, image]}), "", "gpt-4o")
    assert usage.units == {"input": 8, "input_image": 255, "output": 0}


async def test_surfaces(estimator: Estimator) -> None:
    async def units(surface: str, **body: object) -> dict[str, int]:
        return (await estimator.estimate(surface, json.dumps(body).encode(), "hello", "gpt-4o")).units

    assert await units("responses", input="hello") == {"input": 8, "output": 2}
    assert await units("completions", prompt="hello") == {"input": 1, "output": 1}
    assert await units("embeddings", input=["hello", "hello"]) == {"input": 2}
    assert await units("embeddings", input=[[1, 2], [3]]) == {"input": 3}
    assert await units("moderations", input="hello") == {}
    assert await units("never heard of", messages=[HELLO]) == {"input": 8, "output": 1}


async def test_a_demanded_function_is_not_named(estimator: Estimator) -> None:
    """Recorded: 5 completion tokens."""
    said = output_text(
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"__mirascope_formatted_output_tool__","arguments":"{\\"output\\":7}"}}]}}]}'
    )
    named = {"type": "function", "function": {"name": "__mirascope_formatted_output_tool__"}}
    assert (await estimator.estimate("chat", chat(HELLO, tool_choice=named), said, "gpt-4o")).output_tokens == 5
    assert (await estimator.estimate("chat", chat(HELLO), said, "gpt-4o")).output_tokens == 5 + 9 + 7
    one = chat(HELLO, tool_choice="required", tools=[named])
    assert (await estimator.estimate("chat", one, said, "gpt-4o")).output_tokens == 5


async def test_error_bodies_are_not_counted(estimator: Estimator) -> None:
    for body in (
        b'{"error":{"message":"You are out of quota, dear customer"}}', b'{"object":"error","message":"long"}', b"<html>no</html>",
    ):  # fmt: skip
        assert (await estimator.estimate("chat", chat(HELLO), output_text(body), "gpt-4o")).output_tokens == 0


async def test_a_body_that_is_no_json_is_told_by_its_length(estimator: Estimator) -> None:
    assert (await estimator.estimate("chat", b"x" * 41, "", "gpt-4o")).units == {"input": 11, "output": 0}
    image = b'{"messages": [{"content": "' + base64.b64encode(bytes(30_000)) + b'"'  # cut off
    assert (await estimator.estimate("chat", image, "", "gpt-4o")).input_tokens < 20
    lone = b'{"messages":[{"role":"user","content":"\\ud800 hello"}]}'  # some parsers take it
    assert 8 < (await estimator.estimate("chat", lone, "", "gpt-4o")).input_tokens < 14


async def test_a_body_of_a_million_messages_is_told_by_its_length(estimator: Estimator) -> None:
    body = chat(*[{"role": "user", "content": "x"}] * 200_001)
    assert (await estimator.estimate("chat", body, "", "gpt-4o")).input_tokens == -(-len(body) // 4)
    ids = json.dumps({"input": [7] * 2_000_000}).encode()
    assert (await estimator.estimate("embeddings", ids, "", "gpt-4o")).units == {"input": -(-len(ids) // 4)}


async def test_large_counts_leave_the_event_loop(estimator: Estimator) -> None:
    await estimator.warm("gpt-4o")
    seen: list[str] = []
    original = _SHARED.count

    def spy(text: str, name: str) -> int:
        seen.append(threading.current_thread().name)
        return original(text, name)

    estimator._tokenizer = type("Spy", (), {"count": staticmethod(spy), "loaded": staticmethod(_SHARED.loaded)})()  # type: ignore[assignment]
    await estimator.estimate("chat", chat({"role": "user", "content": "word " * 5000}), "", "gpt-4o")
    await estimator.count("word " * 5000, "gpt-4o")
    assert {name.partition("_")[0] for name in seen} == {"tokenizer"}
    seen.clear()
    await estimator.estimate("chat", chat({"role": "user", "content": "hi"}), "", "gpt-4o")
    await estimator.count("hi", "gpt-4o")
    assert set(seen) == {threading.current_thread().name}


async def test_the_first_load_leaves_the_event_loop() -> None:
    fresh = Estimator()
    loads: list[str] = []
    original = fresh._tokenizer._load

    def spy(name: str) -> object:
        loads.append(threading.current_thread().name)
        return original(name)

    fresh._tokenizer._load = spy  # type: ignore[assignment, method-assign]
    await asyncio.gather(fresh.warm("gpt-4o"), *(fresh.estimate("chat", chat(HELLO), "", "gpt-4o") for _ in range(3)))
    fresh.close()
    assert loads
    assert all(name.startswith("tokenizer") for name in loads)


async def test_warm_loads(estimator: Estimator) -> None:
    fresh = Estimator()
    await fresh.warm("claude-x")
    assert fresh._tokenizer.loaded("o200k_base")
    assert not fresh._tokenizer.loaded("cl100k_base")
    fresh.close()


async def test_no_more_than_a_bound_is_tokenised(estimator: Estimator, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (await estimator.estimate("chat", chat({"role": "user", "content": "some words " * 2000}), "", "gpt-4o")).input_tokens
    monkeypatch.setattr(module, "_MAX_CHARS", 1100)
    counted = 0
    original = Tokenizer.count

    def count(self: Tokenizer, text: str, name: str) -> int:
        nonlocal counted
        counted += len(text)
        return original(self, text, name)

    monkeypatch.setattr(Tokenizer, "count", count)
    found = (await estimator.estimate("chat", chat({"role": "user", "content": "some words " * 2000}), "", "gpt-4o")).input_tokens
    assert counted <= 1100
    assert found == pytest.approx(whole, rel=0.02)


# ---- properties

JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4),
        st.just("data:image/png;base64,iVBO"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "image_url", "text", "input", "name", "function", "tool_calls", "arguments", "parameters",
                 "properties", "output", "url", "detail", "file", "format", "json_schema", "schema", "data", "input_audio"]
            ),
            inner, max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip
FIELDS = [
    "messages", "input", "prompt", "instructions", "tools", "functions", "tool_choice", "response_format", "text", "system", "suffix",
    "thinking",
]  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=40), JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda value: json.dumps(value).encode()),
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(SURFACES), BODIES, st.text(max_size=20), st.sampled_from(MODELS))
async def test_anything_can_be_estimated(estimator: Estimator, surface: str, body: bytes, said: str, model: str) -> None:
    usage = await estimator.estimate(surface, body, said, model)
    assert all(quantity >= 0 for quantity in usage.units.values())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=40), st.sampled_from(MODELS))
async def test_more_text_is_never_less(estimator: Estimator, text: str, model: str) -> None:
    async def total(*messages: str, said: str = "") -> tuple[int, int]:
        body = chat(*({"role": "user", "content": message} for message in messages))
        usage = await estimator.estimate("chat", body, said, model)
        return usage.input_tokens, usage.output_tokens

    shorter, longer = await total(text, said=text), await total(text + " zebra", said=text + " zebra")
    assert longer[0] >= shorter[0]
    assert longer[1] >= shorter[1]
    assert (await total(text, text))[0] >= shorter[0]
    assert await estimator.count(text + " zebra", model) >= await estimator.count(text, model)


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_deep_body_can_be_estimated(estimator: Estimator, surface: str) -> None:
    for depth in (900, 200_000):
        deep = b'{"messages":[{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}]}"
        assert (await estimator.estimate(surface, deep, "", "gpt-4o")).input_tokens >= 0
