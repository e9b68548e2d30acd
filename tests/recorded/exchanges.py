"""Recorded exchanges with real providers: those of WIRE_DIR and those of the fetched cassettes, as bytes.

Which provider answered in which dialect is told by address; where a suite has redacted it, by who publishes it and the
names in the request. An exchange that is no model's answer says why (`other`): none is left out in silence.
"""

from __future__ import annotations

import base64
import email.utils
import functools
import gzip
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from tests.recorded import fetch
from tests.wire.recordings import WIRE_DIR, available, load

# Host, also as the end of one → provider, as the price sources call it.
_HOSTS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "amazonaws.com": "aws",
    "api.mistral.ai": "mistral",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together",
    "api.cohere.com": "cohere",
    "api.z.ai": "zai",
}
# Behind a router on the recorder's own machine (mirascope), or redacted (langchain, dd-trace).
_ROUTED = re.compile(r"/router/v2/(openai|anthropic|google)/")
_SURFACES = (
    (re.compile(r"/chat/completions$"), "chat"),
    (re.compile(r"/completions$"), "completions"),
    (re.compile(r"/responses$"), "responses"),
    (re.compile(r"/embeddings$"), "embeddings"),
    (re.compile(r"/v1/messages$"), "anthropic"),
    (re.compile(r":(?:generateContent|streamGenerateContent)$"), "gemini"),
    (re.compile(r"/converse(?:-stream)?$"), "converse"),
    # InvokeModel speaks the dialect of each model. Where counts are only in headers, or under names of that model's own, none.
    (re.compile(r"/model/[^/]*anthropic\.claude-[^v/][^/]*/invoke(?:-with-response-stream)?$"), "anthropic"),
    (re.compile(r"/v[12]/(?:chat|generate|embed|rerank)$"), "cohere"),
    (re.compile(r"/api/(?:chat|generate)$"), "ollama"),
    (re.compile(r"/images/generations$"), "images"),
    (re.compile(r"/model/[^/]*amazon\.nova[^/]*/invoke(?:-with-response-stream)?$"), "converse"),
)
# Of a model's provider, but nothing that this gateway meters.
_NOT_METERED = (
    (re.compile(r"/v1/(?:threads|assistants)(?:/|$)"), "the Assistants API, which has no surface here"),
    (re.compile(r"/v1/complete$"), "Anthropic's text completions, which report no usage"),
    (re.compile(r"/invoke(?:-with-response-stream)?$"), "InvokeModel with a model's own dialect"),
    (re.compile(r"/api/embeddings$"), "Ollama's own embeddings, which report no usage"),
)
_OWN = ("localhost", "127.0.0.1")
_OPENAI_SHAPED = frozenset(["chat", "completions", "responses", "embeddings"])
# Recordings of WIRE_DIR without an address, or (32) with that of a provider whose bytes they are not.
_WIRE = {
    16: ("openai", "responses"),
    17: ("azure", "chat"),
    32: ("openrouter", "chat"),
    39: ("anthropic", "anthropic"),
}
UNDATED = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Exchange:
    """`provider` and `dialect` "" where `other` says what this is instead of a model's answer."""

    source: str
    name: str
    url: str
    status: int
    headers: dict[str, str]
    request: bytes
    body: bytes
    provider: str
    dialect: str
    other: str = ""

    @property
    def is_stream(self) -> bool:
        """By the bytes: content types are redacted in part, and some streams are answered with an error's JSON."""
        start = self.body[:64].lstrip(b"\r\n \t")
        return start.startswith((b"data:", b"event:", b":", b"id:")) or self.is_frames or self.is_lines

    @property
    def is_error(self) -> bool:
        """In place of a model's answer. It consumed nothing, and must be read so."""
        return self.status >= 400 and bool(self.provider and self.dialect)

    @property
    def is_frames(self) -> bool:
        """AWS event-stream: the length of a whole frame in front."""
        return self.body[:1] == b"\0"

    @property
    def is_openai_shaped(self) -> bool:
        return self.dialect in _OPENAI_SHAPED

    @property
    def is_lines(self) -> bool:
        """An object per line."""
        return self.dialect in ("cohere", "ollama") and b"\n{" in self.body.rstrip() and self.body[:1] == b"{"

    def payloads(self) -> Iterator[bytes]:
        """Of AWS event-stream: u32 length, u32 length of the headers, u32 CRC of both, headers, payload, u32 CRC of all.

        The events of InvokeModel are wrapped once more, as base64.
        """
        body = self.body
        while body:
            length, of_headers, crc = struct.unpack(">III", body[:12])
            assert zlib.crc32(body[:8]) == crc, f"{self.name}: a broken frame"
            assert zlib.crc32(body[: length - 4]) == int.from_bytes(body[length - 4 : length], "big"), self.name
            payload = body[12 + of_headers : length - 4]
            wrapped = json.loads(payload or b"{}")
            yield base64.b64decode(wrapped["bytes"]) if "bytes" in wrapped else payload
            body = body[length:]

    @functools.cached_property
    def asked(self) -> dict[str, Any]:
        """The request's body, parsed; empty where there is none."""
        try:
            value = json.loads(self.request or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def moment(self) -> datetime:
        """When it was recorded, as its answer says; else a fixed one."""
        try:
            return email.utils.parsedate_to_datetime(self.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return UNDATED


@functools.cache
def everything() -> tuple[Exchange, ...]:
    """All exchanges, in a stable order. Fetches the cassettes where they are not here yet."""
    return (*_of_wire(), *_of_cassettes(fetch.ensure()))


def _of_wire() -> Iterator[Exchange]:
    if not available():
        return
    for path in sorted(WIRE_DIR.glob("[0-9][0-9]-*.json")):
        number = int(path.name[:2])
        for recording in load(number):
            request = json.dumps(recording.request).encode() if recording.request is not None else b""
            yield _exchange(
                "wire", f"{path.name}#{recording.index}", recording.url, recording.status, recording.headers, request,
                recording.body, told=_WIRE.get(number),
            )  # fmt: skip


def _of_cassettes(folder: Path) -> Iterator[Exchange]:
    for path in sorted(folder.rglob("*.y*ml*")):
        raw = path.read_bytes()
        said = yaml.load(gzip.decompress(raw) if path.suffix == ".gz" else raw, Loader=yaml.CSafeLoader)
        # Two ways of writing the same: pairs, or requests beside responses.
        pairs = [(one["request"], one["response"]) for one in said.get("interactions", ())] or list(
            zip(said["requests"], said["responses"], strict=True)
        )
        source = path.relative_to(folder).parts[0]
        for index, (request, response) in enumerate(pairs):
            headers = {
                name.lower(): str(value[0] if isinstance(value, list) and value else value or "")
                for name, value in response["headers"].items()
            }
            yield _exchange(
                source, f"{path.relative_to(folder)}#{index}", request["uri"], response["status"]["code"], headers,
                _bytes(request["body"]), _bytes(response["body"]["string"]),
            )  # fmt: skip


def _bytes(value: object) -> bytes:
    if value is None:
        return b""
    data = value.encode() if isinstance(value, str) else value
    assert isinstance(data, bytes), f"a body is text or bytes, not {type(value).__name__}"
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _exchange(
    source: str, name: str, url: str, status: int, headers: dict[str, str], request: bytes, body: bytes, *,
    told: tuple[str, str] | None = None,
) -> Exchange:  # fmt: skip
    if told is not None:
        provider, dialect, other = *told, ""
    elif "REDACTED" in url:
        provider, dialect, other = _told_by_names(source, request, body)
    else:
        provider, dialect, other = _told_by_address(url)
    if not other and status != 200:
        other = "an error" if status >= 400 else f"status {status}: not an answer yet"
    elif not other and not body:
        other = "an empty body"
    return Exchange(source, name, url, status, headers, request, body, provider, dialect, other)


def _told_by_address(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path)
    dialect = next((name for pattern, name in _SURFACES if pattern.search(path)), "")
    provider = next((name for end, name in _HOSTS.items() if host == end or host.endswith(f".{end}")), "")
    if routed := _ROUTED.search(path):
        provider = routed[1]
    elif dialect == "ollama":
        provider = "ollama" if host in _OWN else ""
    elif not provider and host in _OWN and dialect in _OPENAI_SHAPED:
        provider = "local"
    if not dialect or not provider:
        about = next((what for pattern, what in _NOT_METERED if pattern.search(path)), f"{host}: no model's answer")
        return provider, dialect, about
    return provider, dialect, ""


def _told_by_names(source: str, request: bytes, body: bytes) -> tuple[str, str, str]:
    """Suites of one provider each."""
    provider = "anthropic" if "anthropic" in source else "openai"
    try:
        asked = json.loads(request or b"{}")
    except ValueError:
        asked = {}
    if not isinstance(asked, dict) or "model" not in asked:
        return provider, "", "redacted: no request to a model"
    if provider == "anthropic":
        return provider, "anthropic", ""
    if "messages" in asked:
        return provider, "chat", ""
    if "encoding_format" in asked or b'"embedding"' in body[:2000]:
        return provider, "embeddings", ""
    return provider, "responses" if "input" in asked else "completions", ""
