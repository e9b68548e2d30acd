from __future__ import annotations

import json

import pytest

from proxy.wire.refusals import Refused
from proxy.wire.responses_body import FIELDS, ResponsesFields, read_responses_body


def read(**fields: object) -> ResponsesFields:
    return read_responses_body(json.dumps({"model": "m"} | fields).encode())


def test_all_fields_are_read() -> None:
    fields = read(
        input=[{"role": "user", "content": "hi"}],
        stream=True,
        background=True,
        store=False,
        max_output_tokens=99,
        max_tool_calls=3,
        tools=[
            {"type": "function", "name": "f"},
            {"type": "web_search_preview"},
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"type": "code_interpreter", "container": "cntr_1"},
            {"type": "namespace", "tools": [{"type": "function"}]},
            {},
        ],
        previous_response_id="resp_1",
        conversation=None,
        prompt={"id": "pmpt_1", "version": "2", "variables": {"id": "x"}},
        service_tier="flex",
        user="u",
        usage={"include": True},
        models=["a"],
        provider={},
        instructions="Be kind.",
        client_metadata={"a": 1},
    )
    assert fields == ResponsesFields(
        model="m",
        stream=True,
        max_output=99,
        user="u",
        service_tier="flex",
        usage_include=True,
        models=["a"],
        gateway_fields=("usage", "models", "provider"),
        read_fields=FIELDS,
        model_span=(10, 13),
        background=True,
        store=False,
        max_tool_calls=3,
        hosted_tools=("None", "code_interpreter", "web_search_preview"),
        refers=True,
    )


def test_defaults_and_nulls() -> None:
    assert read() == ResponsesFields(model="m", read_fields=("model",), model_span=(10, 13))
    nulls = read(**{name: None for name in FIELDS if name != "model"})
    assert (nulls.store, nulls.stream, nulls.hosted_tools, nulls.refers) == (True, False, (), False)


@pytest.mark.parametrize(
    ("fields", "refers"),
    [
        ({"previous_response_id": "resp_1"}, True),
        ({"conversation": "conv_1"}, True),
        ({"conversation": {"id": "conv_1"}}, True),
        ({"conversation": {}}, True),
        ({"prompt": {"id": "pmpt_1"}}, True),
        ({"prompt": {}}, False),
        ({"input": "hi", "store": True}, False),
    ],
)
def test_whether_more_than_the_body_is_read(fields: dict[str, object], refers: bool) -> None:
    assert read(**fields).refers == refers


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"input": 5}, "input"),
        ({"input": {}}, "input"),
        ({"stream": "yes"}, "stream"),
        ({"background": 1}, "background"),
        ({"store": 0}, "store"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_output_tokens": 10**400}, "max_output_tokens"),
        ({"max_tool_calls": -1}, "max_tool_calls"),
        ({"tools": {}}, "tools"),
        ({"tools": [1]}, "tools"),
        ({"tools": "web_search"}, "tools"),
        ({"previous_response_id": 5}, "previous_response_id"),
        ({"previous_response_id": "x" * 513}, "previous_response_id"),
        ({"conversation": 5}, "conversation"),
        ({"conversation": ["conv_1"]}, "conversation"),
        ({"prompt": "pmpt_1"}, "prompt"),
        ({"service_tier": []}, "service_tier"),
        ({"user": {}}, "user"),
        ({"Previous_response_id": "x"}, "Previous_response_id"),
    ],
)
def test_bad_values_are_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(Refused) as caught:
        read(**fields)
    assert caught.value.param == param


def test_a_tool_whose_type_is_no_text_is_taken_as_hosted() -> None:
    assert read(tools=[{"type": ["function"]}]).hosted_tools == ("['function']",)
