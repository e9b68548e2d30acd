"""The ids that a provider's answer brings: of bodies, and of streams as they pass (pure).

Read only where the provider itself mints: an id that it merely repeats (`previous_response_id`, `metadata`) is not taken for
new. What cannot be read brings nothing; it is never an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from proxy.objects.kinds import Minted, is_id
from proxy.wire.sse import data_of, split_frames

# `object` of an answer → the kind of its `id` (OpenAPI document of OpenAI).
OBJECTS = {
    "response": "response", "response.compaction": "response", "conversation": "conversation", "file": "file", "upload": "upload",
    "batch": "batch", "vector_store": "vector_store", "vector_store.files_batch": "vector_store_batch",
    "vector_store.file_batch": "vector_store_batch", "container": "container", "container.file": "container_file",
    "video": "video", "chat.completion": "completion", "chat.completion.chunk": "completion",
}  # fmt: skip
# Providers that leave `object` out say by their surface what they made.
SURFACES = {"responses": "response", "conversations": "conversation", "files": "file", "batches": "batch"}
# Events of a Responses stream that bring ids. Deltas repeat them.
_ENDS = (b"response.completed", b"response.incomplete", b"response.failed")
_SPOKEN = b'"audio_'  # the id of a spoken answer, in some chunk of a chat stream
_SIGNS = (b"response.output_item.", _SPOKEN, *_ENDS)
MOST = 10_000


def minted(body: bytes, *, surface: str = "", lasting: bool = False) -> list[Minted]:
    """The ids of an answer, each once, the object's own first. `lasting`: the request named a conversation."""
    top = _decoded(body)
    return _once(_of_answer(top, SURFACES.get(surface), lasting)) if isinstance(top, dict) else []


def chat_may_mint(raw: bytes) -> bool:
    """Whether the answer to this chat request may bring ids that can be named later: stored completions, spoken answers."""
    return b'"store"' in raw or b'"audio"' in raw or b"\\u00" in raw


class StreamMints:
    """`see` gets whole frames as they are about to pass; what it returns is to be recorded before they do.

    The response's own id comes with its first event; the ids of items are collected and come with the last, or from
    `finish` where the stream ends without one.
    """

    __slots__ = ("_begun", "_items", "_lasting", "_seen", "_stored")

    def __init__(self, *, lasting: bool = False) -> None:
        self._lasting = lasting
        self._begun = False
        self._stored = True
        self._items: dict[tuple[str, str], Minted] = {}
        self._seen: set[tuple[str, str]] = set()

    def see(self, block: bytes) -> list[Minted]:
        if self._begun and not any(sign in block for sign in _SIGNS):
            return []
        fresh: list[Minted] = []
        for frame in split_frames(block):
            if not self._begun or any(sign in frame for sign in _SIGNS):
                fresh += self._frame(frame)
        return fresh

    def finish(self) -> list[Minted]:
        items, self._items = list(self._items.values()), {}
        return items if self._stored else [item._replace(stored=False) for item in items]

    def _frame(self, frame: bytes) -> list[Minted]:
        event = _decoded(data_of(frame))
        if not isinstance(event, dict):
            return []
        response, item = event.get("response"), event.get("item")
        if isinstance(response, dict):
            self._begun = True
            self._stored = response.get("store") is not False
            found = self._fresh(_of_answer(response, "response", self._lasting))
            return found + self.finish() if str(event.get("type")).encode() in _ENDS else found
        if isinstance(item, dict):
            for each in _of_item(item, self._lasting):
                if (each.kind, each.id) not in self._seen and len(self._items) < MOST:
                    self._items[each.kind, each.id] = each
            return []
        # A stream of chunks: each has the id of the whole (Azure's first has an empty one, recording 17).
        found = self._fresh(_of_answer(event, None, self._lasting))
        self._begun = self._begun or bool(found)
        return found

    def _fresh(self, found: Iterator[Minted]) -> list[Minted]:
        new = [each for each in _once(found) if (each.kind, each.id) not in self._seen]
        for each in new:
            self._seen.add((each.kind, each.id))
            self._items.pop((each.kind, each.id), None)
        return new


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _once(found: Iterator[Minted]) -> list[Minted]:
    by_id: dict[tuple[str, str], Minted] = {}
    for each in found:
        if len(by_id) < MOST:
            by_id.setdefault((each.kind, each.id), each)
    return list(by_id.values())


def _of_answer(top: dict[str, Any], otherwise: str | None, lasting: bool) -> Iterator[Minted]:
    # `store: false` (recording 13): the ids come, and nothing is kept under them.
    is_stored = top.get("store") is not False
    for each in _all_of_answer(top, otherwise, lasting):
        yield each if is_stored else each._replace(stored=False)


def _all_of_answer(top: dict[str, Any], otherwise: str | None, lasting: bool) -> Iterator[Minted]:
    kind = OBJECTS.get(str(top.get("object"))) if "object" in top else otherwise
    if kind is not None:
        yield from _one(kind, top.get("id"), top.get("expires_at"))
    lasting = lasting or _named(top.get("conversation"))
    for item in _objects(top.get("output")):
        yield from _of_item(item, lasting)
    if top.get("object") == "list":  # of items, as POST conversations/…/items answers
        for item in _objects(top.get("data")):
            if "object" not in item:
                yield from _of_item(item, lasting=True)
    if kind in ("batch", "upload"):  # they end in files that the provider made
        for name in ("output_file_id", "error_file_id"):
            yield from _one("file", top.get(name))
        file = top.get("file")
        if isinstance(file, dict):
            yield from _one("file", file.get("id"), file.get("expires_at"))
    for choice in _objects(top.get("choices")):
        for part in (choice.get("message"), choice.get("delta")):
            audio = part.get("audio") if isinstance(part, dict) else None
            if isinstance(audio, dict):
                yield from _one("audio", audio.get("id"), audio.get("expires_at"))


def _of_item(item: dict[str, Any], lasting: bool) -> Iterator[Minted]:
    yield from _one("item", item.get("id"), lasting=lasting)
    if item.get("type") == "code_interpreter_call":  # the container may be one that the call made
        yield from _one("container", item.get("container_id"))
    for part in _objects(item.get("content")):
        for note in _objects(part.get("annotations")):
            if note.get("type") == "container_file_citation":
                yield from _one("container_file", note.get("file_id"))


def _one(kind: str, id: Any, expires_at: Any = None, *, lasting: bool = False) -> Iterator[Minted]:
    if not isinstance(id, str) or not is_id(id):
        return
    moment = None
    if isinstance(expires_at, int | float) and 0 < expires_at < 1 << 36:
        moment = datetime.fromtimestamp(expires_at, UTC)
    yield Minted(kind, id, moment, lasting)


def _named(conversation: Any) -> bool:
    return isinstance(conversation, str | dict) and bool(conversation)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
