"""What to say to a client that called a path which is not there."""

from __future__ import annotations

from proxy.telemetry.logs import redact
from proxy.wire.refusals import Reason, Refused

_WITHOUT_V1 = ("/chat/completions", "/models", "/responses", "/completions", "/embeddings", "/moderations")
# What OpenAI has and this gateway has not; with what lies below a path that it has.
_NOT_OFFERED = (
    "/v1/responses", "/v1/chat/completions", "/v1/conversations", "/v1/images", "/v1/audio", "/v1/videos", "/v1/files", "/v1/uploads",
    "/v1/batches", "/v1/vector_stores", "/v1/containers", "/v1/fine_tuning", "/v1/evals", "/v1/assistants", "/v1/threads",
    "/v1/realtime", "/v1/messages", "/v1/organization", "/v1/skills",
)  # fmt: skip
OFFERED = (
    "POST /v1/chat/completions, /v1/responses, /v1/completions, /v1/embeddings and /v1/moderations, GET /v1/models, and of a stored "
    "response GET and DELETE /v1/responses/{id}, GET …/input_items and POST …/cancel"
)  # fmt: skip


def shown(path: str) -> str:
    """As a refusal may repeat it: bounded, and without the key of somebody who pasted it into the base URL."""
    return redact(path)[:200]


def unknown_path(method: str, path: str) -> Refused:
    """A forgotten or doubled `/v1` is the most frequent mistake with a base URL: name the right one."""
    path = shown(path)
    if path.startswith("/v1/v1/"):
        right = path.replace("/v1/v1/", "/v1/", 1)
        return Refused(
            Reason.PATH_UNKNOWN,
            f"Unknown URL: {method} {path}. `/v1` is there twice: the base URL must end in one /v1. Right: {right}.",
        )
    if path.startswith(_WITHOUT_V1):
        return Refused(
            Reason.PATH_UNKNOWN,
            f"Unknown URL: {method} {path}. Set the client's base URL to end in /v1. Right: /v1{path}.",
        )
    if path.startswith(_NOT_OFFERED):
        return Refused(
            Reason.PATH_UNKNOWN,
            f"{method} {path} is not offered by this version. It offers {OFFERED}.",
        )
    return Refused(
        Reason.PATH_UNKNOWN,
        f"Unknown URL: {method} {path}. The OpenAI surface is under /v1, management under /api/v1.",
    )
