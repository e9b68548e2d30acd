"""Every recorded OpenAI-shaped exchange through a running gateway: what the row says is what the same bytes give offline, and
the client gets the provider's bytes.

The providers have their own names, so that prices come from the price book as in production.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pricing.money import format_usd
from pricing.price import PriceVersion, Unpriced
from pricing.price_text import read_price
from pricing.rate import Rated, tier_name
from pricing.usage import Usage
from tests.gateway import PRICE, RunningGateway, running, settings_of, until
from tests.recorded import ours, theirs
from tests.recorded.compare import known_price
from tests.recorded.exchanges import Exchange, everything
from tests.upstream.script import Script, chunked, whole
from tests.upstream.server import Recorded, Upstream

AT_ONCE = 32
# For models that the price book does not know, so that their rows are compared to the pico, too.
OWN_PRICE = {**PRICE, "web_searches": "0.01", "file_searches": "0.0025", "code_sessions": "0.03"}
PATHS = {"chat": "chat/completions", "completions": "completions", "responses": "responses", "embeddings": "embeddings"}
SAYS: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "recorded"}]},
    "completions": {"prompt": "recorded"},
    "responses": {"input": "recorded"},
    "embeddings": {"input": "recorded"},
}


class Case(NamedTuple):
    """`model` at the provider of the exchange, under the price of the book, or OWN_PRICE."""

    exchange: Exchange
    model: str
    own_price: bool

    @property
    def llm(self) -> str:
        return f"{self.exchange.provider}/{self.model}"

    def body(self, number: int) -> dict[str, Any]:
        """`user` says which answer is wanted."""
        body = {"model": self.llm, "user": str(number), **SAYS[self.exchange.dialect]}
        if self.exchange.dialect != "embeddings":
            body["stream"] = self.exchange.is_stream
        if self.exchange.is_stream and self.exchange.dialect != "responses":
            body["stream_options"] = {"include_usage": True}
        if isinstance(choices := self.exchange.asked.get("n"), int):
            body["n"] = choices
        return body

    def script(self) -> Script:
        kind = "text/event-stream; charset=utf-8" if self.exchange.is_stream else "application/json"
        headers = [("content-type", kind)]
        if self.exchange.is_stream:
            return chunked(ours.pieces(self.exchange), headers=headers)
        return whole(self.exchange.body, status=self.exchange.status, headers=headers)

    def price(self, moment: datetime) -> PriceVersion | Unpriced:
        if self.own_price:
            return ours.version(read_price(OWN_PRICE))
        return ours.price_of(self.exchange.provider, self.model, moment)


def cases() -> list[Case]:
    """Answers, and errors in place of them."""
    found = []
    for exchange in everything():
        if not exchange.is_openai_shaped or not exchange.provider or (exchange.other and exchange.status == 200):
            continue
        other = theirs.find(exchange)
        model, price = known_price(exchange, other)
        named = model or str(exchange.asked.get("model") or "") or other.model or "unnamed"
        found.append(Case(exchange, named, isinstance(price, Unpriced)))
    return found


@pytest.fixture
async def gateway(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    """An llm per model of a provider that some recording has."""
    wanted = {case.llm: case for case in cases()}
    providers = {
        case.exchange.provider: {
            "dialect": "openai", "base_url": upstream.base_url, "api_key": "fake-key-12345678",
            "usage_reader": ours.READERS[case.exchange.provider],
        }
        for case in wanted.values()
    }  # fmt: skip
    llms = [
        {
            "name": name, "routes": [{"provider": case.exchange.provider, "model": case.model}],
            **({"price": OWN_PRICE} if case.own_price else {}),
        }
        for name, case in wanted.items()
    ]  # fmt: skip
    async with running(settings_of(tmp_path, database_url, redis_url, providers, llms)) as up:
        yield up


@pytest.mark.timeout(600)  # the first run fetches the cassettes
async def test_rows_are_what_the_bytes_say(gateway: RunningGateway, upstream: Upstream) -> None:
    played = cases()
    upstream.always(lambda request: _answer(played, request))
    turns = asyncio.Semaphore(AT_ONCE)

    async def play(number: int, case: Case) -> str:
        async with turns:
            response = await gateway.session.post(
                f"{gateway.url}/v1/{PATHS[case.exchange.dialect]}", json=case.body(number),
                headers={"Authorization": f"Bearer {gateway.key}"},
            )  # fmt: skip
            got = await response.read()
        assert response.status == case.exchange.status, f"{case.exchange.name}: {got[:500]!r}"
        if response.status == 200:
            assert got == case.exchange.body, case.exchange.name
        return response.headers["x-request-id"]

    asked = await asyncio.gather(*(play(number, case) for number, case in enumerate(played)))
    rows = await _rows(gateway, len(played))
    assert len(upstream.requests) == len(rows) == len(played) > 1300

    routes = {case.llm: case for case in played}
    wrong = [
        problem for case, name in zip(played, asked, strict=True) for problem in _problems(case, rows[name], routes)
    ]
    assert not wrong, f"{len(wrong)} figures are not what the bytes say:\n" + "\n".join(wrong[:20])


def _answer(played: list[Case], request: Recorded) -> Script:
    return played[int(request.json()["user"])].script()


async def _rows(gateway: RunningGateway, count: int) -> dict[str, dict[str, Any]]:
    """By request. One each: with more, there are too many in all."""
    found: list[dict[str, Any]] = []

    async def enough() -> bool:
        found.clear()
        after = ""
        while True:
            page = await gateway.api(f"usage/events?limit=100{after}")
            found.extend(page["data"])
            if not page["has_more"]:
                return len(found) >= count
            after = f"&after={page['last_id']}"

    await until(enough, f"{count} rows", 60)
    assert len(found) == count, f"{len(found)} rows instead of {count}"
    return {row["request_id"]: row for row in found}


def _problems(case: Case, row: dict[str, Any], routes: Mapping[str, Case]) -> list[str]:
    exchange, name = case.exchange, case.exchange.name
    if exchange.status != 200:
        figures = (row["outcome"], row["usage_source"], row["lines"], row["list_cost_usd"])
        return [] if figures == ("upstream_error", "none", [], "0.00") else [f"{name}: an error's row says {figures}"]
    usage = ours.find(exchange).usage
    if usage is None:
        return [] if row["usage_source"] in ("estimated", "none") else [f"{name}: nobody reported {row['lines']}"]
    moment = _moment(row)

    def price_of(model: str) -> PriceVersion | Unpriced:
        """What another model that was called costs: known where the catalog has it at the same provider."""
        other = routes.get(f"{exchange.provider}/{model}")
        return other.price(moment) if other is not None else Unpriced("not in the catalog")

    rated = ours.rated(usage, case.price(moment), moment, price_of)
    expected = _figures(usage, rated)
    got = {part: row[part] for part in expected}
    got["lines"] = sorted((line["unit"], line["quantity"], line["list_cost_usd"]) for line in row["lines"])
    return [f"{name}: {part} is {got[part]}, not {expected[part]}" for part in expected if got[part] != expected[part]]


def _figures(usage: Usage, rated: Rated) -> dict[str, Any]:
    return {
        "usage_source": "provider",
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "service_tier": tier_name(usage.service_tier),
        "pricing": "priced" if rated.priced else "unpriced",
        "list_cost_usd": format_usd(rated.list_pusd),
        "lines": sorted((line.unit, line.quantity, format_usd(line.list_pusd)) for line in rated.lines),
    }


def _moment(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["occurred_at"])
