"""A provider that repeats keys in whatever it says, and requests that carry secrets where they should not be."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import orjson

from tests.promises.canaries import ADMIN_KEY, ANSWER, GLOBAL_KEY, LITERAL_KEY, OWN_KEY, PROMPT
from tests.promises.provider import PRICE
from tests.upstream.script import Close, Script, Wait, chunked, raw, whole
from tests.upstream.server import Recorded

# What the provider does, by the model's name.
MODELS = (
    "answers", "streams", "no-usage", "paced", "error-401", "error-429", "error-text", "error-torn", "error-html",
    "error-in-stream", "error-in-body", "error-gzip", "redirect", "cuts", "breaks",
)  # fmt: skip
JSON = [("content-type", "application/json")]
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def answer(request: Recorded) -> Script:
    key = (request.header("authorization") or "").removeprefix("Bearer ")
    said = {"message": f"Incorrect API key provided: {key}. (org-abc1234567)", "type": "auth", "code": "invalid_api_key"}
    error = orjson.dumps({"error": said, "request": {"headers": {"Authorization": f"Bearer {key}"}}})
    frame = b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": {"content": ANSWER}}]}) + b"\n\n"
    usage = b"data: " + orjson.dumps({"choices": [], "usage": USAGE}) + b"\n\n"
    done = b"data: [DONE]\n\n"
    message = {"choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}}], "usage": USAGE}
    match request.json()["model"]:
        case "answers":
            return whole(orjson.dumps(message))
        case "streams":
            return chunked([frame, usage, done], piece=7)
        case "no-usage":
            return chunked([frame, frame, done])
        case "paced":
            return chunked([frame] * 20 + [usage, done], gap_s=0.1)
        case "error-401":
            return whole(error, status=401, headers=[*JSON, ("www-authenticate", key)])
        case "error-429":
            return whole(error, status=429, headers=[*JSON, ("retry-after", "1")])
        case "error-text":
            return whole(f"no access for {key}".encode(), status=403, headers=[("content-type", "text/plain")])
        case "error-torn":
            return whole(error[:-20], status=400)
        case "error-html":
            return whole(f"<html>{key}</html>".encode(), status=502, headers=[("content-type", "text/html")])
        case "error-in-stream":
            return chunked([frame, b"data: " + error + b"\n\n", done])
        case "error-in-body":
            return whole(error)
        case "error-gzip":
            return whole(gzip.compress(error), status=401, headers=[*JSON, ("content-encoding", "gzip")])
        case "redirect":
            return whole(b"", status=307, headers=[("location", f"http://127.0.0.1:9/{key}")])
        case "cuts":
            return chunked([frame], tail=[Close()])
        case _:
            return raw(f"HTTP/1.1 2OO {key}\r\n".encode(), Wait(0.05), Close())


def config(base_url: str) -> str:
    lines = ["providers:"]
    lines.append(f'  scripted: {{dialect: openai, base_url: "{base_url}", api_key: "${{SCRIPTED_API_KEY}}"}}')
    lines.append("llms:")
    lines += [f"  - {{name: {name}, routes: [{{provider: scripted, model: {name}}}], {PRICE}}}" for name in MODELS]
    return "\n".join(lines) + "\n"


def body(model: str, stream: bool) -> bytes:
    """The prompt in every field that takes a text."""
    return orjson.dumps({
        "model": model, "stream": stream, "stop": [PROMPT], "metadata": {"about": PROMPT},
        "messages": [
            {"role": "system", "content": PROMPT},
            {"role": "user", "content": [{"type": "text", "text": PROMPT}], "name": "somebody"},
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": PROMPT}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": PROMPT}}],
    })  # fmt: skip


def post(key: str, data: bytes, *, path: str = "/v1/chat/completions", extra: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: house\r\nauthorization: Bearer {key}\r\nconnection: close\r\n{extra}"
    return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data


def odd_requests(key: str) -> Iterator[tuple[str, bytes]]:
    """Secrets where they should not be: each is refused, and none may be repeated."""
    good = body("answers", False)
    end = b"host: house\r\nconnection: close\r\n\r\n"
    for secret in (key, LITERAL_KEY, ADMIN_KEY, GLOBAL_KEY, OWN_KEY):
        yield "wrong bearer", post(secret + "x", good)
        yield "other header", post(key, good, extra=f"x-api-key: {secret}y\r\n")
        yield "basic", f"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Basic {secret}\r\n".encode() + end
        yield "header without a colon", f"GET /v1/models HTTP/1.1\r\nAuthorization {secret}\r\n".encode() + end
        yield "header with NUL", f"GET /v1/models HTTP/1.1\r\nx-key: {secret}\0\r\n".encode() + end
        yield "header name", f"GET /v1/models HTTP/1.1\r\n{secret} : 1\r\n".encode() + end
        yield "request line", f"{secret}\r\n".encode() + end
        yield "method", f"{secret} /v1/models HTTP/1.1\r\n".encode() + end
        yield "version", f"GET /v1/models HTTP/{secret}\r\n".encode() + end
        yield "api header", f"GET /api/v1/workspaces HTTP/1.1\r\nauthorization: Bearer {secret}z\r\n".encode() + end
        yield "api body", post(ADMIN_KEY, orjson.dumps({"value": [secret]}), path="/api/v1/user-variables")
        yield "api not JSON", post(ADMIN_KEY, f'{{"value": "{secret}"'.encode(), path="/api/v1/user-variables")
        yield "api idempotency", post(ADMIN_KEY, b"{}", path="/api/v1/workspaces", extra=f"idempotency-key: {secret}\x01\r\n")
    yield "not JSON", post(key, good[:-9])
    yield "wrong types", post(key, orjson.dumps({"model": "answers", "messages": PROMPT, "stream": PROMPT}))
    yield "no such llm", post(key, body("no-such-llm", False))
    yield "two fields", post(key, good[:-1] + b',"model":"answers"}')
    yield "compressed", post(key, good, extra="content-encoding: gzip\r\n")
    yield "other path", post(key, good, path="/chat/completions")
    yield "short body", post(key, good, extra="").replace(b"content-length: ", b"content-length: 9")
