"""docs/estimation.md says what the code measures, and that is good enough."""

from __future__ import annotations

import asyncio
import json
import os
import re

import pytest

from proxy.metering.families import family_of
from tests.estimation import document, exchanges, native
from tests.estimation.calibrate import factors
from tests.estimation.exchanges import Exchange, recordings
from tests.estimation.measure import Measured, measure, quantile
from tests.wire.recordings import available, missing_reason

# Worst median and p95 that may be written down: a figure that got worse cannot be documented away.
LIMITS = {"anthropic": (0.02, 0.06, 0.08, 0.13), "openai": (0.02, 0.13, 0.04, 0.45)}
# Of factors, in the models that stand for their families.
MODELS = {"claude": "claude-sonnet-4-0", "gemini": "gemini-2.5-flash", "openai": "gpt-4o", "openai-cl100k": "gpt-4"}


@pytest.fixture(scope="module")
def measured() -> list[Measured]:
    if not available():
        if os.environ.get("CI") == "true":
            pytest.fail(missing_reason())
        pytest.skip(missing_reason())
    return asyncio.run(measure(recordings()))


def test_the_table_is_what_is_measured(measured: list[Measured]) -> None:
    written = document.DOCUMENT.read_text()
    assert written == document.replaced(written, {document.RECORDINGS: document.errors(measured)}), (
        "make it anew: python -m tests.estimation"
    )


def test_errors_stay_within_limits(measured: list[Measured]) -> None:
    for provider, limits in LIMITS.items():
        rows = [row for row in measured if row.exchange.provider == provider and not row.exchange.linked]
        inputs = [row.input_error for row in rows if row.input_error is not None]
        outputs = [row.output_error for row in rows if row.output_error is not None]
        found = (quantile(inputs, 0.5), quantile(inputs, 0.95), quantile(outputs, 0.5), quantile(outputs, 0.95))
        assert all(error <= limit for error, limit in zip(found, limits, strict=True)), (provider, found)


def test_plain_openai_chats_are_exact(measured: list[Measured]) -> None:
    plain = [
        row for row in measured
        if row.exchange.provider in ("openai", "azure") and row.exchange.surface == "chat" and row.input_error is not None
        and not row.exchange.linked and not row.exchange.body.get("tools") and not row.exchange.body.get("response_format")
    ]  # fmt: skip
    assert len(plain) >= 6
    assert [row.exchange.name for row in plain if row.input_error and row.exchange.model != "gpt-audio"] == []


def test_the_documented_factors_are_the_codes() -> None:
    """OpenAI's own rows are a check of the method: exact encodings have no factor."""
    section = re.search(r"<!-- begin factors -->(.*?)<!-- end factors -->", document.DOCUMENT.read_text(), re.DOTALL)
    assert section
    rows = re.findall(r"^\| ([a-z][\w.-]*) \| (\d*) \| \d+ \| (\d*) \| \d+ \|$", section[1], re.MULTILINE)
    assert {name for name, _, _ in rows} == MODELS.keys()
    for name, input_permille, output_permille in rows:
        family = family_of(MODELS[name])
        assert family.name == name
        if name.startswith("openai"):
            assert (family.input_permille, family.output_permille) == (1000, 1000)
            assert abs(int(output_permille) - 1000) <= 20
        else:
            assert (family.input_permille, family.output_permille) == (int(input_permille), int(output_permille))


def _exchange(text: str, reported: int, number: int) -> Exchange:
    body = {"messages": [{"role": "user", "content": text}]}
    return Exchange(str(number), "x", "mistral-x", "chat", body, text, reported, reported)


def test_factors_are_medians_of_plain_calls() -> None:
    text = "some words that are counted here " * 20  # 121 tokens of o200k_base, 7 around it
    counted = 121
    calls = [_exchange(text, counted * 2 + 7 + (number == 4) * 900, number) for number in range(5)]
    (found,) = factors(calls)
    assert (found.input_permille, found.inputs, found.outputs) == (2000, 5, 5)
    assert factors(calls[:4])[0].input_permille is None
    with_tools = Exchange("t", "x", "mistral-x", "chat", calls[0].body | {"tools": [{}]}, "", 1, None)
    assert factors([with_tools]) == []


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], 0.5) == 1.0
    assert quantile([float(n) for n in range(1, 101)], 0.95) == 95.0
    assert quantile([7.0], 0.95) == 7.0


def test_marks_must_be_there() -> None:
    with pytest.raises(ValueError, match="marks"):
        document.replaced("no marks", {"recordings": "x"})


def test_hidden_reasoning_is_not_compared() -> None:
    usage = {"prompt_tokens": 8, "completion_tokens": 75, "completion_tokens_details": {"reasoning_tokens": 64}}
    answer = json.dumps({"choices": [{"message": {"content": "hi"}}], "usage": usage}).encode()
    url, body = "https://api.openai.com/v1/chat/completions", {"model": "gpt-5", "messages": []}
    (reader,) = [one for one in native.READERS if one.matches(url, body)]
    said = reader.read(url, body, answer)
    assert said is not None
    assert (said.input, said.output, said.text) == (8, 11, "hi")


def test_one_call_counts_once() -> None:
    one = _exchange("x", 1, 1)
    assert len(exchanges._once([one, one, _exchange("x", 2, 2)])) == 2
