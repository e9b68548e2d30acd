"""What a client asked for, as the rest of the gateway sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class ClientRequest:
    """One call of a client. `raw` is the body as it came; the named fields were read from it once."""

    request_id: UUID
    surface: str  # chat | responses | completions | embeddings | moderations
    llm: str  # what the client named as `model`
    stream: bool
    raw: bytes
    include_usage: bool = False  # the client itself asked for stream_options.include_usage
    max_output: int | None = None  # max_completion_tokens, else max_tokens
    n: int = 1
    end_user: str | None = None  # X-End-User, else `user`
    service_tier: str | None = None
    # Top-level fields of the body that the gateway read and found present: each must occur once in `raw`
    # for the body to be forwarded as it came (wire/splice.py).
    read_fields: tuple[str, ...] = ()
    # Where the value of `model` lies in `raw`; set only where the top level is proven to hold each key once.
    model_span: tuple[int, int] | None = None
    has_stream_options: bool = False
    usage_include: bool = False  # body extension `usage: {"include": true}`: usage.cost is added
    gateway_fields: tuple[str, ...] = ()  # body extensions that are ours and are removed before dispatch
    forward_headers: list[tuple[bytes, bytes]] = field(default_factory=list)  # allow-listed client headers
