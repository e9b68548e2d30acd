"""Where the fuzzers begin: a good example or two of what each target reads, and the words that such bytes are made of."""

from __future__ import annotations

import orjson

from tests.proxy.ingress.cases import COMPLETIONS, EVERY, REFUSAL, RESPONSES, USAGE_CHUNK

_CHAT = (
    b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}\n\n: ping\r\n\r\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}\n\ndata: [DONE]\n\n'
)
_STREAMS = {
    "chat": _CHAT,
    "responses": b"".join(RESPONSES.stream),
    "completions": b"".join([*COMPLETIONS.stream[:-1], USAGE_CHUNK, COMPLETIONS.stream[-1]]),
}
_ASK = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}], "stream_options": {"include_usage": False}, "n": 2, "max_tokens": 5},
    "completions": {"stream_options": {"include_usage": True}, "best_of": 3, "user": "ada"},
    "responses": {"tools": [{"type": "web_search"}], "previous_response_id": "resp_1", "background": False, "store": None},
    "embeddings": {"encoding_format": "base64", "service_tier": "auto"},
    "moderations": {},
}  # fmt: skip
_HEAD = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
_REFERRING = orjson.dumps({
    "input": [{"type": "item_reference", "id": "msg_1"}, {"id": "rs_1", "type": "reasoning", "encrypted_content": "x"},
              {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}],
    "conversation": {"id": "conv_1"}, "prompt": {"id": "pmpt_1", "variables": {"a": "b"}}, "tools": [{"vector_store_ids": ["vs_1"]}],
})  # fmt: skip
_ERROR = REFUSAL.replace(b"fake-provider-key-0123456789", b"KEY")
_CUTS = (b"\x00", b"\x01\x00\x40", b"\x03\x00\x05\x00\x31\x01\x09")


def _asks(surface: str) -> list[bytes]:
    case = EVERY.get(surface)
    body = {"model": "m", **(case.ask if case else {}), **_ASK[surface], "usage": {"include": True}}
    return [orjson.dumps(body), orjson.dumps({**body, "stream": True})]


SEEDS: dict[str, list[bytes]] = {
    "sse": [places + stream for places in _CUTS for stream in _STREAMS.values()],
    **{f"meter-{surface}": [places + stream for places in _CUTS] for surface, stream in _STREAMS.items()},
    **{f"body-{surface}": _asks(surface) for surface in _ASK},
    "objects": [_REFERRING, RESPONSES.body, *(_CUTS[0] + stream for stream in _STREAMS.values())],
    "head": [_HEAD],
    "usage": [
        *(case.body for case in EVERY.values()),
        b'{"x_groq":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}',
        b'{"choices":[{"message":{"executed_tools":[{"type":"search"}]}}],"usage":{"prompt_tokens":3,"completion_tokens":4},'
        b'"usage_breakdown":{"models":[{"model":"a","usage":{"prompt_tokens":1,"completion_tokens":2}}]}}',
        b'{"data":[{}],"size":"1x1","quality":"high","usage":{"input_tokens":3,"output_tokens":4},"svg_usage":{"model":"a"}}',
        b'{"usage":{"type":"duration","seconds":3.7},"duration":3.7}',
        b'{"usage_info":{"pages_processed":2},"document_annotation":"a"}',
    ],
    "native": [
        b'{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_creation_input_tokens":5,"output_tokens":1,'
        b'"cache_creation":{"ephemeral_1h_input_tokens":5}}}}\n{"type":"message_delta","usage":{"output_tokens":4,"iterations":'
        b'[{"type":"fallback_message","model":"a","input_tokens":1,"output_tokens":2}]}}',
        b'{"candidates":[{"groundingMetadata":{"webSearchQueries":["a"]},"finishReason":"STOP"}],"modelVersion":"gemini-3",'
        b'"usageMetadata":{"promptTokenCount":9,"cachedContentTokenCount":4,"promptTokensDetails":[{"modality":"AUDIO",'
        b'"tokenCount":7}],"thoughtsTokenCount":3}}',
        b'{"role":"assistant"}\n{"usage":{"inputTokens":3,"outputTokens":4,"cacheWriteInputTokens":5,"cacheDetails":'
        b'[{"ttl":"1h","inputTokens":2}]},"serviceTier":{"type":"flex"}}',
        b'{"delta":{"usage":{"billed_units":{"input_tokens":3,"search_units":1.0}}}}\n[DONE]',
        b'{"done":true,"prompt_eval_count":3,"eval_count":4}',
    ],
    "errors": [
        _ERROR,
        b'{"a":"KEY","a":"b"}',
        b"[" * 300 + b'"KEY"' + b"]" * 300,
        b"<html>KEY org-A1b2C3d4E5f6</html>",
    ],
}
WORDS = [
    b"\n\n", b"\r\n\r\n", b"\r", b"\n", b"data: ", b"event: ", b"event:error", b"[DONE]", b": ", b'"usage"', b'"error"', b'"response"',
    b'"type"', b'"response.completed"', b'"response.output_item.done"', b'"completion_tokens"', b'"output_tokens"', b'"prompt_tokens"',
    b'"message"', b'"usageMetadata"', b'"inputTokens"', b'"billed_units"',
    b'"finish_reason"', b'"id"', b'"file_id"', b'"model"', b'"stream"', b'"stream_options"', b'"include_usage"', b'"input"', b"\\u0065",
    b"\\ud800", b"null", b"true", b"-1", b"1e400", b"9" * 30, b"{", b"}", b"[", b"]", b'"', b",", b"\xff", b"KEY", b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n", b"\x00",
]  # fmt: skip
