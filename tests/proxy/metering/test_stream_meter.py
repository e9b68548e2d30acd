"""However hostile the text and wherever the cuts: the client's bytes, the usage, the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.stream_meter import StreamMeter
from proxy.providers.registry import READERS

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
# Words that the fast path looks for, as an answer may contain them.
WORDS = st.sampled_from(
    [
        "completion_tokens",
        '"completion_tokens"',
        '"completion_tokens":9',
        '{"usage":{"completion_tokens":9}}',
        "[DONE]",
        "data: [DONE]",
        "\n\ndata: [DONE]\n\n",
        '"choices":[]',
        "error",
        '"error"',
        '"error":{"message":"x"}',
        "\nevent: error\n",
        '\\"completion_tokens\\"',
        "usage",
        "\r\n",
        "\\",
        '"',
        "é",
        "hello",
    ]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=4).map("".join)
# Where the text stands: content, a whole string value, a name, a key deep inside.
DELTAS = st.one_of(
    TEXTS.map(lambda text: {"content": text}),
    TEXTS.map(
        lambda text: {"tool_calls": [{"index": 0, "function": {"name": text, "arguments": json.dumps({text: text})}}]}
    ),
    TEXTS.map(lambda text: {"content": None, "extra": {text: {"completion_tokens": 5, "error": {"code": 1}}}}),
)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])


def frame(chunk: object, end: bytes = b"\n") -> bytes:
    return b"data: " + json.dumps(chunk).encode() + end * 2


def chunk(delta: object, **more: object) -> dict[str, object]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None, **more}


def meter(*, strip: bool = False, **options: Any) -> StreamMeter:
    return StreamMeter(READERS["openai"], strip_usage_chunk=strip, **options)


def play(m: StreamMeter, stream: bytes, cuts: list[int]) -> bytes:
    sent, start = b"", 0
    for cut in [*sorted(cuts), len(stream)]:
        sent += m.feed(stream[start:cut]).forward
        start = cut
    return sent + m.finish()


@settings(max_examples=300)
@given(st.lists(DELTAS, max_size=5), LINE_ENDS, st.booleans(), st.data())
def test_no_text_is_stripped_or_metered(deltas: list[object], end: bytes, strip: bool, data: st.DataObject) -> None:
    """Neither removed, nor taken for usage, an error or the end."""
    stream = b"".join(frame(chunk(delta), end) for delta in deltas)
    m = meter(strip=strip)
    assert play(m, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5))) == stream
    assert (m.usage, m.error_seen, m.done, m.decode_errors) == (None, False, False, 0)


@settings(max_examples=300)
@given(st.lists(DELTAS, max_size=3), st.lists(DELTAS, max_size=3), LINE_ENDS, st.booleans(), st.data())
def test_usage_is_found_between_hostile_texts(
    before: list[object], after: list[object], end: bytes, strip: bool, data: st.DataObject
) -> None:
    head = b"".join(frame(chunk(delta), end) for delta in before)
    tail = b"".join(frame(chunk(delta), end) for delta in after) + b"data: [DONE]" + end * 2
    usage = frame({"id": "c", "choices": [], "usage": USAGE}, end)
    stream = head + usage + tail
    m = meter(strip=strip)
    sent = play(m, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    assert sent == (head + tail if strip else stream)
    assert m.usage is not None
    assert (m.usage.input_tokens, m.usage.output_tokens, json.loads(m.raw_usage or "")) == (7, 3, USAGE)
    assert (m.done, m.error_seen, m.decode_errors) == (True, False, 0)


@settings(max_examples=300)
@given(st.binary(max_size=80), st.booleans(), st.data())
def test_any_bytes_pass(stream: bytes, strip: bool, data: st.DataObject) -> None:
    m = meter(strip=strip, max_frame_bytes=16)
    assert play(m, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5))) == stream


@given(
    st.lists(
        st.sampled_from(
            [
                b'"completion_tokens"',
                b'"error":',
                b"[DONE]",
                b"event: error",
                b"data: ",
                b"\n",
                b"\r\n",
                b'{"usage":{',
                b'"choices":[]',
                b"}",
                b",",
            ]
        ),
        max_size=20,
    ).map(b"".join),
    st.data(),
)
def test_broken_json_passes(stream: bytes, data: st.DataObject) -> None:
    m = meter()
    assert play(m, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5))) == stream


@pytest.mark.parametrize("done", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE]\r\n\r\n", b"data: [DONE]\n"])
def test_everything_from_done_on_is_held(done: bytes) -> None:
    first = frame(chunk({"content": "a"}))
    m = meter()
    fed = m.feed(first + done)
    assert fed.forward == first
    more = m.feed(b": bye\n\n")
    assert more.forward == b""
    assert m.finish() == done + b": bye\n\n"
    assert m.done


def test_done_without_a_line_end_is_the_end() -> None:
    m = meter()
    assert m.feed(b"data: [DONE]").forward == b""
    assert m.finish() == b"data: [DONE]"
    assert m.done


def test_the_last_usage_replaces_earlier_ones() -> None:
    growing = [
        frame(chunk({"content": "a"}) | {"usage": {**USAGE, "completion_tokens": n, "total_tokens": 7 + n}})
        for n in (1, 5, 2)
    ]
    for strip in (False, True):
        m = meter(strip=strip)
        assert play(m, b"".join(growing), []) == b"".join(growing)
        assert m.usage is not None
        assert m.usage.output_tokens == 2


def test_a_usage_chunk_without_line_end_counts() -> None:
    """A stream whose last frame lacks its blank line (recording 17's kind of end)."""
    m = meter(strip=True)
    assert play(
        m, frame(chunk({"content": "a"})) + b'data: {"choices":[],"usage":' + json.dumps(USAGE).encode() + b"}", []
    ) == frame(chunk({"content": "a"}))
    assert m.usage is not None
    assert m.ended


def test_usage_that_cannot_be_read_is_counted_never_zero() -> None:
    for bad in (
        {"prompt_tokens": "many", "completion_tokens": 1},
        {"completion_tokens": 10**30},
        [{"completion_tokens": 1}],
    ):
        stream = frame({"choices": [], "usage": bad})
        m = meter(strip=True)
        assert play(m, stream, []) == stream  # not understood: not removed
        assert (m.usage, m.decode_errors) == (None, 1)


def test_azure_first_chunk_stays() -> None:
    first = frame({"choices": [], "created": 0, "id": "", "prompt_filter_results": [{"prompt_index": 0}]})
    m = meter(strip=True)
    assert m.feed(first).forward == first


@pytest.mark.parametrize(
    ("frame_bytes", "is_error"),
    [
        (b'data: {"error":{"message":"x"}}\n\n', True),
        (b'data: {"id":"1","error": "text"}\n\n', True),
        (b'event: error\ndata: {"message":"x"}\n\n', True),
        (b"event:error\r\ndata: no json\r\n\r\n", True),
        (b'data: {"object":"error","message":"x"}\n\n', True),
        (b'data: {"error":null,"choices":[]}\n\n', False),
        (b'data: {"error" : null,"choices":[]}\n\n', False),
        (b'data: {"choices":[{"content_filter_results":{"error":{"code":"x"}}}]}\n\n', False),  # Azure
        (b'data: {"choices":[{"delta":{"content":"error"}}]}\n\n', False),
        (b"event: message\ndata: {}\n\n", False),
    ],
)
def test_errors_in_a_stream(frame_bytes: bytes, is_error: bool) -> None:
    m = meter()
    assert m.feed(frame(chunk({"content": "a"})) + frame_bytes).forward.endswith(frame_bytes)
    assert m.error_seen == is_error
    assert bool(m.error_data) == is_error


def test_error_frames_are_cleaned_and_only_they() -> None:
    m = meter(clean_error=lambda data: data.replace(b"org-1", b"[removed]"))
    answer = frame(chunk({"content": "org-1"}))
    stream = answer + b'event: error\ndata: {"error":{"message":"org-1"}}\n\n' + answer
    sent = play(m, stream, [])
    assert sent == answer + b'event: error\ndata: {"error":{"message":"[removed]"}}\n\n' + answer
    assert m.error_data == b'{"error":{"message":"[removed]"}}'


def test_an_error_beside_usage_counts_both() -> None:
    """Recording 31."""
    m = meter()
    m.feed(frame({"choices": [{"index": 0, "delta": {}}], "error": {"code": 400}, "usage": USAGE}))
    assert m.error_seen
    assert m.usage is not None


def test_an_unfinished_frame_can_be_dropped() -> None:
    m = meter()
    assert m.feed(b'data: {"a":1}\n\ndata: {"b').forward == b'data: {"a":1}\n\n'
    assert m.finish(drop_unfinished=True) == b""
    assert not m.ended


def test_text_after_the_last_usage_is_kept() -> None:
    m = meter()
    m.feed(
        frame(chunk({"content": "before"}))
        + frame(chunk({"content": "with"}) | {"usage": USAGE})
        + frame(chunk({"content": "after"}))
    )
    assert m.output_text() == "after"


def test_counting_and_overflow() -> None:
    m = meter()
    m.counting = True
    m.feed(frame(chunk({})) * 3)
    assert m.frames == 3
    m.feed(b"data: [DONE]\n\n")
    m.feed(b": x\n\n" * 300_000)
    assert m.overflowed
    assert len(m.held) <= 1024 * 1024


def test_memory_of_a_long_stream_is_bounded() -> None:
    m = meter()
    piece = frame(chunk({"content": "word "}))
    for _ in range(2000):
        m.feed(piece)
    assert m._output._raw_bytes <= 16 * 1024
    assert m.output_text() == "word " * 2000


SECRET = b"sk-live-0123456789"


def hide(data: bytes) -> bytes:
    """Cleaning as a provider's: JSON is read, so an escaped key is found as well."""
    try:
        return json.dumps(json.loads(data)).encode().replace(SECRET, b"[removed]")
    except ValueError:
        return data.replace(SECRET, b"[removed]")


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"\\u0065rror":{"message":"bad key sk-live-0123456789"}}\n\n',
        b'data: {"er\\u0072or" : {"message":"bad key sk-live-0123456789"}}\r\n\r\n',
        b'data: {"error":{"message":"bad key \\u0073k-live-0123456789"}}\n\n',
        b'data: {"error"\ndata: :{"message":"bad key sk-live-0123456789"}}\n\n',
        b'data:{"object":"error"\r\ndata:,"message":"sk-live-0123456789"}\r\n\r\n',
        b'data: {"error":null,"type":"error","message":"sk-live-0123456789"}\n\n',
        b"event: error\ndata: sk-live-0123456789\n\n",
    ],
)
def test_an_error_is_cleaned_however_it_is_spelled(error: bytes) -> None:
    answer = frame(chunk({"content": "sk-live-0123456789 is what you wrote"}))
    for cut in range(len(answer + error)):
        m = meter(clean_error=hide)
        sent = play(m, answer + error + answer, [cut])
        assert sent.startswith(answer)
        assert sent.endswith(answer)
        assert SECRET not in sent[len(answer) : -len(answer)]
        assert m.error_seen


