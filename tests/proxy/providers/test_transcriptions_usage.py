from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.usage import Usage
from proxy.metering.reading import Reading
from proxy.providers.readers import reader_for
from proxy.providers.transcriptions_usage import milliseconds


def read(answer: str) -> Reading:
    return reader_for("transcriptions", "openai").read(answer.encode())


@pytest.mark.parametrize(
    ("answer", "units", "inconsistent"),
    [
        ('{"text":"Hi","usage":{"type":"duration","seconds":4}}', {"audio_ms": 4000}, False),
        ('{"text":"Hi","duration":0.1}', {"audio_ms": 100}, False),
        ('{"text":"Hi","duration":8.470000267028809}', {"audio_ms": 8470}, False),
        ('{"text":"Hi","duration":1e-99999999}', {"audio_ms": 0}, False),
        ('{"text":"Hi","duration":1e999999}', None, False),
        ('{"text":"Hi","duration":"8.47"}', None, False),
        (
            '{"usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},'
            '"output_tokens":45,"total_tokens":59}}',
            {"input": 4, "input_audio": 10, "output": 45}, False,
        ),
        ('{"usage":{"input_tokens":14,"output_tokens":45,"total_tokens":60}}', {"input": 14, "output": 45}, True),
        (
            '{"usage":{"type":"tokens","input_tokens":14,"input_token_details":{"audio_tokens":15},"output_tokens":1}}',
            {"input": 0, "input_audio": 14, "output": 1}, True,
        ),
    ],
)  # fmt: skip
def test_seconds_or_tokens(answer: str, units: dict[str, int] | None, inconsistent: bool) -> None:
    assert read(answer).usage == (None if units is None else Usage(units, inconsistent=inconsistent))


@pytest.mark.parametrize("usage", ["{}", "[]", "5", '{"type":"duration","seconds":-1}', '{"type":"duration","seconds":true}'])
def test_unreadable_usage_is_garbled_not_zero(usage: str) -> None:
    found = read('{"usage":%s}' % usage)  # noqa: UP031
    assert (found.usage, found.garbled) == (None, True)


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.integers() | st.booleans() | st.none() | st.text(max_size=2))
def test_a_duration_is_exact_to_the_millisecond(seconds: object) -> None:
    found = milliseconds(seconds)
    if found is not None:
        assert isinstance(seconds, int | Decimal)
        assert abs(found - Decimal(seconds) * 1000) <= Decimal("0.5")
