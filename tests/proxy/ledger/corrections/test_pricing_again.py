"""What an attempt comes to under the terms of its moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from pricing.price import PriceItem, PriceVersion
from proxy.identity.plan import Plan
from proxy.ledger.corrections.figures import Figures
from proxy.ledger.corrections.pricing_again import priced_again
from proxy.ledger.corrections.terms.store import Dated, Terms
from proxy.wire.ids import NIL, uuid7
from tests.proxy.ledger.corrections.test_usage_again import IMAGE, IMAGES, OWN, Lines, attempt

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
RAW = '{"prompt_tokens": 100, "completion_tokens": 10}'


def version(*items: PriceItem, since: datetime = NOON - timedelta(days=9), until: datetime | None = None) -> PriceVersion:
    return PriceVersion(uuid4(), since, until, "test", items)


def terms(*versions: PriceVersion, image: PriceVersion | None = None, **parts: Any) -> Terms:
    prices = {("openai", "gpt-5", "gpt-5"): versions}
    if image is not None:
        prices["openai", "gpt-image-1", "pictures"] = (image,)
    fields = {"readers": {"openai": "openai"}, "models": {OWN: "gpt-5", IMAGE: "gpt-image-1"}, "plans": {}, "overrides": {}}
    return Terms(**fields | parts, prices=prices)  # type: ignore[arg-type]


def item(unit: str, pusd: int, **narrowed: Any) -> PriceItem:
    return PriceItem(uuid4(), unit, pusd, **narrowed)


def priced(lines: Lines, known: Terms, **changes: Any) -> Figures:
    at = changes.pop("at", NOON)
    id = uuid7(int(at.timestamp() * 1000))
    processing, raw = changes.pop("processing", ""), changes.pop("raw", RAW)
    one = attempt(lines, raw=raw, attempt_id=id, occurred_at=at, processing=processing, **changes)
    return priced_again(one, known)


TIER = {"service_tier": "flex"}  # what `attempt` was served


def test_each_line_and_their_sums() -> None:
    found = priced([], terms(version(item("input", 3, **TIER), item("output", 7, **TIER))))
    assert (found.units, found.quantities, found.line_list_pusd) == (("input", "output"), (100, 10), (300, 70))
    assert (found.list_pusd, found.charge_pusd, found.pricing) == (370, 370, "priced")
    assert (found.charge_kind, found.charge_bps, found.charge_reason) == ("usage", 10_000, "")


def test_the_version_of_its_beginning() -> None:
    old = version(item("input", 1, **TIER), item("output", 1, **TIER), until=NOON)
    new = version(item("input", 2, **TIER), item("output", 2, **TIER), since=NOON)
    assert priced([], terms(new, old)).list_pusd == 220
    assert priced([], terms(new, old), at=NOON - timedelta(milliseconds=1)).list_pusd == 110


def test_the_minute_of_its_beginning() -> None:
    by_night = item("input", 1, from_minute=0, to_minute=720, **TIER)
    known = terms(version(item("input", 4, **TIER), by_night, item("output", 0, **TIER)))
    assert priced([], known).list_pusd == 400
    assert priced([], known, at=NOON - timedelta(milliseconds=1)).list_pusd == 100


@pytest.mark.parametrize("processing", ["", "batch"])
def test_the_processing_that_it_had(processing: str) -> None:
    batch = [item("input", 1, processing="batch", **TIER), item("output", 1, processing="batch", **TIER)]
    known = terms(version(*batch, item("input", 2, **TIER), item("output", 2, **TIER)))
    assert priced([], known, processing=processing).list_pusd == (110 if processing else 220)


def test_another_models_part_at_its_own_price() -> None:
    own = version(item("input", 1, **TIER), item("output", 1, **TIER))
    image = version(item("input", 50, **TIER), item("output_image", 100, **TIER))
    lines: Lines = [("input", 100, OWN), ("output", 10, OWN), ("input", 7, IMAGE), ("output_image", 9, IMAGE)]
    found = priced(lines, terms(own, image=image), raw=IMAGES, surface="responses")
    assert (found.list_pusd, found.pricing) == (100 + 10 + 350 + 900, "priced")
    without = priced(lines, terms(own), raw=IMAGES, surface="responses")
    assert (without.list_pusd, without.pricing) == (110, "unpriced")


def test_what_it_cannot_tell_stays_as_it_is() -> None:
    found = priced([("input", 5, None), ("input", 7, None)], terms(version(item("input", 1, **TIER))), raw=None)
    assert found.units == ("input", "input") and found.list_pusd == 0


def test_of_a_provider_that_is_gone_the_lines_are_priced() -> None:
    known = terms(version(item("input", 1, **TIER)), readers={})
    assert priced([("input", 5, None)], known).list_pusd == 5


@pytest.mark.parametrize(
    ("plan", "account", "expected"),
    [
        (Plan(), "ours", ("usage", 10_000, "", 1000)),
        (Plan(markup_bps=250), "ours", ("usage", 10_250, "", 1025)),
        (Plan(), "own", ("none", 0, "own_key", 0)),
        (Plan(platform_fee_bps=500), "own", ("platform_fee", 500, "", 50)),
        (Plan(internal=True, platform_fee_bps=500), "own", ("none", 0, "internal", 0)),
    ],
)
def test_who_pays(plan: Plan, account: str, expected: tuple[object, ...]) -> None:
    known = terms(version(item("input", 10, **TIER)), plans={NIL: [Dated(NOON, None, plan)]})
    raw = '{"prompt_tokens": 100, "completion_tokens": 0}'
    found = priced([], known, raw=raw, provider_account=account)
    assert (found.charge_kind, found.charge_bps, found.charge_reason, found.charge_pusd) == expected


def test_a_plan_of_another_time_and_an_override_of_this_one() -> None:
    raw = '{"prompt_tokens": 100, "completion_tokens": 0}'
    plans = {NIL: [Dated(NOON - timedelta(days=2), NOON, Plan(markup_bps=5000)), Dated(NOON, None, Plan(markup_bps=100))]}
    overrides = {(NIL, "gpt-5"): [Dated(NOON - timedelta(days=2), NOON, -1000)], (NIL, "other"): [Dated(NOON, None, 9)]}
    known = terms(version(item("input", 10, **TIER)), plans=plans, overrides=overrides)
    assert priced([], known, raw=raw).charge_pusd == 1010
    assert priced([], known, raw=raw, at=NOON - timedelta(hours=1)).charge_pusd == 900


def test_an_amount_that_no_row_holds_is_unpriced() -> None:
    found = priced([], terms(version(item("input", 2**62, **TIER), item("output", 1, **TIER))))
    assert (found.pricing, found.list_pusd) == ("unpriced", 0)