@given(TEXTS, st.booleans())
def test_escaped_letters_of_an_answer_are_no_error(said: str, spelled: bool) -> None:
    """Servers that escape whatever they like: `A` as \\u0041."""
    content = "".join(f"\\u{ord(c):04x}" for c in said) if spelled and said.isascii() else json.dumps(said)[1:-1]
    stream = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % content.encode()
    m = meter(clean_error=lambda data: b"cleaned")
    assert play(m, stream, []) == stream
    assert not m.error_seen


def test_an_event_too_large_to_be_cleaned_does_not_pass() -> None:
    answer = frame(chunk({"content": "a"}))
    large = b'data: {"padding":"' + b"x" * 2000 + b'","error":{"message":"sk-live-0123456789"}}\n\n'
    stream = answer + large + answer + b"data: [DONE]\n\n"
    for size in (1, 100, 5000):
        m = meter(clean_error=hide, max_frame_bytes=1000)
        cuts = list(range(0, len(stream), size)) if size < 5000 else [len(answer) + 1500]
        sent = play(m, stream, cuts)
        assert sent.startswith(answer + b'data: {"error":')
        assert sent.endswith(answer + b"data: [DONE]\n\n")
        assert SECRET not in sent
        assert b"xxx" not in sent
        assert (m.error_seen, m.oversized, m.done) == (True, 1, True)


