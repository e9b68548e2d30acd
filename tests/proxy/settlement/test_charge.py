"""Who owes what: the table of cases, and the arithmetic of basis points."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.identity.plan import Plan
from proxy.settlement.charge import (
    AT_LIST,
    LIST_BPS,
    Charge,
    Got,
    charges,
    is_empty,
    should_charge,
    terms_of,
)

LLM = "gpt"
NO_PLAN = Plan()
MARKED_UP = Plan(markup_bps=1_250)
DISCOUNT = Plan(markup_bps=-2_000)
FOR_FREE = Plan(markup_bps=-10_000)
FEE = Plan(platform_fee_bps=500)
ALLOWANCE = Plan(platform_fee_bps=500, free_fees_pusd=10**12)
INTERNAL = Plan(markup_bps=1_250, platform_fee_bps=500, internal=True)
UNINSURED = Plan(markup_bps=1_250, platform_fee_bps=500, empty_answer_free=False)
OVERRIDE = Plan(markup_bps=1_250, markups={LLM: 300})
OTHER_OVERRIDE = Plan(markup_bps=1_250, markups={"another": 300})


def free(reason: str) -> Charge:
    return Charge("none", 0, reason)


@pytest.mark.parametrize(
    ("case", "account", "plan", "got", "charge"),
    [
        ("global key, no plan: list", "ours", NO_PLAN, "answer", AT_LIST),
        ("global key, markup", "ours", MARKED_UP, "answer", Charge("usage", 11_250)),
        ("global key, discount", "ours", DISCOUNT, "answer", Charge("usage", 8_000)),
        ("global key, a discount of everything is a charge of 0", "ours", FOR_FREE, "answer", Charge("usage", 0)),
        ("global key, override of the llm", "ours", OVERRIDE, "answer", Charge("usage", 10_300)),
        ("global key, override of another llm", "ours", OTHER_OVERRIDE, "answer", Charge("usage", 11_250)),
        ("global key, a fee is for own keys", "ours", FEE, "answer", AT_LIST),
        ("own key, no plan", "own", NO_PLAN, "answer", free("own_key")),
        ("own key, a markup is for global keys", "own", MARKED_UP, "answer", free("own_key")),
        ("own key, an override is for global keys", "own", OVERRIDE, "answer", free("own_key")),
        ("own key, platform fee", "own", FEE, "answer", Charge("platform_fee", 500)),
        # The fee is due; a credit in the ledger waives it, as far as the month's allowance reaches.
        ("own key, fee and free allowance", "own", ALLOWANCE, "answer", Charge("platform_fee", 500)),
        ("internal workspace, global key", "ours", INTERNAL, "answer", free("internal")),
        ("internal workspace, own key", "own", INTERNAL, "answer", free("internal")),
        ("internal workspace, empty answer", "ours", INTERNAL, "empty", free("internal")),
        ("cached, global key", "ours", MARKED_UP, "cached", free("cached")),
        ("cached, own key", "own", FEE, "cached", free("cached")),
        ("refused", "ours", MARKED_UP, "refused", free("refused")),
        ("refused, own key", "own", FEE, "refused", free("refused")),
        ("refused, uninsured", "ours", UNINSURED, "refused", free("refused")),
        # What a failed attempt consumed is charged: nothing, where the provider reported nothing.
        ("provider error", "ours", MARKED_UP, "answer", Charge("usage", 11_250)),
        ("empty answer", "ours", MARKED_UP, "empty", free("empty_answer")),
        ("empty answer, own key", "own", FEE, "empty", free("empty_answer")),
        ("empty answer, switched off", "ours", UNINSURED, "empty", Charge("usage", 11_250)),
        ("empty answer, switched off, own key", "own", UNINSURED, "empty", Charge("platform_fee", 500)),
        ("void", "ours", MARKED_UP, "void", free("void")),
        ("void, own key", "own", FEE, "void", free("void")),
        ("void, uninsured", "ours", UNINSURED, "void", free("void")),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_who_owes_what(case: str, account: str, plan: Plan, got: Got, charge: Charge) -> None:
    assert should_charge(account, plan, LLM, got) == charge


def test_whose_account_it_is_is_never_guessed() -> None:
    with pytest.raises(ValueError, match="theirs"):
        should_charge("theirs", NO_PLAN, LLM)


@pytest.mark.parametrize(
    ("surface", "outcome", "output_tokens", "empty"),
    [
        ("chat", "ok", 0, True),
        ("responses", "upstream_error", 0, True),
        ("completions", "ok", 0, True),
        ("chat", "ok", 1, False),
        ("chat", "client_abort", 0, False),  # it did not wait
        ("chat", "abandoned", 0, False),  # nobody knows
        ("embeddings", "ok", 0, False),  # there never is any
        ("moderations", "upstream_error", 0, False),
    ],
)
def test_an_answer_is_empty_only_where_one_was_due(surface: str, outcome: str, output_tokens: int, empty: bool) -> None:
    assert is_empty(surface, outcome=outcome, output_tokens=output_tokens) is empty


@pytest.mark.parametrize("surface", ["chat", "embeddings"])
def test_terms_are_the_cases_of_one_way(surface: str) -> None:
    terms = terms_of("ours", MARKED_UP, LLM, surface)
    assert terms.answer == should_charge("ours", MARKED_UP, LLM)
    assert terms.void == free("void")
    assert terms.empty == (free("empty_answer") if surface == "chat" else terms.answer)


@given(st.lists(st.integers(0, 2**53), max_size=6), st.integers(0, 1_010_000))
def test_each_line_is_within_half_a_pico_of_exact(amounts: list[int], bps: int) -> None:
    charged = charges(bps, amounts)
    assert len(charged) == len(amounts)
    for amount, charge in zip(amounts, charged, strict=True):
        exact = Fraction(amount * bps, LIST_BPS)
        assert abs(charge - exact) <= Fraction(1, 2)
        if abs(charge - exact) == Fraction(1, 2):
            assert charge % 2 == 0
    assert abs(sum(charged) - Fraction(sum(amounts) * bps, LIST_BPS)) <= Fraction(len(amounts), 2)


@given(st.lists(st.integers(0, 2**62), max_size=6))
def test_list_is_list_and_nothing_is_nothing(amounts: list[int]) -> None:
    assert charges(LIST_BPS, amounts) == amounts
    assert charges(0, amounts) == [0] * len(amounts)


def test_ties_go_to_even() -> None:
    assert charges(5_000, [1, 2, 3, 5]) == [0, 1, 2, 2]
