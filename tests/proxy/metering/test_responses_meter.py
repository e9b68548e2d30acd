"""A stream of typed events, however cut and whatever it says: the client's bytes, the usage, the end that is withheld."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering.meters import open_meter
from proxy.metering.responses_meter import ResponsesMeter
from proxy.metering.stream_meter import StreamMeter
from proxy.providers.readers import reader_for

USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 5},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 39,
}
# Words that the fast path looks for, as an answer may contain them.
WORDS = st.sampled_from(
    [
        "response",
        '"response"',
        "output_tokens",
        '"output_tokens"',
        '{"response":{"status":"completed"}}',
        "response.completed",
        '"type":"response.completed"',
        '"response.output_item.done"',
        "\n\nevent: response.completed\ndata: {}\n\n",
        "event: error",
        '"error"',
        "[DONE]",
        "\\",
        "\r\n",
        "é",
        "hello",
    ]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=4).map("".join)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])


def event(kind: str, end: bytes = b"\n", *, named: bool = True, **fields: object) -> bytes:
    name = b"event: " + kind.encode() + end if named else b""
    return name + b"data: " + json.dumps({"type": kind, "sequence_number": 1, **fields}).encode() + end * 2


def response(status: str, **fields: object) -> dict[str, object]:
    return {"id": "resp_1", "object": "response", "status": status, "error": None, "usage": None, **fields}


def created(**fields: object) -> bytes:
    return event("response.created", response=response("in_progress", **fields))


def deltas_of(text: str) -> list[dict[str, object]]:
    return [
        {"kind": "response.output_text.delta", "delta": text},
        {"kind": "response.function_call_arguments.delta", "delta": json.dumps({text: {"response": text}})},
        {"kind": "response.output_text.annotation.added", "annotation": {text: "response", "url": text}},
        {"kind": "response.output_item.added", "item": {"id": "i", "type": "message", "content": [{"text": text}]}},
    ]


DELTAS = TEXTS.flatmap(lambda text: st.sampled_from(deltas_of(text)))


def meter(**options: Any) -> ResponsesMeter:
    return ResponsesMeter(reader_for("responses", "openai"), **options)


def play(m: StreamMeter, stream: bytes, cuts: list[int]) -> bytes:
    sent, start = b"", 0
    for cut in [*sorted(cuts), len(stream)]:
        sent += m.feed(stream[start:cut]).forward
        start = cut
    return sent + m.finish()


@settings(max_examples=300)
@given(st.lists(DELTAS, max_size=5), LINE_ENDS, st.booleans(), st.data())
def test_no_text_is_metered_or_taken_for_the_end(
    deltas: list[dict[str, Any]], end: bytes, named: bool, data: st.DataObject
) -> None:
    stream = created(instructions=data.draw(TEXTS)) + b"".join(event(end=end, named=named, **delta) for delta in deltas)
    m = meter(clean_error=lambda data: b"cleaned")
    assert play(m, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5))) == stream
    assert (m.usage, m.error_seen, m.done, m.ended, m.decode_errors) == (None, False, False, False, 0)


@settings(max_examples=300)
@given(
    st.lists(DELTAS, max_size=3), st.sampled_from(["completed", "incomplete", "failed"]), LINE_ENDS, st.booleans(),
    st.booleans(), st.data(),
)  # fmt: skip
def test_the_end_is_withheld_and_read(
    deltas: list[dict[str, Any]], status: str, end: bytes, named: bool, first: bool, data: st.DataObject
) -> None:
    head = created() + b"".join(event(end=end, named=named, **delta) for delta in deltas)
    last = response(status, usage=USAGE, service_tier="default", output=[{"content": data.draw(TEXTS)}])
    # `sequence_number` stands before the response or behind it (recording 13).
    tail = event(f"response.{status}", end, named=named, **({"response": last} if first else {"x": 1, "response": last}))
    after = data.draw(st.sampled_from([b"", b"data: [DONE]\n\n", b": bye\n\n"]))
    stream = head + tail + after
    m = meter()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))
    sent = b"".join(m.feed(stream[a:b]).forward for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True))
    assert sent == head
    assert m.finish() == tail + after
    assert m.usage is not None
    assert m.usage.units == {"input": 15, "cache_read": 10, "cache_write_30m": 5, "output": 9}
    assert (m.usage.reasoning_tokens, m.usage.service_tier, m.usage.inconsistent) == (4, "default", False)
    assert json.loads(m.raw_usage or "") == USAGE
    assert (m.done, m.ended, m.error_seen, m.decode_errors) == (True, True, status == "failed", 0)
    assert m.output_text() == ""


@settings(max_examples=300)
@given(st.binary(max_size=80), st.data())
def test_any_bytes_pass(stream: bytes, data: st.DataObject) -> None:
    m = meter(max_frame_bytes=16)
    assert play(m, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5))) == stream


@given(
    st.lists(
        st.sampled_from(
            [b'"response"', b'"output_tokens"', b'"type":"response.completed"', b'"response.output_item.done"', b"data: ",
             b"event: response.completed", b"event: error", b"\n", b"\r\n", b'{"response":{"usage":{', b"}", b",", b'"item":']
        ),
        max_size=20,
    ).map(b"".join),
    st.data(),
)  # fmt: skip
def test_broken_json_passes(stream: bytes, data: st.DataObject) -> None:
    m = meter()
    assert play(m, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5))) == stream


def test_a_last_event_of_megabytes_is_held_whole_and_read() -> None:
    image = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "x" * 3_000_000}
    head, last = created(), event("response.completed", response=response("completed", output=[image], usage=USAGE))
    m = meter(clean_error=lambda data: data)
    assert play(m, head + last + b": x\n\n" * 300_000, [len(head + last)]).startswith(head + last)
    assert m.usage is not None
    assert m.usage.units["images"] == 1
    assert m.overflowed
    m = meter()
    assert play(m, head + last + b": bye\n\n", [len(head + last)]) == head + last + b": bye\n\n"


def test_an_event_too_large_is_an_error_in_the_streams_own_shape() -> None:
    m = meter(clean_error=lambda data: data, max_frame_bytes=100)
    sent = play(m, b'event: response.image\ndata: {"x":"' + b"y" * 200 + b'"}\n\n', [50, 150])
    assert sent.startswith(b'event: error\ndata: {"type":"error","sequence_number":0,"error":{')
    assert m.error_seen


def test_a_stream_without_an_end_is_none() -> None:
    m = meter()
    play(m, created() + event("response.output_text.delta", delta="hi"), [])
    assert (m.ended, m.saw_content, m.output_text()) == (False, True, "hi")
    m = meter()
    play(m, created(instructions="Say hi") + event("response.in_progress", response=response("in_progress")), [])
    assert (m.ended, m.saw_content) == (False, False)


def test_an_end_without_a_response_is_still_an_end() -> None:
    m = meter()
    play(m, created() + event("response.completed") + b"data: [DONE]\n\n", [])
    assert (m.done, m.ended, m.usage) == (False, True, None)


def test_a_cancelled_response_ends_with_what_it_cost() -> None:
    m = meter()
    play(m, created() + event("response.cancelled", response=response("cancelled", usage=USAGE)), [])
    assert (m.done, m.error_seen, m.usage is not None) == (True, False, True)


def test_an_end_without_its_blank_line_is_the_end() -> None:
    head = created()
    last = event("response.completed", response=response("completed", usage=USAGE)).rstrip(b"\n")
    m = meter()
    assert m.feed(head + last).forward == head
    assert m.finish() == last
    assert (m.done, m.usage is not None) == (True, True)


def clean(data: bytes) -> bytes:
    return data.replace(b"org-1", b"[removed]")


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (event("error", error={"code": "x", "message": "org-1"}), False),
        (event("error", code="x", message="org-1"), False),
        (event("error", named=False, code="x", message="org-1"), False),
        (b'data: {"type":"\\u0065rror","message":"org-1"}\n\n', False),
        (b"event: error\ndata: org-1\n\n", False),
        (b"event:error\r\ndata: org-1\r\n\r\n", False),
        (b'data: {"error":{"message":"org-1"}}\n\n', False),
        (event("response.failed", response=response("failed", error={"code": "x", "message": "org-1"})), True),
        (b'data: {"type":"response.failed","response":{"\\u0065rror":{"message":"org-1"}}}\n\n', True),
    ],
)
def test_errors_are_seen_and_cleaned(error: bytes, ends: bool) -> None:
    said = event("response.output_text.delta", delta="org-1")
    before = created(instructions="org-1") + said
    for cuts in ([], [len(before)]):
        m = meter(clean_error=clean)
        assert play(m, before + error, cuts) == before + clean(error)
        assert (m.error_seen, m.done) == (True, ends)


def test_a_failure_that_says_nothing_is_a_failure() -> None:
    m = meter()
    play(m, created() + event("response.failed", response=response("failed")), [])
    assert m.error_seen


def test_tools_of_the_provider_are_counted_before_the_end() -> None:
    items: list[dict[str, Any]] = [
        {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}},
        {"id": "ws_2", "type": "web_search_call", "status": "completed", "action": {"type": "open_page"}},
        {"id": "ci_1", "type": "code_interpreter_call", "container_id": "cntr_1"},
        {"id": "ci_2", "type": "code_interpreter_call", "container_id": "cntr_1"},
        {"id": "fs_1", "type": "file_search_call"},
        {"id": "m", "type": "message"},
    ]
    begun = created() + b"".join(event("response.output_item.done", item=item) for item in items)
    for cuts in ([], list(range(len(begun)))):
        m = meter()
        assert play(m, begun, cuts) == begun
        assert m.seen_units() == {"web_searches": 1, "file_searches": 1, "code_sessions": 1}
    m = meter()
    play(m, begun + event("response.completed", response=response("completed", usage=USAGE, output=items)), [])
    assert m.usage is not None
    assert {unit: count for unit, count in m.usage.units.items() if unit in m.seen_units()} == m.seen_units()


def test_an_error_that_is_added_counts_on() -> None:
    m = meter()
    m.feed(created() + b'data: {"type":"x","sequence_number":41}\n\n')
    added = m.error_event(b'{"error":{"message":"m"}}')
    assert added == b'event: error\ndata: {"type":"error","sequence_number":42,"error":{"message":"m"}}\n\n'


def test_cost_is_added_to_the_last_event_only() -> None:
    m = meter(annotate=lambda data, usage: data.replace(b'"usage"', b'"cost":1,"usage"'))
    sent = play(m, created() + event("response.completed", response=response("completed", usage=USAGE)), [])
    assert sent.startswith(created())
    assert sent.count(b'"cost":1') == 1


def test_the_meter_of_a_surface() -> None:
    for surface in ("chat", "completions", "embeddings", "moderations"):
        m = open_meter(surface, reader_for(surface, "openai"), strip_usage_chunk=True, clean_error=None)
        assert type(m) is StreamMeter
    m = open_meter("responses", reader_for("responses", "openai"), strip_usage_chunk=False, clean_error=None)
    assert isinstance(m, ResponsesMeter)
