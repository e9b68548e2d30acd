from __future__ import annotations

import json

import pytest
from msgspec import Raw

from proxy.providers.answer_parts import ABSENT, MAX_RAW_USAGE, as_text, hides_error, object_in, says_error, tier_of
from proxy.providers.readers import reader_for


@pytest.mark.parametrize("error", [b'{"message":"m"}', b'"text"', b"true", b"5", b'{ "a":1}'])
def test_an_error_that_says_something(error: bytes) -> None:
    assert says_error(Raw(error))


@pytest.mark.parametrize("error", [b"null", b"false", b'""', b"{}", b"[]"])
def test_an_error_that_says_nothing(error: bytes) -> None:
    assert not says_error(Raw(error))


@pytest.mark.parametrize("word", [b'"error"', b'"\\u0065rror"'])
def test_objects_and_types_named_error(word: bytes) -> None:
    assert says_error(ABSENT, Raw(word))
    assert says_error(ABSENT, ABSENT, Raw(word))


@pytest.mark.parametrize("word", [b'"errors"', b'"\\\\error"', b"[]", b'"', b'"\\u00"'])
def test_other_words(word: bytes) -> None:
    assert not says_error(ABSENT, Raw(word), Raw(word))


@pytest.mark.parametrize(
    "data",
    [
        b'{"error":{"message":"m"},"error":null}',
        b'{"error":{"message":"m"},"choices":[],"error":{}}',
        b'{"error":"m","error":false,"error":null}',
        b'{"\\u0065rror":{"message":"m"},"error":null}',
        b'{"e\\u0072ror":"m","err\\u006Fr":null}',
        b'{"type":"response.failed","response":{"error":{"message":"m"},"error":null}}',
    ],
)
def test_an_error_before_one_that_says_nothing(data: bytes) -> None:
    """Most clients take the last of equal names, some the first."""
    assert hides_error(data)
    for surface in ("chat", "responses", "embeddings", "moderations", "images", "transcriptions", "ocr"):
        if b'"response":' not in data or surface == "responses":
            assert reader_for(surface, "openai").read(data).error


@pytest.mark.parametrize(
    "data",
    [
        b'{"error":null,"error":null}',
        b'{"error":null,"output":[{"error":{"message":"of a tool"}}]}',
        b'{"choices":[{"error":{"a":1},"error":null}]}',
        b'{"text":"error","a":"error"}',
        b'{"error":{"message":"m"},"error":nul',
        b'["error","error"]',
        b"[" * 9000 + b'"error","error"',
    ],
)
def test_no_hidden_error(data: bytes) -> None:
    assert not hides_error(data)


@pytest.mark.parametrize(
    ("raw", "name"),
    [(b'"default"', "default"), (b'"on_demand"', "default"), (b'"fast"', "priority"), (b'"auto"', None), (b"5", None),
     (b"", None), (b'"\\u0000"', "?"), (b'"x', None)],
)  # fmt: skip
def test_tiers(raw: bytes, name: str | None) -> None:
    assert tier_of(raw) == name


def test_objects() -> None:
    assert object_in(b'{"a":1}') == {"a": 1}
    assert object_in(b"[1]") is None
    assert object_in(b"") is None


def test_usage_as_text() -> None:
    assert as_text(("usage", Raw(b'{ "a": 1 }'))) == '{ "a": 1 }'
    both = as_text(("usage", Raw(b'{"a":1}')), ("tool_usage", Raw(b"{}")))
    assert json.loads(both) == {"usage": {"a": 1}, "tool_usage": {}}
    assert len(as_text(("usage", Raw(b'"%b"' % (b"x" * 99_999))))) == MAX_RAW_USAGE
