"""An answer cut short is never presented as complete: its stream ends with an error event in the form of its surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.endings.house import EndingsHouse
from tests.endings.shapes import DONE, data_of
from tests.upstream.script import LAST_CHUNK, Close, Reset, Send, Silence, Step, chunked

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = 6
USAGE = {"prompt_tokens": 9, "completion_tokens": WORDS, "total_tokens": 9 + WORDS}
RESPONSE_USAGE = {"input_tokens": 9, "output_tokens": WORDS, "total_tokens": 9 + WORDS}
ENDS: dict[str, Step] = {"in order": Send(LAST_CHUNK), "closed": Close(), "reset": Reset(), "silent": Silence()}


def _data(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(value)


def _named(number: int, kind: str, **more: Any) -> bytes:
    return b"event: %b\n%b" % (kind.encode(), _data({"type": kind, "sequence_number": number, **more}))


def _choice(finish: str | None = None, **said: Any) -> bytes:
    return _data({"choices": [{"index": 0, "finish_reason": finish, **said}]})


_END = [_data({"choices": [], "usage": USAGE}), DONE]


def _chat() -> list[bytes]:
    words = [_choice(delta={"content": f"w{number} "}) for number in range(WORDS)]
    return [*words, _choice("stop", delta={}), *_END]


def _completions() -> list[bytes]:
    words = [_choice(text=f"w{number} ") for number in range(WORDS)]
    return [*words, _choice("stop", text=""), *_END]


def _responses() -> list[bytes]:
    begun = {"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "usage": None}
    words = [_named(number + 1, "response.output_text.delta", output_index=0, delta=f"w{number} ") for number in range(WORDS)]
    done = {**begun, "status": "completed", "usage": RESPONSE_USAGE}
    return [_named(0, "response.created", response=begun), *words, _named(WORDS + 1, "response.completed", response=done)]


def _plain_error(event: bytes) -> bool:
    return event.startswith(b"data: ") and set(data_of(event)["error"]) == {"message", "type", "param", "code"}


def _typed_error(event: bytes) -> bool:
    data = data_of(event)
    return event.startswith(b"event: error\n") and data["type"] == "error" and data["error"]["message"] != ""


@dataclass(frozen=True)
class Surface:
    """`whole_from`: with so many events the answer has said that it is complete."""

    path: bytes
    ask: dict[str, Any]
    events: list[bytes]
    whole_from: int
    is_error: Callable[[bytes], bool]


SURFACES = {
    "chat": Surface(b"/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}, _chat(), WORDS + 1, _plain_error),
    "completions": Surface(b"/v1/completions", {"prompt": "Hi"}, _completions(), WORDS + 1, _plain_error),
    "responses": Surface(b"/v1/responses", {"input": "Hi"}, _responses(), WORDS + 2, _typed_error),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
async def test_cut_at_every_event(house: EndingsHouse, surface: Surface, end: str) -> None:
    """Cut between events, and within the next one."""
    cuts = {f"{count}-{inside}": (count, inside) for count in range(len(surface.events)) for inside in (0, 9)}
    house.answers({
        label: chunked(
            [*surface.events[:count], *([surface.events[count][:inside]] if inside else [])], tail=[ENDS[end]]
        )
        for label, (count, inside) in cuts.items()
    })  # fmt: skip
    heard = await house.together(
        lambda label: house.talk(house.ask("openai", label, stream=True, path=surface.path, **surface.ask)), cuts
    )
    rows = await house.rows_of(cuts)
    for label, (count, _) in cuts.items():
        (answer,) = heard[label].answers
        *_, last = [event + b"\n\n" for event in answer.body.split(b"\n\n") if event]
        row = rows[label]
        if end == "in order" and count >= surface.whole_from:
            assert row["outcome"] == "ok" and b'"error"' not in last, label
            continue
        assert (row["outcome"], answer.status, answer.complete) == ("upstream_error", 200, True), label
        assert surface.is_error(last) and DONE not in answer.body, (label, answer.body)
        assert answer.body.startswith(b"".join(surface.events[: min(count, surface.whole_from)])), label
    await house.forget(rows)
