"""Recorded calls with what their provider reported: what an estimate is measured against.

Two sources: the recordings (WIRE_DIR), and cassettes inside unpacked source distributions (a folder that is given).
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.estimation import native
from tests.wire.recordings import WIRE_DIR

_HOSTS = {
    "openai.com": "openai",
    "azure.com": "azure",
    "anthropic.com": "anthropic",
    "googleapis.com": "google",
    "groq.com": "groq",
    "openrouter.ai": "openrouter",
    "deepseek.com": "deepseek",
    "mistral.ai": "mistral",
    "z.ai": "zai",
    "x.ai": "xai",
    "cohere.com": "cohere",
    "together.xyz": "together",
    "amazonaws.com": "bedrock",
    "perplexity.ai": "perplexity",
}
# The recordings with a redacted address.
_NUMBERED = {13: "openai", 14: "openai", 17: "azure", 30: "openrouter", 31: "openrouter", 32: "openrouter"}


@dataclass(frozen=True)
class Exchange:
    """One answered call. `body` is what the gateway would have sent: native ones are put into OpenAI's shape.

    `output_tokens` is without reasoning that no client can see; None where nothing comparable was reported.
    """

    name: str
    provider: str
    model: str
    surface: str
    body: dict[str, Any]
    said: str
    input_tokens: int | None
    output_tokens: int | None

    @property
    def linked(self) -> bool:
        """An image or a file is only named: its size is in no request."""
        written = json.dumps(self.body)
        return re.search(r'"(?:url|image_url|file_url)": "http|"file_data": null', written) is not None

    @property
    def key(self) -> str:
        """Equal for two records of the same call: one of them is measured."""
        return json.dumps([self.model, self.surface, self.body, self.input_tokens, self.output_tokens], sort_keys=True)


def recordings() -> list[Exchange]:
    found = []
    for path in sorted(WIRE_DIR.glob("*.json")):
        for index, exchange in enumerate(json.loads(path.read_text())["exchanges"]):
            request, response = exchange.get("request") or {}, exchange.get("response") or {}
            number = int(path.name[:2])
            made = _exchange(
                f"{number:02}-{index}", request.get("url", ""), (request.get("body") or {}).get("text"),
                response.get("status"), _raw(response.get("body") or {}), _NUMBERED.get(number),
            )
            if made is not None:
                found.append(made)
    return _once(found)


def cassettes(folder: Path) -> list[Exchange]:
    """Of every `cassettes` folder below; anything that is not an exchange with usage is passed over."""
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        if not any("cassettes" in part for part in path.parts):
            continue
        document = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        interactions = document.get("interactions") if isinstance(document, dict) else None
        for index, one in enumerate(interactions or []):
            if not isinstance(one, dict) or "uri" not in one.get("request", {}):
                continue
            sent = one["request"].get("body")
            made = _exchange(
                f"{path.stem}-{index}", one["request"]["uri"], sent.decode() if isinstance(sent, bytes) else sent,
                (one["response"].get("status") or {}).get("code"), _raw(one["response"].get("body") or {}), None,
            )
            if made is not None:
                found.append(made)
    return _once(found)


def _once(found: list[Exchange]) -> list[Exchange]:
    return list({exchange.key: exchange for exchange in found}.values())


def _raw(body: dict[str, Any]) -> bytes:
    if "base64" in body:
        return base64.b64decode(body["base64"])
    text = body.get("string") or body.get("text") or b""
    raw = text if isinstance(text, bytes) else text.encode()
    return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw


def _exchange(
    name: str, url: str, sent: object, status: object, answer: bytes, provider: str | None
) -> Exchange | None:
    if status != 200 or not isinstance(sent, str) or not answer:
        return None
    try:
        body = json.loads(sent)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    found = provider or next((known for host, known in _HOSTS.items() if host in url), "local")
    for reader in native.READERS:
        if reader.matches(url, body):
            said = reader.read(url, body, answer)
            if said is None:
                return None
            return Exchange(name, found, said.model, said.surface, said.body, said.text, said.input, said.output)
    return None

