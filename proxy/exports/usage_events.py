"""Usage events: a row per attempt, with the figures that count now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.money import format_usd
from proxy.exports.columns import Column, Record, Sum, boolean, id_, integer, text, time, usd, word
from proxy.wire.ids import to_wire


def _lines(row: Record) -> list[Mapping[str, Any]]:
    lines = zip(
        row["units"], row["quantities"], row["price_item_ids"], row["line_list_pusd"], row["line_charge_pusd"], strict=True
    )
    return [
        {
            "unit": unit, "quantity": quantity, "price_item_id": None if item is None else to_wire("price", item),
            "list_cost_usd": format_usd(list_pusd), "charge_usd": format_usd(charge_pusd),
        }
        for unit, quantity, item, list_pusd, charge_pusd in lines
    ]  # fmt: skip


COLUMNS: tuple[Column, ...] = (
    id_("id", "att", "attempt_id"),
    id_("request_id", "req"),
    integer("attempt_number"),
    time("occurred_at"),
    time("created_at", "recorded_at"),
    id_("workspace_id", "ws"),
    id_("user_id", "user"),
    id_("virtual_key_id", "key"),
    id_("agent_id", "agent"),
    id_("conversation_id", "conv"),
    id_("message_id", "msg"),
    text("end_user"),
    text("llm"),
    text("provider"),
    text("upstream_model"),
    word("surface"),
    boolean("stream"),
    word("key_source"),
    word("provider_account"),
    id_("user_variable_id", "uv"),
    word("usage_source"),
    word("outcome"),
    integer("upstream_status"),
    text("error_code"),
    text("service_tier"),
    word("processing"),
    integer("input_tokens"),
    integer("cached_tokens"),
    integer("output_tokens"),
    integer("reasoning_tokens"),
    boolean("usage_inconsistent"),
    word("pricing"),
    usd("list_cost_usd", "list_pusd"),
    usd("charge_usd", "charge_pusd"),
    word("charge_kind"),
    integer("charge_bps"),
    word("charge_reason"),
    integer("correction"),
    integer("latency_ms"),
    integer("first_token_ms"),
    integer("overhead_ms"),
    text("upstream_request_id"),
    Column("lines", "lines", _lines),
)
SUMS = (Sum("list_cost_usd", "list_pusd"), Sum("charge_usd", "charge_pusd"))
