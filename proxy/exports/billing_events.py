"""Entries of the ledger, in the order of writing."""

from __future__ import annotations

from proxy.exports.columns import Column, Sum, id_, text, time, usd, word

COLUMNS: tuple[Column, ...] = (
    id_("id", "bill"),
    id_("workspace_id", "ws"),
    id_("user_id", "user"),
    id_("virtual_key_id", "key"),
    id_("attempt_id", "att"),
    word("kind"),
    usd("amount_usd", "amount_pusd"),
    id_("corrects", "bill"),
    text("reason"),
    word("actor_kind"),
    id_("actor_id", "mk"),
    time("occurred_at"),
    time("created_at"),
)
SUMS = (Sum("amount_usd", "amount_pusd"),)
