from __future__ import annotations

from dataclasses import replace

from proxy.metering.families import Family, family_of
from proxy.metering.output_text import ARGUMENTS, CALL
from proxy.metering.said import output_tokens

PLAIN = Family("x", per_call=7, per_parallel_call=14)


def words(text: str) -> int:
    return len(text.split())


def call(name: str, arguments: str) -> str:
    return CALL + name + ARGUMENTS + arguments


def test_text_and_calls() -> None:
    assert output_tokens("", PLAIN, words, forced=False, around=9) == 0
    assert output_tokens("one two", PLAIN, words, forced=False) == 2
    assert output_tokens("one two", PLAIN, words, forced=False, around=9) == 11
    assert output_tokens(call("f", "a b"), PLAIN, words, forced=False) == 1 + 2 + 7
    assert output_tokens("hm" + call("f", "a b") + call("g", "c"), PLAIN, words, forced=False) == 1 + 3 + 2 + 2 * 14


def test_the_name_of_a_demanded_function_is_not_said() -> None:
    """Recorded: `{"output":7}` for a function of nine tokens costs 5."""
    assert output_tokens(call("a long name", "x"), PLAIN, words, forced=True) == 1
    assert output_tokens(call("f", "x") * 2, PLAIN, words, forced=True) == 2 + 2 + 2 * 14


def test_factor_and_arguments() -> None:
    family = replace(PLAIN, output_permille=1500, per_argument=8)
    assert output_tokens("one two", family, words, forced=False) == 3
    assert output_tokens(call("f", '{"a": 1, "b": 2}'), family, words, forced=False) == round(1.5 * 5) + 7 + 16
    assert output_tokens(call("f", '{"a": 1, "b'), family, words, forced=False) == 6 + 7 + 8  # cut off


def test_separators_alone() -> None:
    for said in (CALL, ARGUMENTS, CALL + CALL, ARGUMENTS + CALL):
        assert output_tokens(said, family_of("claude-x"), words, forced=False) >= 0
