"""The ids that answers bring, from bodies and from streams, however the bytes are cut."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.objects.kinds import Minted
from proxy.objects.minted import StreamMints, chat_may_mint, minted
from proxy.wire.sse import FrameScanner
from tests.wire.recordings import CHAT, Recording, cuts, params

RESPONSES = (5, 13, 14, 15, 16)


def of(body: Any, **options: Any) -> list[tuple[str, str]]:
    return [(each.kind, each.id) for each in minted(json.dumps(body).encode(), **options)]


def streamed(pieces: list[bytes], mints: StreamMints) -> list[list[Minted]]:
    """What each `see` returned, but for nothing; then what `finish` did."""
    scanner = FrameScanner()
    seen = [mints.see(block) for piece in pieces if (block := scanner.feed(piece))]
    return [each for each in [*seen, mints.see(scanner.finish()), mints.finish()] if each]


@pytest.mark.parametrize("how", ["bytes", "events", "whole"])
@pytest.mark.parametrize("recording", params(*RESPONSES))
def test_a_stream_brings_its_own_id_first_and_its_items_last(recording: Recording, how: str) -> None:
    if b"response.created" not in recording.body:
        return
    mints = StreamMints()
    seen = streamed(cuts(recording.body, how), mints)
    found = [each for part in seen for each in part]
    (own,) = [each.id for each in found if each.kind == "response"]
    assert seen[0][0] == Minted("response", own, stored=found[0].stored)
    assert own.encode() in recording.body.partition(b"\n\n")[0]
    items = {each.id for each in found if each.kind == "item"}
    assert items == set(re.findall(r'"(?:item_id|id)":\s*"((?:msg|rs|fc|ws)_[^"]+)"', recording.body.decode()))
    assert len(found) == len(set(found))


@pytest.mark.parametrize("recording", params(*RESPONSES))
def test_a_body_brings_its_own_id_and_its_items(recording: Recording) -> None:
    if recording.is_stream or not recording.body.startswith(b"{") or b'"object": "response"' not in recording.body:
        return
    body = json.loads(recording.body)
    found = minted(recording.body)
    assert [each.id for each in found] == [body["id"], *(item["id"] for item in body["output"])]
    assert {each.stored for each in found} == {recording.number != 13}  # the one that was asked with store: false


@pytest.mark.parametrize("recording", params(*CHAT))
def test_chat_that_is_recorded_brings_at_most_its_own_id(recording: Recording) -> None:
    parts = streamed([recording.body], StreamMints()) if recording.is_stream else [minted(recording.body)]
    found = [each for part in parts for each in part]
    assert [each.kind for each in found] in ([], ["completion"], ["completion"] * 2)


def test_the_first_event_must_be_recorded_before_it_passes_and_items_before_the_last() -> None:
    created = frame({"type": "response.created", "response": {"id": "resp_1", "object": "response", "store": True}})
    added = frame({"type": "response.output_item.added", "item": {"id": "fc_1", "type": "function_call"}})
    delta = frame({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{"})
    done = frame({"type": "response.completed", "response": {
        "id": "resp_1", "object": "response", "output": [{"id": "fc_1", "type": "function_call"}, {"id": "msg_1"}]}})  # fmt: skip
    mints = StreamMints()
    assert mints.see(created) == [Minted("response", "resp_1")]
    assert mints.see(added + delta) == []
    assert mints.see(done) == [Minted("item", "fc_1"), Minted("item", "msg_1")]
    assert mints.finish() == []


def test_a_last_event_without_the_items_brings_them_all_the_same() -> None:
    mints = StreamMints()
    mints.see(frame({"type": "response.created", "response": {"id": "resp_1"}}))
    mints.see(frame({"type": "response.output_item.done", "item": {"id": "fc_1", "type": "function_call"}}))
    assert mints.see(frame({"type": "response.completed", "response": {"id": "resp_1"}})) == [Minted("item", "fc_1")]


def test_a_stream_that_breaks_off_brings_the_items_it_began() -> None:
    mints = StreamMints(lasting=True)
    mints.see(frame({"type": "response.created", "response": {"id": "resp_1"}}))
    mints.see(frame({"type": "response.output_item.added", "item": {"id": "fc_1", "type": "function_call"}}))
    assert mints.finish() == [Minted("item", "fc_1", lasting=True)]


def test_what_is_not_stored_is_marked() -> None:
    response = {"id": "resp_1", "object": "response", "store": False, "output": [{"id": "msg_1"}]}
    wanted = [Minted("response", "resp_1", stored=False), Minted("item", "msg_1", stored=False)]
    assert minted(json.dumps(response).encode()) == wanted
    mints = StreamMints()
    assert mints.see(frame({"type": "response.created", "response": {**response, "output": []}})) == wanted[:1]
    mints.see(frame({"type": "response.output_item.added", "item": {"id": "msg_1"}}))
    assert mints.finish() == wanted[1:]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"object": "file", "id": "file-1"}, [("file", "file-1")]),
        ({"object": "conversation", "id": "conv_1"}, [("conversation", "conv_1")]),
        ({"object": "vector_store.files_batch", "id": "vsfb_1"}, [("vector_store_batch", "vsfb_1")]),
        (
            {"object": "batch", "id": "b_1", "input_file_id": "file-0", "output_file_id": "file-1", "error_file_id": None},
            [("batch", "b_1"), ("file", "file-1")],
        ),
        ({"object": "upload", "id": "u_1", "file": {"id": "file-1"}}, [("upload", "u_1"), ("file", "file-1")]),
        ({"object": "list", "data": [{"id": "msg_1", "type": "message"}]}, [("item", "msg_1")]),
        # Lists of a whole account, and what is only repeated: nothing of it is new.
        ({"object": "list", "data": [{"id": "file-1", "object": "file"}]}, []),
        ({"object": "vector_store.file", "id": "file-1", "vector_store_id": "vs_1"}, []),
        ({"object": "file", "id": "file-1", "deleted": True}, [("file", "file-1")]),
        ({"object": "response.deleted", "id": "resp_1"}, []),
        ({"object": "response", "id": "resp_1", "previous_response_id": "resp_0", "metadata": {"id": "x"},
          "conversation": {"id": "conv_1"}}, [("response", "resp_1")]),
        (
            {"object": "response", "id": "r_1", "output": [
                {"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"},
                {"type": "message", "id": "msg_1", "content": [{"annotations": [
                    {"type": "container_file_citation", "container_id": "cntr_1", "file_id": "cfile_1"},
                    {"type": "file_citation", "file_id": "file-1"}]}]}]},
            [("response", "r_1"), ("item", "ci_1"), ("container", "cntr_1"), ("item", "msg_1"), ("container_file", "cfile_1")],
        ),
        ({"object": "chat.completion", "id": "c_1", "choices": [{"message": {"audio": {"id": "audio_1"}}}]},
         [("completion", "c_1"), ("audio", "audio_1")]),
        ({"error": {"message": "no"}}, []),
        ([], []),
        ({"object": "file", "id": "../../admin"}, []),
        ({"object": "file", "id": 7}, []),
    ],
)  # fmt: skip
def test_where_ids_are_minted(body: Any, wanted: list[tuple[str, str]]) -> None:
    assert of(body) == wanted


def test_a_provider_that_does_not_say_what_it_made() -> None:
    assert of({"id": "0b6c", "purpose": "batch"}, surface="files") == [("file", "0b6c")]
    assert of({"id": "0b6c"}) == []


def test_how_long_ids_are_known() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    (file,) = minted(json.dumps({"object": "file", "id": "f", "expires_at": now.timestamp() + 3600}).encode())
    kept = file.known_until(now)
    assert kept is not None and (kept - now).days == 2
    assert Minted("file", "f").known_until(now) is None
    response = Minted("response", "r").known_until(now)
    assert response is not None and (response - now).days == 35
    assert Minted("item", "i", lasting=True).known_until(now) is None
    body = {"object": "response", "id": "r", "conversation": {"id": "conv_1"}, "output": [{"id": "msg_1"}]}
    assert [each.lasting for each in minted(json.dumps(body).encode())] == [False, True]


def test_a_spoken_answer_in_a_stream() -> None:
    chunks = [
        {"id": "c_1", "object": "chat.completion.chunk", "choices": [{"delta": {"role": "assistant"}}]},
        {
            "id": "c_1",
            "object": "chat.completion.chunk",
            "choices": [{"delta": {"audio": {"id": "audio_1", "data": ""}}}],
        },
    ]
    seen = streamed([frame(chunk) for chunk in chunks], StreamMints())
    assert [[each.id for each in part] for part in seen] == [["c_1"], ["audio_1"]]
    assert chat_may_mint(b'{"audio":{"voice":"alloy"}}') and chat_may_mint(b'{"store":true}')
    assert not chat_may_mint(b'{"messages":[]}')


@given(st.binary(max_size=200))
def test_no_bytes_are_an_error(data: bytes) -> None:
    assert isinstance(minted(data), list)
    mints = StreamMints()
    mints.see(b"data: " + data + b"\n\n")
    mints.see(data)
    mints.finish()


def frame(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(event.get("type")).encode(), json.dumps(event).encode())
