"""The OpenAI dialect: how a request goes out to a provider that speaks OpenAI's wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.providers.clean import clean_error

_PATHS = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "moderations": "/moderations",
}
# Streams that report usage only if asked (stream_options.include_usage). A Responses stream always does, in its last event.
_ASKED = frozenset(["chat", "completions"])
# Mistral answers 422 to fields it does not know; Together has no max_completion_tokens.
_RENAMES: Mapping[str, Mapping[str, str]] = {
    "mistral": {"max_completion_tokens": "max_tokens"},
    "together": {"max_completion_tokens": "max_tokens"},
}
_NO_RENAMES: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class OpenAIDialect:
    """Stateless; one for all providers of this dialect."""

    name: str = "openai"

    def path(self, surface: str) -> str:
        """Below the provider's base_url. Fixed per surface: never built from a client's path."""
        return _PATHS[surface]

    def object_path(self, template: str, ids: Sequence[str]) -> str:
        """Likewise, of what lies there. `template`: one of objects/paths.py; `ids`: one for each of its blanks, checked."""
        left = iter(ids)
        return "".join(f"/{next(left) if word[0] == '{' else word}" for word in template.split("/"))

    def reports_if_asked(self, surface: str) -> bool:
        """Whether a provider's `stream_usage: asked` has a meaning on this surface."""
        return surface in _ASKED

    def headers(self, key: str) -> list[tuple[bytes, bytes]]:
        """Raises ValueError for a key that is no header value; the message does not hold it."""
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError("the provider key holds a blank, a control or a non-ASCII character")
        return [(b"authorization", b"Bearer " + key.encode("ascii"))]

    def renames(self, usage_reader: str, surface: str = "chat") -> Mapping[str, str]:
        """Body fields that this provider knows by another name."""
        return _NO_RENAMES if surface != "chat" else _RENAMES.get(usage_reader, _NO_RENAMES)

    def clean_error(self, body: bytes, key: str) -> bytes:
        return clean_error(body, key)
