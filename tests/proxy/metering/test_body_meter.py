from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.providers.readers import reader_for
from tests.proxy.metering.whole_body import WholeBody

RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "output": [{"type": "image_generation_call", "status": "completed", "size": "1024x1024", "result": "x" * 5000}],
    "tool_usage": {"web_search": {"num_requests": 2}},
    "tools": [{"type": "function", "parameters": {"properties": {"usage": {"type": "string"}}}}],
    "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
    "metadata": {"note": '"usage":{"input_tokens":99,"output_tokens":99}'},
}


def test_a_whole_response() -> None:
    meter = WholeBody(reader_for("responses", "openai"))
    usage, raw = meter.read(json.dumps(RESPONSE).encode())
    assert usage is not None
    assert usage.units == {"input": 3, "output": 4, "web_searches": 2, "images/1024x1024": 1}
    assert json.loads(raw or "") == {"usage": RESPONSE["usage"], "tool_usage": RESPONSE["tool_usage"]}
    assert (meter.pending, meter.error_seen) == (False, False)


def test_the_tail_of_a_response_has_tokens_and_the_counted_tools() -> None:
    body = json.dumps(RESPONSE).encode()
    meter = WholeBody(reader_for("responses", "openai"))
    usage, raw = meter.read_tail(body[-600:])
    assert usage is not None
    assert usage.units == {"input": 3, "output": 4, "web_searches": 2}
    assert (meter.usage, meter.raw_usage, meter.decode_errors) == (usage, raw, 0)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b'"usage"',
        b'"usage":null}',
        b'"usage":{"input_tokens":1',
        b'0.1]}],"note":"no usage"}',
        b'{"\\"usage\\"": {"input_tokens":1}}',
    ],
)
def test_a_tail_without_usage_is_no_error(tail: bytes) -> None:
    meter = WholeBody(reader_for("responses", "openai"))
    assert meter.read_tail(tail) == (None, None)
    assert meter.decode_errors == 0


def test_usage_that_clients_repeat_behind_it_is_passed_by() -> None:
    tail = b'..."usage": {"prompt_tokens": 8, "total_tokens": 8}, "metadata": {"usage": "x", "a": {"usage": []}}}'
    meter = WholeBody(reader_for("embeddings", "openai"))
    usage, _ = meter.read_tail(tail)
    assert usage is not None
    assert usage.units == {"input": 8}


def test_a_response_in_the_background_is_pending() -> None:
    meter = WholeBody(reader_for("responses", "openai"))
    assert meter.read(b'{"id":"resp_1","object":"response","status":"queued","usage":null,"output":[]}') == (None, None)
    assert (meter.pending, meter.error_seen) == (True, False)
