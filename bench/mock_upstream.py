"""A provider that answers at once: the cheapest correct bytes, so that what is measured is the proxy.

Run as a process: `python -m bench.mock_upstream PORT [CERT KEY]`. The body decides: `"stream":true` gives 50 events at once, a
write each as a real provider's (asyncio's own loop sends each as it comes; uvloop would join them), the model `joined` the
same in one write, `paced` 100 events 20 ms apart, `held` one and then silence, anything else one JSON body. GET /stats tells
what was sent.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import cast

CHUNKS = 50
PACED_CHUNKS = 100
PACED_S = 0.02
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": CHUNKS,
    "total_tokens": 20 + CHUNKS,
    "prompt_tokens_details": {"cached_tokens": 0},
}


def chunk(content: str, usage: object = None, *, choices: bool = True) -> bytes:
    delta = [{"index": 0, "delta": {"content": content}, "finish_reason": None}] if choices else []
    body = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "bench",
        "choices": delta,
        "usage": usage,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_JSON = json.dumps(
    {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1, "model": "bench",
     "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello " * 20}, "finish_reason": "stop"}], "usage": USAGE},
    separators=(",", ":"),
).encode()  # fmt: skip
_SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-request-id: req_bench\r\n\r\n"
_TAIL = framed(chunk("", USAGE, choices=False) + b"data: [DONE]\n\n") + b"0\r\n\r\n"
WHOLE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: %d\r\n\r\n%b"
    % (len(_JSON), _JSON)
)
BURST = [_SSE_HEAD, *(framed(chunk(f"word{i} ")) for i in range(CHUNKS)), _TAIL]
PACED = framed(chunk("word "))


def whole(body: dict[str, object]) -> bytes:
    text = json.dumps(body, separators=(",", ":")).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: %d\r\n\r\n%b"
    return head % (len(text), text)


def event(name: str, **fields: object) -> bytes:
    text = json.dumps({"type": name, **fields}, separators=(",", ":"))
    return framed(f"event: {name}\ndata: {text}\n\n".encode())


_RESPONSE: dict[str, object] = {
    "id": "resp_bench", "object": "response", "status": "completed", "model": "bench", "store": False,
    "output": [{"id": "msg_bench", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello " * 20}]}],
    "usage": {
        "input_tokens": 20, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": CHUNKS,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 20 + CHUNKS,
    },
}  # fmt: skip
_PLAIN_USAGE = {"prompt_tokens": 20, "total_tokens": 20}
# By the end of the path.
OTHERS = {
    b"/embeddings": whole(
        {"object": "list", "model": "bench", "data": [{"index": 0, "embedding": "AAAA" * 2048}], "usage": _PLAIN_USAGE}
    ),
    b"/moderations": whole({"id": "modr-bench", "model": "bench", "results": [{"flagged": False}]}),
    b"/responses": whole(_RESPONSE),
}  # fmt: skip
RESPONSES_STREAM = [
    _SSE_HEAD,
    event("response.created", response=_RESPONSE | {"status": "in_progress", "output": [], "usage": None}, sequence_number=0),
    *(event("response.output_text.delta", delta=f"word{i} ", sequence_number=i + 1) for i in range(CHUNKS)),
    event("response.completed", response=_RESPONSE, sequence_number=CHUNKS + 1) + b"0\r\n\r\n",
]


class Upstream(asyncio.Protocol):
    stats = {"requests": 0, "chunks": 0}

    def __init__(self) -> None:
        self.buffer = b""
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        assert self.transport is not None
        if head.startswith(b"get /stats"):
            text = json.dumps(self.stats).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))
            return
        self.stats["requests"] += 1
        path = head.split(b" ", 2)[1]
        streams = b'"stream":true' in body
        if path.endswith(b"/responses") and streams:
            for piece in RESPONSES_STREAM:
                self.transport.write(piece)
        elif not streams:
            self.transport.write(OTHERS.get(path[path.rfind(b"/") :], WHOLE))
        elif b'"held"' in body:
            self.transport.write(_SSE_HEAD + PACED)  # and nothing more
        elif b'"paced"' in body:
            self.transport.write(_SSE_HEAD)
            self.pace(PACED_CHUNKS)
        else:
            for piece in [b"".join(BURST)] if b'"joined"' in body else BURST:
                self.transport.write(piece)

    def pace(self, left: int) -> None:
        assert self.transport is not None
        if self.transport.is_closing():
            return
        if left == 0:
            self.transport.write(_TAIL)
            return
        self.stats["chunks"] += 1
        self.transport.write(PACED)
        asyncio.get_running_loop().call_later(PACED_S, self.pace, left - 1)


async def main(port: int, tls: ssl.SSLContext | None) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, ssl=tls, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
    asyncio.run(main(int(sys.argv[1]), context))
