"""Who owes what for an attempt: one pure function, `should_charge`, and the arithmetic of its answer.

On the platform's account at the provider: list price and markup. On an own key: a fee in basis points of list, of which
the ledger waives a part each month (`ledger/allowance.py`). A charge is worked out line by line, each rounded half-even
once to a pico. docs/billing.md, "Whose money", shows it to people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from pricing.money import divide_half_even
from proxy.identity.plan import Plan

LIST_BPS = 10_000
# Surfaces that are asked for output: elsewhere (embeddings, moderations) an answer without any is a whole one.
WITH_OUTPUT = frozenset(["chat", "responses", "completions"])

ChargeKind: TypeAlias = Literal["usage", "platform_fee", "none"]
# What whoever pays has got. `answer`: whatever was consumed is theirs to pay, be it nothing. `empty`: something was
# consumed, and there is no output and no finish. `void`: the client left, and its workspace does not pay then. The other
# two leave no row: a refusal of our own, and an answer out of a cache.
Got: TypeAlias = Literal["answer", "empty", "void", "cached", "refused"]


class Charge(NamedTuple):
    """Each line's charge is its list amount × `bps` / 10000. `reason`: why nothing is charged, where `kind` says so."""

    kind: ChargeKind
    bps: int
    reason: str = ""


AT_LIST = Charge("usage", LIST_BPS)


def should_charge(provider_account: str, plan: Plan, llm: str, got: Got = "answer") -> Charge:
    """`provider_account`: of the user, all that matters is whose bill it is at the provider, `own` or `ours`."""
    if provider_account not in ("own", "ours"):
        raise ValueError(f"provider_account is ours or own, not {provider_account!r}")
    if got == "refused" or got == "cached":
        return Charge("none", 0, got)
    if plan.internal:
        return Charge("none", 0, "internal")
    if got == "void":
        return Charge("none", 0, "void")
    if got == "empty" and plan.empty_answer_free:
        return Charge("none", 0, "empty_answer")
    if provider_account == "ours":
        return Charge("usage", LIST_BPS + plan.markup_of(llm))
    if plan.platform_fee_bps == 0:
        return Charge("none", 0, "own_key")
    return Charge("platform_fee", plan.platform_fee_bps)


def is_empty(surface: str, *, outcome: str, output_tokens: int) -> bool:
    """Whether an answer that consumed something and did not finish is `empty`.

    Not where the client left, nor where nobody was there to see the end.
    """
    return output_tokens == 0 and outcome in ("ok", "upstream_error") and surface in WITH_OUTPUT


def charges(bps: int, line_list_pusd: Sequence[int]) -> list[int]:
    """The charge of each line, in pico-USD."""
    if bps == LIST_BPS:
        return list(line_list_pusd)
    return [divide_half_even(amount * bps, LIST_BPS) for amount in line_list_pusd]


class Terms(NamedTuple):
    """`should_charge` for all attempts by one way, asked once."""

    answer: Charge
    empty: Charge
    void: Charge


def terms_of(provider_account: str, plan: Plan, llm: str, surface: str) -> Terms:
    answer = should_charge(provider_account, plan, llm)
    return Terms(
        answer,
        should_charge(provider_account, plan, llm, "empty") if surface in WITH_OUTPUT else answer,
        should_charge(provider_account, plan, llm, "void"),
    )
