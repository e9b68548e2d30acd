"""Sums per UTC day: a row per unit and everything that usage is counted by."""

from __future__ import annotations

from proxy.exports.columns import Column, Sum, day, id_, integer, text, usd, word

COLUMNS: tuple[Column, ...] = (
    day("day"),
    id_("workspace_id", "ws"),
    id_("user_id", "user"),
    id_("virtual_key_id", "key"),
    id_("agent_id", "agent"),
    text("llm"),
    text("provider"),
    word("key_source"),
    text("service_tier"),
    text("unit"),
    integer("quantity"),
    usd("list_cost_usd", "list_pusd"),
    usd("charge_usd", "charge_pusd"),
)
SUMS = (Sum("list_cost_usd", "list_pusd"), Sum("charge_usd", "charge_pusd"))
