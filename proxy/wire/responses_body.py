"""Reads what the gateway needs of a Responses body (`POST /v1/responses`), without decoding its items.

Which objects at the provider it names, here and deeper inside, is found by proxy/objects.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from proxy.wire import body_fields as body
from proxy.wire.body_fields import BodyFields

FIELDS = (
    "model", "input", "stream", "background", "store", "max_output_tokens", "max_tool_calls", "tools",
    "previous_response_id", "conversation", "prompt", "service_tier", "user", *body.GATEWAY_FIELDS,
)  # fmt: skip
MAX_ID_CHARS = 512
MAX_TOOL_CALLS = 2**31 - 1
_FIELDS = frozenset(FIELDS)
_EXAMPLE = '{"model": "…", "input": "…"}'
# Run by the client, so that nobody charges for their use (openai 3.57, types/responses/tool_param.py). Whatever else there
# is, or will be, is run by the provider.
LOCAL_TOOLS = frozenset(
    ["function", "custom", "namespace", "local_shell", "apply_patch", "computer", "computer_use", "computer_use_preview"]
)


class _Tool(msgspec.Struct):
    type: Any = None


_tools = msgspec.json.Decoder(list[_Tool])


class ResponsesFields(BodyFields):
    """`hosted_tools`: types of tools that the provider runs, each once: their cost has no bound.

    `background`: the answer may come before the response is done (metering/reading.py: `pending`).
    """

    background: bool = False
    store: bool = True
    max_tool_calls: int | None = None
    hosted_tools: tuple[str, ...] = ()
    refers: bool = False  # to an earlier response, a conversation, a stored prompt: the model reads more than the body


def read_responses_body(raw: bytes) -> ResponsesFields:
    """Raises `Refused` (BAD_JSON, BAD_VALUE) with the field's name and what is allowed."""
    values = body.decode_body(raw, _FIELDS, _EXAMPLE)
    present = tuple([name for name in FIELDS if name in values])
    fields = ResponsesFields(model=body.model_name(values), stream=body.flag(values, "stream"), read_fields=present)
    _check_input(values)
    fields.background = body.flag(values, "background")
    fields.store = body.bytes_of(values, "store") == body.NULL or body.flag(values, "store")
    fields.max_output = body.integer(values, "max_output_tokens", 1, body.MAX_OUTPUT_TOKENS)
    fields.max_tool_calls = body.integer(values, "max_tool_calls", 0, MAX_TOOL_CALLS)
    fields.hosted_tools = _hosted_tools(values)
    fields.refers = _refers(values)
    fields.service_tier = body.string(values, "service_tier", body.MAX_TIER_CHARS)
    fields.user = body.string(values, "user", body.MAX_USER_CHARS)
    body.read_extensions(fields, values)
    fields.model_span = body.model_span(raw, values)
    return fields


def _check_input(values: dict[str, Raw]) -> None:
    """May be absent beside a stored prompt or an earlier response: what is enough, the provider knows."""
    value = memoryview(values.get("input", Raw(body.NULL)))
    if value != body.NULL and value[0] not in b'"[':
        raise body.bad("input", "must be a string or an array of items")


def _hosted_tools(values: dict[str, Raw]) -> tuple[str, ...]:
    value = values.get("tools")
    if value is None or memoryview(value) == body.NULL:
        return ()
    try:
        found = {str(tool.type) for tool in _tools.decode(value)}
    except msgspec.ValidationError:
        raise body.bad("tools", "must be an array of objects") from None
    return tuple(sorted(found - LOCAL_TOOLS))


def _refers(values: dict[str, Raw]) -> bool:
    previous = body.string(values, "previous_response_id", MAX_ID_CHARS)
    conversation = body.bytes_of(values, "conversation")
    if conversation[:1] not in (b'"', b"{", b"n"):
        raise body.bad("conversation", "must be the id of a conversation, or an object with it")
    prompt = body.object_of(values, "prompt")
    return previous is not None or conversation != body.NULL or bool(prompt)
