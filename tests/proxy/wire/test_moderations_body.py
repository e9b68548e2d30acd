from __future__ import annotations

import json

import pytest

from proxy.wire.body_fields import BodyFields
from proxy.wire.moderations_body import DEFAULT_MODEL, read_moderations_body
from proxy.wire.refusals import Refused


def test_a_named_model_stays_and_so_do_the_bytes() -> None:
    raw = b'{ "model": "m", "input": [{"type":"image_url","image_url":{"url":"data:"}}] }'
    fields, read = read_moderations_body(raw)
    assert fields == BodyFields(model="m", max_output=0, read_fields=("model", "input"))
    assert read is raw


@pytest.mark.parametrize(
    "raw",
    [b'{"input":"x"}', b' { "input" : "x" } ', b'{"input":[{"model":"hidden"}]}', b'{"metadata":{"model":"a"},"input":""}'],
)
def test_the_model_that_openai_would_take_is_named(raw: bytes) -> None:
    fields, read = read_moderations_body(raw)
    assert fields.model == DEFAULT_MODEL
    assert json.loads(read) == {"model": DEFAULT_MODEL, **json.loads(raw)}
    assert fields.read_fields == ("model", "input")
    span = fields.model_span
    assert span is None or read[slice(*span)] == b'"omni-moderation-latest"'


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"{}", "input"),
        (b'{"input":null}', "input"),
        (b'{"input":[]}', "input"),
        (b'{"input":5,"model":"m"}', "input"),
        (b'{"input":"x","model":null}', "model"),
        (b'{"input":"x","MODEL":"m"}', "MODEL"),
    ],
)
def test_bad_values_are_refused_by_name(raw: bytes, param: str) -> None:
    with pytest.raises(Refused) as caught:
        read_moderations_body(raw)
    assert caught.value.param == param
