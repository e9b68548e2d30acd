"""`synapscale chat`: one question to an llm, streamed, through the gateway like any client."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from proxy.cli.client import Connection, refused, unreachable, virtual_key_needed
from proxy.cli.fault import USAGE, Fault
from proxy.cli.options import DEFAULT_DATA_DIR, CaFile, DataDir, Json, Url
from proxy.cli.output import show_json, talk
from proxy.cli.where import gateway, virtual_key

PATH = "/v1/chat/completions"
MAX_LINE = 16 * 1024 * 1024


class Answer(NamedTuple):
    text: str
    usage: dict[str, Any]
    elapsed_ms: int
    request_id: str | None


def chat(
    llm: Annotated[str, typer.Argument(help="Name of the llm, for example synapscale/echo.")],
    text: Annotated[str | None, typer.Argument(help="What to say. Default: read from a pipe.")] = None,
    url: Url = None, ca_file: CaFile = None, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False,
) -> None:
    """Say something to an llm and stream its answer; tokens, cost and request id go to stderr.

    The key is a virtual key: SYNAPSCALE_API_KEY, else <data-dir>/first-key.
    """
    if text is None:
        if sys.stdin.isatty():
            raise Fault("Nothing to say.", next_step=f'synapscale chat {llm} "Hello"', code=USAGE)
        text = sys.stdin.read()
    connection = Connection(gateway(url, ca_file, data_dir), virtual_key(data_dir))
    try:
        answer = ask(connection, llm, text, data_dir, quiet=as_json)
    finally:
        connection.close()
    if as_json:
        show_json({
            "llm": llm, "text": answer.text, "usage": answer.usage, "latency_ms": answer.elapsed_ms,
            "request_id": answer.request_id,
        })
    else:
        talk(summary(answer))


def ask(connection: Connection, llm: str, text: str, data_dir: Path, *, quiet: bool) -> Answer:
    body = {
        "model": llm, "messages": [{"role": "user", "content": text}], "stream": True,
        "stream_options": {"include_usage": True}, "usage": {"include": True},
    }
    began = time.monotonic()
    reply = connection.send("POST", PATH, body, {"Accept": "text/event-stream"})
    request_id = reply.headers.get("x-request-id")
    if reply.status != 200:
        raise refused(reply, reply.read(), sign_in=virtual_key_needed(data_dir))
    said: list[str] = []
    usage: dict[str, Any] = {}
    try:
        for event in events(reply):
            if "error" in event:
                raise _broken(event["error"], request_id)
            usage = event.get("usage") or usage
            for choice in event.get("choices") or ():
                piece = (choice.get("delta") or {}).get("content")
                if piece:
                    said.append(piece)
                    if not quiet:
                        sys.stdout.write(piece)
                        sys.stdout.flush()
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(connection.base, error) from None
    finally:
        if said and not quiet:
            print(flush=True)
    return Answer("".join(said), usage, round((time.monotonic() - began) * 1000), request_id)


def events(reply: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream up to `[DONE]`. A stream without it was cut off, and is told so."""
    for line in reply:
        if len(line) > MAX_LINE:
            raise Fault("The answer holds a line that is too long.")
        data = line.strip()
        if not data.startswith(b"data:"):
            continue
        data = data[5:].strip()
        if data == b"[DONE]":
            return
        event = json.loads(data, parse_float=str)  # a cost stays the decimal text that it is
        if isinstance(event, dict):
            yield event
    raise Fault("The answer was cut off before its end.", next_step="the same again, or synapscale requests list")


def summary(answer: Answer) -> str:
    """`1,203 in · 88 out · $0.000412 · 812 ms · req_…`; what is not known is left out."""
    parts = []
    for field, word in (("prompt_tokens", "in"), ("completion_tokens", "out")):
        if isinstance(answer.usage.get(field), int):
            parts.append(f"{answer.usage[field]:,} {word}")
    if answer.usage.get("cost") is not None:
        parts.append(f"${answer.usage['cost']}")
    parts.append(f"{answer.elapsed_ms:,} ms")
    if answer.request_id:
        parts.append(answer.request_id)
    return " · ".join(parts)


def _broken(error: Any, request_id: str | None) -> Fault:
    message = error.get("message") if isinstance(error, dict) else error
    return Fault(f"The answer broke off: {message}", request_id=request_id)
