from __future__ import annotations

import json

import pytest

from proxy.wire.completions_body import FIELDS, CompletionsFields, read_completions_body
from proxy.wire.refusals import Refused


def read(**fields: object) -> CompletionsFields:
    return read_completions_body(json.dumps({"model": "m"} | fields).encode())


def test_all_fields_are_read() -> None:
    assert read(
        prompt=["a", "b", "c"],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=7,
        n=2,
        best_of=5,
        user="u",
        service_tier="flex",
        usage={"include": True},
        models=["x"],
        provider={},
        echo=True,
    ) == CompletionsFields(
        model="m",
        stream=True,
        has_stream_options=True,
        include_usage=True,
        max_output=7,
        n=6,
        user="u",
        service_tier="flex",
        usage_include=True,
        models=["x"],
        gateway_fields=("usage", "models", "provider"),
        read_fields=(*FIELDS, "include_usage"),
        prompts=3,
        candidates=15,
    )


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        (None, 1),
        ("", 1),
        ("text", 1),
        ([1, 2, 3], 1),
        ([[1], [2]], 2),
        (["a"], 1),
        (["a", "b"], 2),
        (["a, b", "[c", "]"], 3),
    ],
)
def test_prompts_are_counted(prompt: object, prompts: int) -> None:
    fields = read(prompt=prompt)
    assert (fields.prompts, fields.n, fields.candidates) == (prompts, prompts, prompts)


def test_no_prompt_begins_a_document_and_no_limit_is_the_servers() -> None:
    assert read() == CompletionsFields(model="m", read_fields=("model",), model_span=(10, 13))
    assert read(max_tokens=0, best_of=0).max_output == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"best_of": 129}, "best_of"),
        ({"best_of": True}, "best_of"),
        ({"stream_options": {"include_usage": "x"}}, "stream_options.include_usage"),
        ({"stream": 1}, "stream"),
    ],
)
def test_bad_values_are_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(Refused) as caught:
        read(**fields)
    assert caught.value.param == param
