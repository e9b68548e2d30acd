"""Which surfaces of OpenAI's API the gateway serves: one table for `make clients` and `make conformance`.

A surface that becomes served is one word here. The table is checked against the gateway on every run, so it cannot grow stale.
"""

from __future__ import annotations

from typing import NamedTuple


class Surface(NamedTuple):
    """`paths`: below /v1, a prefix each; the first one is probed. `row`: its name in usage events, None where it uses nothing."""

    served: bool
    method: str
    paths: tuple[str, ...]
    row: str | None


SURFACES = {
    "chat": Surface(True, "POST", ("/chat/completions",), "chat"),
    "models": Surface(True, "GET", ("/models",), None),
    "responses": Surface(True, "POST", ("/responses",), "responses"),
    "completions": Surface(True, "POST", ("/completions",), "completions"),
    "embeddings": Surface(True, "POST", ("/embeddings",), "embeddings"),
    "moderations": Surface(True, "POST", ("/moderations",), "moderations"),
}

# Calls on a served path that are another matter: stored chat completions are listed, changed and deleted at the provider.
NOT_MEANT = (
    ("GET", "/chat/completions"), ("POST", "/chat/completions/"), ("DELETE", "/chat/completions/"), ("DELETE", "/models/"),
    ("POST", "/responses/compact"), ("POST", "/responses/input_tokens"),
)  # fmt: skip

# Their requests may name objects at the provider, of which a workspace has its own only.
WITH_OBJECTS = frozenset({"responses"})

# What the gateway refuses on purpose (docs/openai.md), by how its refusal begins.
ON_PURPOSE = {
    "responses": ("`model` is required", "`background` is not offered", "A stored response is not streamed"),
}


def surface_of(method: str, path: str) -> str | None:
    """The surface that a call belongs to, `path` below /v1; None: no one has thought of it yet."""
    if any(method == known and path.startswith(prefix) for known, prefix in NOT_MEANT):
        return None
    for name, surface in SURFACES.items():
        if any(path == prefix or path.startswith(prefix + "/") for prefix in surface.paths):
            return name
    return None


def is_served(method: str, path: str) -> bool:
    name = surface_of(method, path)
    return name is not None and SURFACES[name].served
