from __future__ import annotations

import json

import pytest

from proxy.wire.body_fields import BodyFields
from proxy.wire.embeddings_body import FIELDS, read_embeddings_body
from proxy.wire.refusals import Refused


def read(**fields: object) -> BodyFields:
    return read_embeddings_body(json.dumps({"model": "m"} | fields).encode())


@pytest.mark.parametrize("given", ["text", ["a", "b"], [1, 2], [[1, 2], [3]], [{"type": "text", "text": "x"}]])
@pytest.mark.parametrize("form", [{}, {"encoding_format": "base64"}, {"encoding_format": "float", "dimensions": 256}])
def test_every_kind_of_input_is_read(given: object, form: dict[str, object]) -> None:
    assert read(input=given, **form) == BodyFields(
        model="m", max_output=0, read_fields=("model", "input"), model_span=(10, 13)
    )


def test_all_fields_are_read() -> None:
    fields = read(input="x", user="u", service_tier="flex", usage=None, models=None, provider=None)
    assert (fields.user, fields.service_tier, fields.read_fields) == ("u", "flex", FIELDS)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({}, "is required"),
        ({"input": None}, "is required"),
        ({"input": ""}, "must not be empty"),
        ({"input": []}, "must not be empty"),
        ({"input": 5}, "must be a string or an array"),
        ({"input": {}}, "must be a string or an array"),
    ],
)
def test_input_that_is_none_is_refused(fields: dict[str, object], part: str) -> None:
    with pytest.raises(Refused) as caught:
        read(**fields)
    assert (caught.value.param, part in caught.value.message) == ("input", True)


def test_blank_arrays() -> None:
    with pytest.raises(Refused):
        read_embeddings_body(b'{"model":"m","input":[ \n ]}')
    assert read_embeddings_body(b'{"model":"m","input":" "}').model == "m"
