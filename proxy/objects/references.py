"""The provider objects that a request's body refers to (pure).

Three rules, each from the OpenAPI document of OpenAI: a field that names objects (`file_id`, `vector_store_ids`, `prompt.id`);
an item of `input` or `items` that has an id; and, for fields that nobody here has heard of yet, a string of an id's shape
where no free text belongs. A body is read with every key that it has, also those given twice, in any case and with
escapes undone: whichever of them a provider reads was looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from proxy.objects.kinds import shaped
from proxy.wire.refusals import Reason, Refused

MOST = 10_000  # an agent's long history has some thousand items

# Field → kind of the id that it holds: as a string, as strings in an array, or as `id` of an object.
FIELDS = {
    "previous_response_id": "response", "response_id": "response", "conversation": "conversation",
    "file_id": "file", "file_ids": "file", "input_file_id": "file", "output_file_id": "file", "error_file_id": "file",
    "training_file": "file", "validation_file": "file", "vector_store_id": "vector_store",
    "vector_store_ids": "vector_store", "container": "container", "container_id": "container", "batch_id": "batch",
    "upload_id": "upload", "video_id": "video", "assistant_id": "assistant", "thread_id": "thread", "eval_id": "eval",
    # A tunnel leads into somebody's own network (Responses, tools of type mcp).
    "tunnel_id": "tunnel",
}  # fmt: skip
# Only as `id` of an object: their strings are text (`prompt` of completions and images), formats or names.
OBJECTS = {"prompt": "prompt", "audio": "audio", "video": "video"}
# Values in which no provider looks for an id: the client's own words, and JSON Schema.
OPAQUE = frozenset(["metadata", "parameters", "schema", "input_schema", "headers"])
# Strings that may be anything, an id's look included.
TEXT = frozenset([
    "text", "content", "arguments", "output", "input", "instructions", "prompt", "suffix", "name", "title", "description", "user",
    "safety_identifier", "prompt_cache_key", "query", "queries", "stop", "code", "data", "result", "refusal", "model",
    "filename", "url", "custom_id",
])  # fmt: skip

# Keys that end like names of objects and are none: the ends of calls inside the same body.
HARMLESS = frozenset(["tool_call_id", "call_id", "caller_id", "item_id", "user_id", "session_id", "trace_id"])
_ID_KEY = re.compile(rb'_(?:ids?|file)"')
# Escaped letters, digits, - and _; and, escaped or not, the two letters beyond ASCII that fold to s and k.
_HIDDEN = re.compile(rb"\\u(?:00(?:2d|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])|017f|212a)")
_FOLDING = (b"\xc5\xbf", b"\xe2\x84\xaa")


class Reference(NamedTuple):
    """`param`: where it stands, as in OpenAI's errors. `inline`: an item that brings its content along; its id then need not
    be known to anyone, but must not be another's.
    """

    kind: str
    id: str
    param: str
    inline: bool = False


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its keys."""


class _Path(NamedTuple):
    """Joined only where there is something to say."""

    parent: _Path | None
    step: str | int

    def __str__(self) -> str:
        steps: list[str] = []
        at: _Path | None = self
        while at is not None:
            steps.append(f"[{at.step}]" if isinstance(at.step, int) else f".{at.step}")
            at = at.parent
        return "".join(reversed(steps)).removeprefix(".")[:200]


_decode = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str, strict=False
).decode


def references(raw: bytes, *, items: bool) -> list[Reference]:
    """Each reference once. `items`: the surface takes items with ids of their own, and objects by more than an id field:
    responses, conversations, videos, realtime; not chat, completions, embeddings, files, batches, vector stores.

    Without `items` a body without any sign of a reference is not decoded (about 2 ns per byte).
    Raises `Refused`: no JSON, too deep, too many.
    """
    if not items and not may_refer(raw):
        return []
    try:
        top = _decode(raw.decode())
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise Refused(Reason.BAD_JSON, "The body is not valid JSON, or is nested too deeply.") from None
    found: dict[tuple[str, str, bool], Reference] = {}
    for reference in _walk(top, items):
        found.setdefault((reference.kind, reference.id, reference.inline), reference)
        if len(found) > MOST:
            raise _too_many()
    return list(found.values())


