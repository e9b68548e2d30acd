"""What to say to a client that called a path which is not there."""

from __future__ import annotations

from proxy.wire.refusals import Reason, Refused

_WITHOUT_V1 = ("/chat/completions", "/models", "/responses", "/completions", "/embeddings", "/moderations")


_NOT_OFFERED = (
    "/v1/responses", "/v1/embeddings", "/v1/completions", "/v1/moderations", "/v1/images", "/v1/audio", "/v1/files", "/v1/batches",
    "/v1/realtime", "/v1/messages", "/v1/organization",
)  # fmt: skip


def unknown_path(method: str, path: str) -> Refused:
    """A forgotten or doubled `/v1` is the most frequent mistake with a base URL: name the right one."""
    shown = path[:200]
    if path.startswith("/v1/v1/"):
        right = path.replace("/v1/v1/", "/v1/", 1)[:200]
        return Refused(
            Reason.PATH_UNKNOWN,
            f"Unknown URL: {method} {shown}. `/v1` is there twice: the base URL must end in one /v1. Right: {right}.",
        )
    if path.startswith(_WITHOUT_V1):
        return Refused(
            Reason.PATH_UNKNOWN,
            f"Unknown URL: {method} {shown}. Set the client's base URL to end in /v1. Right: /v1{shown}.",
        )
    if path.startswith(_NOT_OFFERED):
        return Refused(
            Reason.PATH_UNKNOWN,
            f"{method} {shown} is not offered by this version. It offers POST /v1/chat/completions and GET /v1/models.",
        )
    return Refused(
        Reason.PATH_UNKNOWN,
        f"Unknown URL: {method} {shown}. The OpenAI surface is under /v1, management under /api/v1.",
    )
