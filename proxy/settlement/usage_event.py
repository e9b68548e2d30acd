"""`UsageEvent`: what one attempt consumed, for whom, with whose key, for how much. One row of `usage_events`.

It travels as JSON in the hold's stub (the event to write if nobody settles), in the stream and in the spool. `occurred_at`
is not a field: it is the moment inside `attempt_id`.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

VERSION = 1


class UsageEvent(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Fields as in the table `usage_events` (docs/schema.md). Money in pico-USD, durations in ms."""

    attempt_id: UUID
    request_id: UUID
    attempt_number: int = 1
    shard: int = 0
    workspace_id: UUID
    user_id: UUID
    virtual_key_id: UUID
    agent_id: UUID | None = None
    end_user: str | None = None
    conversation_id: UUID | None = None
    message_id: UUID | None = None
    llm: str
    provider: str
    upstream_model: str
    surface: str
    stream: bool = False
    key_source: str  # user | workspace | global
    provider_account: str  # own | ours
    user_variable_id: UUID | None = None
    usage_source: str  # provider | estimated | none
    outcome: str  # ok | client_abort | upstream_error | abandoned
    upstream_status: int | None = None
    error_code: str | None = None
    service_tier: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int | None = None
    usage_inconsistent: bool = False
    # The lines, as parallel lists.
    units: list[str] = []
    quantities: list[int] = []
    price_item_ids: list[UUID | None] = []
    line_list_pusd: list[int] = []
    line_charge_pusd: list[int] = []
    list_pusd: int = 0
    charge_pusd: int = 0
    pricing: str = "priced"  # priced | unpriced
    processing: str = ""  # batch
    # Each line's charge is its list amount × charge_bps / 10000, half-even.
    charge_kind: str = "usage"  # usage | platform_fee | none
    charge_bps: int = 10_000
    charge_reason: str = ""  # why nothing is charged
    latency_ms: int | None = None
    first_token_ms: int | None = None
    overhead_ms: int | None = None
    upstream_request_id: str | None = None
    raw_usage: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(UsageEvent)


def encode(event: UsageEvent) -> bytes:
    return _encoder.encode(event)


def decode(data: bytes) -> UsageEvent:
    """Raises `msgspec.DecodeError` (of which `ValidationError` is one) where the bytes are not an event."""
    return _decoder.decode(data)
