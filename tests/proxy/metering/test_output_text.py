from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.body_meter import output_text
from proxy.metering.output_text import ARGUMENTS, CALL, COMPACT_AT_BYTES, MAX_TEXT_CHARS, OutputText, texts_in


def frame(*choices: object) -> bytes:
    return b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n"


def test_choices_and_kinds_are_joined_apart() -> None:
    kept = OutputText()
    kept.keep(frame({"index": 0, "delta": {"content": "Hel"}}, {"index": 1, "delta": {"content": "Wor"}}))
    kept.keep(
        b": comment\n\n"
        + frame({"index": 0, "delta": {"content": "lo"}})
        + frame({"index": 1, "delta": {"content": "ld"}})
    )
    kept.keep(
        frame({"index": 0, "delta": {"reasoning_content": "hm", "reasoning": "hm", "refusal": "no"}})
        + b"data: [DONE]\n\n"
    )
    assert kept.text() == "Hello\nWorld\nhm\nno"
    assert kept.text() == "Hello\nWorld\nhm\nno"


def test_lists_of_parts_tools_and_legacy_text() -> None:
    kept = OutputText()
    kept.keep(
        frame(
            {
                "delta": {
                    "content": [{"type": "thinking", "thinking": [{"text": "so"}]}, {"type": "text", "text": "yes"}]
                }
            }
        )
    )  # Mistral
    kept.keep(
        frame(
            {"delta": {"tool_calls": [{"index": 0, "id": "call", "function": {"name": "f", "arguments": "{}"}}]}},
            {"text": "!"},
        )
    )
    assert kept.text() == "soyes!" + CALL + "f" + ARGUMENTS + "{}"


def test_parallel_calls_are_told_apart_and_come_last() -> None:
    kept = OutputText()
    for call in (
        {"index": 0, "function": {"name": "f", "arguments": ""}}, {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 1, "function": {"name": "g", "arguments": ""}}, {"index": 0, "function": {"arguments": ":1}"}},
        {"index": 1, "custom": {"input": "raw"}},
    ):  # fmt: skip
        kept.keep(frame({"delta": {"tool_calls": [call]}}))
    kept.keep(frame({"delta": {"content": "late"}}))
    assert kept.text() == f'late{CALL}f{ARGUMENTS}{{"a":1}}{CALL}g{ARGUMENTS}raw'
    assert output_text(
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"1"}},{"function":{"name":"g","arguments":"2"}}]}}]}'
    ) == f"{CALL}f{ARGUMENTS}1{CALL}g{ARGUMENTS}2"


def event(**fields: object) -> bytes:
    return f"event: {fields['type']}\ndata: ".encode() + json.dumps(fields).encode() + b"\n\n"


def test_a_responses_stream() -> None:
    """The deltas; what repeats them (`.done`, the finished items, the whole response) is not said again."""
    kept = OutputText()
    kept.keep(
        event(type="response.reasoning_summary_text.delta", output_index=0, delta="hm")
        + event(type="response.output_text.delta", output_index=1, delta="Hel")
        + event(type="response.output_text.delta", output_index=1, delta="lo")
        + event(type="response.output_text.done", output_index=1, text="Hello")
        + event(type="response.output_item.added", output_index=2, item={"type": "function_call", "name": "f", "arguments": ""})
        + event(type="response.function_call_arguments.delta", output_index=2, delta='{"a":1}')
        + event(type="response.function_call_arguments.done", output_index=2, arguments='{"a":1}')
        + event(type="response.output_item.done", output_index=2, item={"name": "f", "arguments": '{"a":1}'})
        + event(type="response.completed", response={"output": [{"content": [{"text": "Hello"}]}]})
        + event(type="error", error={"message": "not text"})
    )
    assert kept.text() == f'hm\nHello{CALL}f{ARGUMENTS}{{"a":1}}'


def test_a_responses_body() -> None:
    body = {
        "object": "response",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "gAAA"},
            {"type": "message", "content": [{"type": "output_text", "text": "Hello"}, {"type": "refusal", "refusal": "no"}]},
            {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
        ],
    }
    assert output_text(json.dumps(body).encode()) == f"hm\nHellono{CALL}f{ARGUMENTS}{{}}"
    for odd in (b'{"output":5}', b'{"output":[5,null,{"content":7}]}', b'{"type":["response.output_text.delta"],"delta":"x"}'):
        assert output_text(odd) == ""


@settings(deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.integers(-2, 2), st.text(max_size=3), st.just("response.output_text.delta")),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["choices", "delta", "message", "tool_calls", "index", "function", "name", "type", "item", "output", "output_index"]
                ),
                inner,
            ),
        ),
        max_leaves=10,
    )
)
def test_any_answer(answer: object) -> None:
    kept = OutputText()
    kept.add_body(json.dumps(answer).encode())
    assert isinstance(kept.text(), str)


def test_errors_are_not_text() -> None:
    kept = OutputText()
    kept.keep(b'data: {"error":{"message":"long text"}}\n\ndata: no json\n\ndata: {"choices":5}\n\n')
    assert kept.text() == ""


@settings(deadline=None)
@given(st.integers(1, 400))
def test_nothing_is_lost_by_compaction(pieces: int) -> None:
    kept = OutputText()
    for number in range(pieces):
        kept.keep(frame({"index": 0, "delta": {"content": f"{number},"}}))
        assert kept._raw_bytes <= COMPACT_AT_BYTES
    assert kept.text() == "".join(f"{number}," for number in range(pieces))


def test_text_is_bounded() -> None:
    kept = OutputText()
    for _ in range(5):
        kept.keep(frame({"index": 0, "delta": {"content": "x" * (MAX_TEXT_CHARS // 4 + 1)}}))
    assert len(kept.text()) == MAX_TEXT_CHARS
    assert kept.truncated


def test_clear_forgets() -> None:
    kept = OutputText()
    kept.keep(frame({"index": 0, "delta": {"content": "x" * (COMPACT_AT_BYTES + 1)}}))
    kept.keep(frame({"index": 0, "delta": {"content": "y"}}))
    kept.clear()
    assert kept.text() == ""


def test_of_a_body() -> None:
    assert output_text(b'{"choices":[{"message":{"role":"assistant","content":"hi"}}]}') == "hi"
    assert output_text(b'{"error":{"message":"hi"}}') == ""
    assert output_text(b"<html>") == ""


def test_a_bomb_says_nothing() -> None:
    deep: object = "text"
    for _ in range(5000):
        deep = [deep]
    assert list(texts_in(deep)) == []
