"""What is refused, and how it is explained; what is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.body_fields import BodyFields
from proxy.wire.chat_body import FIELDS, read_chat_body
from proxy.wire.refusals import Reason, Refused

MESSAGES = [{"role": "user", "content": "hi"}]


def read(**fields: object) -> BodyFields:
    return read_chat_body(json.dumps({"model": "m", "messages": MESSAGES} | fields).encode())


def refused(raw: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        read_chat_body(raw)
    return caught.value


def test_all_fields_are_read() -> None:
    fields = read(
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=5,
        max_completion_tokens=9,
        n=2,
        user="u",
        service_tier="flex",
        usage={"include": True},
        models=["a", "b"],
        provider={"order": ["x"]},
        temperature=1,
    )
    assert fields == BodyFields(
        model="m",
        stream=True,
        has_stream_options=True,
        include_usage=True,
        max_output=9,
        n=2,
        user="u",
        service_tier="flex",
        usage_include=True,
        models=["a", "b"],
        gateway_fields=("usage", "models", "provider"),
        read_fields=(*FIELDS, "include_usage"),
        model_span=None,
    )


def test_defaults_and_nulls() -> None:
    assert read() == BodyFields(model="m", read_fields=("model", "messages"), model_span=(10, 13))
    nulls = {name: None for name in FIELDS if name not in ("model", "messages")}
    assert read(**nulls) == BodyFields(
        model="m",
        has_stream_options=True,
        gateway_fields=("usage", "models", "provider"),
        read_fields=FIELDS,
        model_span=(10, 13),
    )


@pytest.mark.parametrize(
    ("raw", "proven"),
    [
        ('{"model":"m","messages":[{}]}', True),
        ('{"messages": [{ }], "model": "m", "x": {"model": 1}}', True),
        ('{"model":"m","messages":[{}],"stream_options":{"include_usage":true}}', True),
        ('{"model":"m","messages":[{}],"stream_options":{"include_usage":true,"a":1}}', False),  # looked at closer
        ('{"model":"m","messages":[{}],"x":1,"x":1}', False),
        ('{"model":"m","messages":[{}],"n":1,"n":1 }', False),
        # A second key exactly as long as the blanks that json.dumps would have put.
        ('{"n":7,"model":"m","messages":[{}],"n":1 }', False),
        ('{"mod\\u0065l":"m","messages":[{}]}', False),
        (' {"model":"m","messages":[{}]}', False),
        ('{"model":"m","messages":[{}]}\n', False),
        ('{"model":"m","messages":[{}],"é":1}', True),
    ],
)
def test_where_the_model_is_only_where_that_is_proven(raw: str, proven: bool) -> None:
    span = read_chat_body(raw.encode()).model_span
    assert (span is not None) == proven
    assert span is None or raw[slice(*span)] == '"m"'


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[1]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"x"', "must be a JSON object"),
        (b'{"model":"m",}', "trailing comma"),
        (b'{"model":"m"} x', "trailing characters"),
        (b"\xef\xbb\xbf{}", "byte 0"),
        (b'{"model":"m","messages":[NaN]}', "byte 25"),
        (b'{"model":"m","messages":["\xff"]}', "not valid UTF-8 (byte 26)"),
        (b'{"model":"m","\xff":1}', "UTF-8"),
        (b'{"model":"m","messages":["\\ud800 and on"]}', "hex escape"),  # a lone surrogate
        (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"model":"m","messages":["a\nb"]}', "byte 27"),
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes, part: str) -> None:
    refusal = refused(raw)
    assert refusal.reason is Reason.BAD_JSON
    assert part in refusal.message


@pytest.mark.parametrize(
    ("fields", "param", "part"),
    [
        ({"model": None}, "model", "is required"),
        ({"model": ""}, "model", "must not be empty"),
        ({"model": "  "}, "model", "must not be empty"),
        ({"model": 5}, "model", "must be a string"),
        ({"model": "x" * 257}, "model", "at most 256"),
        ({"model": "a\0"}, "model", "NUL"),
        ({"messages": None}, "messages", "is required"),
        ({"messages": "hi"}, "messages", "must be an array"),
        ({"messages": {}}, "messages", "must be an array"),
        ({"messages": []}, "messages", "must not be empty"),
        ({"stream": 1}, "stream", "true or false"),
        ({"stream": "true"}, "stream", "true or false"),
        ({"stream_options": []}, "stream_options", "must be an object"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "true or false"),
        ({"max_tokens": -1}, "max_tokens", "from 0 to"),
        ({"max_tokens": 2**31}, "max_tokens", "from 0 to 2147483647"),
        ({"max_tokens": 10**400}, "max_tokens", "from 0 to"),
        ({"max_tokens": 1.0}, "max_tokens", "must be an integer"),
        ({"max_completion_tokens": "5"}, "max_completion_tokens", "must be an integer"),
        ({"max_completion_tokens": True}, "max_completion_tokens", "must be an integer"),
        ({"n": 0}, "n", "from 1 to 128"),
        ({"n": 129}, "n", "from 1 to 128"),
        ({"n": True}, "n", "must be an integer"),
        ({"n": [1]}, "n", "must be an integer"),
        ({"user": 5}, "user", "must be a string"),
        ({"user": "a\0b"}, "user", "NUL"),
        ({"user": "x" * 513}, "user", "at most 512"),
        ({"service_tier": {}}, "service_tier", "must be a string"),
        ({"usage": True}, "usage", "must be an object"),
        ({"usage": {"include": "yes"}}, "usage.include", "true or false"),
        ({"models": "a"}, "models", "array of llm names"),
        ({"models": [1]}, "models", "array of llm names"),
        ({"models": [""]}, "models", "array of llm names"),
        ({"provider": "openai"}, "provider", "must be an object"),
        ({"Model": "dear"}, "Model", "'model'"),
        ({"MAX_TOKENS": 1}, "MAX_TOKENS", "'max_tokens'"),
        ({"ſtream": True}, "ſtream", "'stream'"),  # folds to s, also in Go
    ],
)
def test_wrong_values_are_refused_by_name(fields: dict[str, object], param: str, part: str) -> None:
    refusal = refused(json.dumps({"model": "m", "messages": MESSAGES} | fields, ensure_ascii=False).encode())
    assert (refusal.reason, refusal.param) == (Reason.BAD_VALUE, param)
    assert part in refusal.message
    assert param in refusal.message


def test_blank_inside_an_empty_array() -> None:
    assert refused(b'{"model":"m","messages":[ \n ]}').param == "messages"


def test_other_fields_are_the_providers_business() -> None:
    big = b'{"model":"m","messages":[{}],"seed":' + b"9" * 40 + b',"temperature":1e999,"tools":{"model":[1]}}'
    assert read_chat_body(big).model == "m"


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.dictionaries(
            st.one_of(st.sampled_from(FIELDS), st.text(max_size=3)),
            st.recursive(
                st.one_of(
                    st.none(),
                    st.booleans(),
                    st.integers(),
                    st.floats(allow_nan=False, allow_infinity=False),
                    st.text(max_size=3),
                ),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["include", "include_usage"]), inner)
                ),
                max_leaves=3,
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_nothing_but_a_refusal_is_raised(raw: bytes) -> None:
    try:
        fields = read_chat_body(raw)
    except Refused as refusal:
        assert refusal.reason in (Reason.BAD_JSON, Reason.BAD_VALUE)
    else:
        assert fields.model
