"""Usage of Groq's answers: figures by hand, from bodies in the form of groq 1.7."""

from __future__ import annotations

import json
from typing import Any

from pricing.usage import Part, Usage
from proxy.metering.reading import Reading
from proxy.providers.registry import READERS


def model(name: str, prompt: int, completion: int) -> dict[str, Any]:
    return {"model": name, "usage": tokens(prompt, completion)}


def tokens(prompt: int, completion: int) -> dict[str, Any]:
    return {"queue_time": 0.1, "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def read(usage: dict[str, Any], *models: dict[str, Any], tools: object = None) -> Reading:
    message = {"role": "assistant", "content": "Hi", "executed_tools": tools}
    answer = {"choices": [{"message": message}], "usage": usage, "usage_breakdown": {"models": models}}
    return READERS["groq"].read(json.dumps(answer).encode())


def test_each_model_of_a_compound_system_is_a_part_at_its_price() -> None:
    found = read(tokens(300, 50), model("openai/gpt-oss-120b", 200, 40), model("llama-4-scout", 100, 10)).usage
    assert found == Usage(
        {"input": 0, "output": 0},
        parts=(
            Part("openai/gpt-oss-120b", {"input": 200, "output": 40}),
            Part("llama-4-scout", {"input": 100, "output": 10}),
        ),
    )


def test_what_no_model_inside_consumed_remains_and_is_flagged() -> None:
    found = read(tokens(300, 50), model("a", 200, 50)).usage
    assert found == Usage({"input": 100, "output": 0}, inconsistent=True, parts=(Part("a", {"input": 200, "output": 50}),))


def test_models_that_consumed_more_than_all_are_clamped_and_flagged() -> None:
    found = read(tokens(300, 50), model("a", 200, 50), model("b", 101, 0)).usage
    assert found is not None
    assert found.parts == (Part("a", {"input": 200, "output": 50}), Part("b", {"input": 100}))
    assert found.inconsistent


def test_a_model_that_cannot_be_read_is_no_part() -> None:
    found = read(tokens(3, 5), {"model": "a", "usage": {"prompt_tokens": True}}).usage
    assert found == Usage({"input": 3, "output": 5}, inconsistent=True)
    assert read(tokens(3, 5)).usage == Usage({"input": 3, "output": 5})


def test_its_tools_are_counted() -> None:
    kinds = ["search", "web_search", "python", "python", "visit", 5]
    tools = [*({"type": kind} for kind in kinds), 5]
    found = read(tokens(3, 5), tools=tools).usage
    assert found == Usage({"input": 3, "output": 5, "web_searches": 2, "code_sessions": 1})
    assert read(tokens(3, 5), tools="search").usage == Usage({"input": 3, "output": 5})


def test_what_it_says_beside_usage_and_cannot_be_read_is_flagged() -> None:
    answer = {"choices": [{"message": "executed_tools"}], "usage": tokens(3, 5), "usage_breakdown": 5}
    found = READERS["groq"].read(json.dumps(answer).encode()).usage
    assert found == Usage({"input": 3, "output": 5}, inconsistent=True)
