from __future__ import annotations

import json

import pytest
from msgspec import Raw

from proxy.providers.answer_parts import ABSENT, MAX_RAW_USAGE, as_text, object_in, says_error, tier_of


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
