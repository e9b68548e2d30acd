"""Every recorded chat exchange through a running gateway, in pieces of one byte, of every event, and whole.

The client gets the provider's bytes, less the usage chunk that only the gateway asked for; the row says what the provider
reported, read here by plain JSON and not by the code under test.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pricing.usage import INPUT_UNITS, OUTPUT_UNITS
from tests.gateway import PRICE, RunningGateway, running, settings_of, until
from tests.upstream.script import chunked, whole
from tests.upstream.server import Upstream
from tests.wire.recordings import CHAT, Recording, available, cuts, load, missing_reason

READERS = ("openai", "azure", "groq", "openrouter", "deepseek", "mistral")


@pytest.fixture
async def gateway(
    tmp_path: Path, database_url: str, redis_url: str, upstream: Upstream
) -> AsyncIterator[RunningGateway]:
    """An llm per usage reader, all at the scripted upstream."""
    providers = {
        reader: {
            "dialect": "openai",
            "base_url": upstream.base_url,
            "api_key": "fake-key-12345678",
            "usage_reader": reader,
        }
        for reader in READERS
    }
    llms = [
        {"name": reader, "routes": [{"provider": reader, "model": "recorded"}], "price": PRICE} for reader in READERS
    ]
    async with running(settings_of(tmp_path, database_url, redis_url, providers, llms)) as up:
        yield up


def frames_of(body: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in body.split(b"\n\n")[:-1]] + [body.split(b"\n\n")[-1]]


def data_of(frame: bytes) -> dict[str, Any] | None:
    for line in frame.splitlines():
        if line.lstrip().startswith(b"data:") and b"{" in line:
            parsed: dict[str, Any] = orjson.loads(line.split(b"data:", 1)[1])
            return parsed
    return None


def reported(recording: Recording) -> dict[str, Any] | None:
    """The last usage that the provider sent."""
    found = None
    for frame in (
        frames_of(recording.body) if recording.is_stream else [b"data: " + recording.body.replace(b"\n", b" ")]
    ):
        data = data_of(frame) or {}
        found = data.get("usage") or (data.get("x_groq") or {}).get("usage") or found
    return found


def expected_bytes(recording: Recording, client_asked: bool) -> bytes:
    if not recording.is_stream or client_asked:
        return recording.body
    kept = []
    for frame in frames_of(recording.body):
        data = data_of(frame)
        if not (data is not None and data.get("usage") and data.get("choices") == []):
            kept.append(frame)
    return b"".join(kept)


@pytest.mark.skipif(not available() and os.environ.get("CI") != "true", reason=missing_reason())
@pytest.mark.parametrize("asked", [False, True], ids=["hidden", "asked"])
@pytest.mark.parametrize("how", ["bytes", "events", "whole"])
@pytest.mark.timeout(300)
async def test_recordings(gateway: RunningGateway, upstream: Upstream, how: str, asked: bool) -> None:
    checked = 0
    for recording in load(*CHAT):
        before = len(upstream.requests)
        headers = [("content-type", recording.headers.get("content-type", "application/json"))]
        if recording.is_stream:
            upstream.expect(
                chunked(
                    cuts(recording.body, how),
                    headers=headers,
                    piece=1 if how == "bytes" and len(recording.body) < 4000 else None,
                )
            )
        else:
            upstream.expect(whole(recording.body, status=recording.status, headers=headers))
        body: dict[str, Any] = {
            "model": recording.usage_reader,
            "stream": recording.is_stream,
            "messages": [{"role": "user", "content": "recorded"}],
        }
        if asked:
            body["stream_options"] = {"include_usage": True}
        response = await gateway.chat(body)
        got = await response.read()
        assert len(upstream.requests) == before + 1, recording.name
        assert response.status == recording.status, recording.name
        if recording.status == 200:
            assert got == expected_bytes(recording, asked), recording.name
        attempt = response.headers["x-request-id"]
        row = await row_of(gateway, attempt)
        check_row(row, recording)
        checked += 1
    assert checked >= 40, "recordings are missing"


async def row_of(gateway: RunningGateway, request_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = (await gateway.api(f"usage/events?request_id={request_id}"))["data"]
        return bool(found)

    await until(there, f"the row of {request_id}")
    assert len(found) == 1
    return found[0]


def check_row(row: dict[str, Any], recording: Recording) -> None:
    usage = reported(recording)
    name = recording.name
    if recording.status != 200:
        assert (row["outcome"], row["usage_source"], row["input_tokens"]) == ("upstream_error", "none", 0), name
        return
    if usage is None:
        assert row["usage_source"] in ("estimated", "none"), name
        return
    assert row["usage_source"] == "provider", name
    assert row["input_tokens"] == usage["prompt_tokens"], name
    details = usage.get("prompt_tokens_details") or {}
    assert row["cached_tokens"] == (details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0), name
    assert row["output_tokens"] == usage["completion_tokens"], name
    tokens = [line["quantity"] for line in row["lines"] if line["unit"] in INPUT_UNITS + OUTPUT_UNITS]
    assert sum(tokens) == usage["prompt_tokens"] + usage["completion_tokens"], name
