"""The newest openai-python through the whole of `make clients`' machinery, and that the machinery is in order."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients import books, expected
from tests.clients.check import check
from tests.clients.environments import LOCKS, NODE_FILES, PROGRAMS
from tests.clients.matrix import CLIENTS, HERE, NEWEST
from tests.clients.provider import Billed, Provider
from tests.clients.surfaces import SURFACES, is_served, surface_of
from tests.gateway import PROVIDER_KEY, RunningGateway, running, settings_of
from tests.upstream.server import Upstream


@pytest.fixture
async def every_llm(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    providers = {"scripted": {"dialect": "openai", "base_url": upstream.base_url, "api_key": PROVIDER_KEY}}
    llms = [
        {
            "name": name,
            "routes": [{"provider": "scripted", "model": name}],
            "context_window": 128000,
            "max_output": 16384,
            "price": price,
        }
        for name, price in books.PRICES.items()
    ]
    async with running(settings_of(tmp_path, database_url, redis_url, providers, llms)) as up:
        yield up


async def test_the_newest_sdk_gets_its_answers_and_leaves_its_rows(
    every_llm: RunningGateway, upstream: Upstream, tmp_path: Path
) -> None:
    provider = Provider()
    upstream.always(provider.answer)

    async def rows() -> list[dict[str, object]]:
        found: list[dict[str, object]] = (await every_llm.api("usage/events?limit=100&order=asc"))["data"]
        return found

    results = await check(NEWEST, f"{every_llm.url}/v1", every_llm.key, provider, rows, tmp_path, {})
    assert [result for result in results if result.problem] == []
    checked = {result.case for result in results if result.problem is None}
    assert {"chat.answer", "chat.stream", "chat.tool", "chat.tool-stream", "chat.structured", "models.list"} <= checked
    assert {case.partition(".")[0] for case in checked} == set(SURFACES)
    assert len(await rows()) == len(provider.books)


def row_of(billed: Billed) -> dict[str, object]:
    cost = f"{books.cost_usd(billed):.12f}"
    return {
        "surface": SURFACES[billed.surface].row, "stream": billed.stream, "outcome": "ok", "pricing": "priced", "llm": expected.LLM,
        "input_tokens": billed.input, "cached_tokens": billed.cached, "output_tokens": billed.output, "reasoning_tokens": billed.reasoning,
        "usage_source": "provider", "list_cost_usd": cost, "charge_usd": cost,
    }  # fmt: skip


def test_every_difference_is_seen() -> None:
    billed = Billed("chat", True, 1000, 200, 50, 20)
    # (800 × 0.15 + 200 × 0.075 + 50 × 0.60) / 10^6
    assert str(books.cost_usd(billed)) == "0.000165"
    assert books.differences(billed, row_of(billed)) == []
    for name, other in (("input_tokens", 999), ("cached_tokens", 0), ("output_tokens", 70), ("reasoning_tokens", None), ("stream", False),
                        ("usage_source", "estimated"), ("outcome", "abandoned"), ("charge_usd", "0.000165000001"),
                        ("list_cost_usd", None), ("pricing", "unpriced"), ("surface", "responses")):  # fmt: skip
        assert len(books.differences(billed, row_of(billed) | {name: other})) == 1, name
    assert books.differences(dataclasses.replace(billed, reported=False), row_of(billed)) != []


def test_a_surface_is_found_by_its_path() -> None:
    assert surface_of("POST", "/chat/completions") == "chat"
    assert surface_of("GET", "/chat/completions") is None, "stored completions"
    assert surface_of("GET", "/responses/resp_1/input_items") == "responses"
    assert surface_of("POST", "/completions") == "completions"
    assert surface_of("POST", "/completions_of_another_kind") is None
    assert is_served("GET", "/models/gpt-5") and not is_served("DELETE", "/models/gpt-5")
    assert {case.partition(".")[0] for case in expected.CASES} == set(SURFACES)


def test_every_client_has_a_program_and_a_lock() -> None:
    for client in CLIENTS:
        assert (PROGRAMS / client.program).is_file()
        assert client.environment is None or (LOCKS / f"{client.environment}.txt").is_file()
    programs = {path.name for path in PROGRAMS.iterdir() if path.is_file()}
    shared = {"serve_cases.py", "serve_cases.mjs", "ai_sdk_cases.mjs"}
    assert programs - shared == {client.program for client in CLIENTS}


@pytest.mark.parametrize("lock", sorted(path.name for path in LOCKS.glob("*.in")))
def test_locks_have_hashes_and_no_index_address(lock: str) -> None:
    text = (LOCKS / lock).with_suffix(".txt").read_text()
    pins = re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE)
    asked = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in (LOCKS / lock).read_text().splitlines()]
    assert set(asked) <= set(pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "index-url" not in text and "://" not in text


def test_packages_for_node_are_locked_without_an_address() -> None:
    package, lock = (json.loads((HERE / "node" / name).read_text()) for name in NODE_FILES)
    assert lock["packages"][""]["dependencies"] == package["dependencies"]
    for name, version in package["dependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    locked = [entry for name, entry in lock["packages"].items() if name]
    assert all(entry["integrity"].startswith("sha512-") and "resolved" not in entry for entry in locked)