def test_where_nothing_is_to_be_cleaned_large_events_pass() -> None:
    large = b'data: {"padding":"' + b"x" * 2000 + b'"}\n\n'
    m = meter(max_frame_bytes=1000)
    assert play(m, large * 2, [1500]) == large * 2
    assert not m.error_seen


def finish(index: object, reason: str | None = "stop") -> bytes:
    return frame({"choices": [{"index": index, "delta": {}, "finish_reason": reason}], "usage": None})


@pytest.mark.parametrize(
    ("choices", "stream", "ended"),
    [
        (1, finish(0), True),
        (2, finish(0), False),
        (2, finish(0) + frame(chunk({"content": "x"})) * 9 + finish(1), True),
        (2, finish(0) + finish(0), False),
        (2, finish(0) + finish(1, None), False),
        (2, frame({"choices": [{"index": i, "finish_reason": "length"} for i in (0, 1)]}), True),
        (3, frame({"choices": [{"index": i, "finish_reason": "length"} for i in (0, 1)]}), False),
        (2, finish(0) + frame({"choices": [], "usage": USAGE}), True),
        (2, finish(0) + b"data: [DONE]\n\n", True),
        (2, finish(0) + frame(chunk({"content": '"finish_reason":"stop"'})), False),
        (2, finish("a") + finish([]), False),
    ],
)
def test_a_stream_of_several_choices_ends_with_the_last(choices: int, stream: bytes, ended: bool) -> None:
    for cuts in ([], list(range(len(stream)))):
        m = meter(choices=choices)
        assert play(m, stream, cuts) == stream
        assert m.ended == ended


def test_an_error_that_is_added() -> None:
    assert meter().error_event(b'{"error":{}}') == b'data: {"error":{}}\n\n'
    assert meter().seen_units() == {}