def line_references(jsonl: bytes) -> list[Reference]:
    """What the requests in a batch's input file refer to: the provider will run each of them. Raises as `references`."""
    found: dict[tuple[str, str, bool], Reference] = {}
    for line in jsonl.splitlines():
        if line.strip():
            for reference in references(line, items=True):
                found.setdefault((reference.kind, reference.id, reference.inline), reference)
            if len(found) > MOST:
                raise _too_many()
    return list(found.values())


def _too_many() -> Refused:
    return Refused(Reason.BAD_VALUE, f"The body refers to more than {MOST} objects of the provider.")


def may_refer(raw: bytes) -> bool:
    """Whether some key looks like one that names an object, or hides from this look. Text in strings cannot: its quotes are
    escaped.
    """
    lower = raw.lower()
    if lower.isascii() and lower.find(b"_id") < 0 and lower.find(b"_file") < 0 and lower.find(b"\\u") < 0:
        return lower.find(b'"audio"') >= 0  # what most bodies are decided by, in a tenth of the time
    if b'"audio"' in lower or _HIDDEN.search(lower) is not None:
        return True
    if not raw.isascii() and any(letter in raw for letter in _FOLDING):
        return True
    for match in _ID_KEY.finditer(lower):
        start = lower.rfind(b'"', 0, match.start()) + 1
        if lower[start : match.end() - 1].decode("latin-1") not in HARMLESS:
            return True
    return False


def _walk(top: Any, items: bool) -> Iterator[Reference]:
    stack: list[tuple[Any, _Path | None]] = [(top, None)] if isinstance(top, list) else []
    while stack:
        node, path = stack.pop()
        if not isinstance(node, _Object):
            stack += [(inner, _Path(path, index)) for index, inner in enumerate(node) if isinstance(inner, list)]
            continue
        for key, value in node:
            name = key.casefold()
            if name in OPAQUE:
                continue
            here = _Path(path, key)
            yield from _named(name, value, here)
            if isinstance(value, list):
                stack.append((value, here))
                if items and _is_body(path) and name in ("input", "items") and not isinstance(value, _Object):
                    yield from _items(value, here)


def _is_body(path: _Path | None) -> bool:
    """The top of a request, or of one inside a line of a batch."""
    return path is None or (path.parent is None and path.step == "body")


def _named(name: str, value: Any, here: _Path) -> Iterator[Reference]:
    """What one field refers to, by its name or by the look of its strings."""
    kind = FIELDS.get(name)
    if isinstance(value, _Object):
        kind = kind or OBJECTS.get(name)
        if name == "variables":  # of a stored prompt: its strings are text, whatever their names are
            value[:] = [(key, inner) for key, inner in value if not isinstance(inner, str)]
        if kind is not None:
            for key, inner in value:
                if key.casefold() == "id" and isinstance(inner, str):
                    yield Reference(kind, inner, f"{here}.{key}")
        return
    for text in (value,) if isinstance(value, str) else value if isinstance(value, list) else ():
        if isinstance(text, str):
            look = shaped(text) if kind is not None or name not in TEXT else None
            if kind == "file" and look == "container_file":
                kind = look
            if kind is not None or look is not None:
                yield Reference(kind or look or "", text, str(here))


def _items(items: list[Any], path: _Path) -> Iterator[Reference]:
    """Those of arrays inside too: no provider documents them, and some may read them."""
    arrays = [(items, path)]
    while arrays:
        inside, at = arrays.pop()
        for index, item in enumerate(inside):
            if isinstance(item, _Object):
                yield from _item(item, _Path(at, index))
            elif isinstance(item, list):
                arrays.append((item, _Path(at, index)))


def _item(item: _Object, path: _Path) -> Iterator[Reference]:
    ids = [value for key, value in item if key.casefold() == "id" and isinstance(value, str)]
    if ids:
        is_inline = _is_inline(item)
        yield from (Reference("item", id, f"{path}.id", is_inline) for id in ids)


def _is_inline(item: _Object) -> bool:
    """Whether the item says all of itself. An `item_reference` is nothing but its id, and so is a bare id (its type may be
    null); reasoning is loaded by its id unless its content is there; so is a generated image that is sent back.
    """
    values: dict[str, list[Any]] = {}
    for key, value in item:
        values.setdefault(key.casefold(), []).append(value)

    def has(name: str) -> bool:
        return all(values.get(name, [None]))

    types = values.get("type", [None])
    if None in types:
        return has("role") and has("content")
    if "item_reference" in types:
        return False
    if "reasoning" in types or "compaction" in types:
        return has("encrypted_content") or has("content")
    return "image_generation_call" not in types or has("result")
