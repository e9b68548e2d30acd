"""`synapscale chat`: text on stdout, numbers on stderr, and no broken answer passes for a whole one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from proxy.cli.chat import Answer, summary

Cli = Callable[..., Awaitable[Any]]
CHUNK = 'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n'
USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":1203,"completion_tokens":88,"cost":0.000412000000}}\n\n'


class Upstream:
    """Answers the one request with these bytes."""

    def __init__(self) -> None:
        self.text = ""
        self.status = 200
        self.seen: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append({"key": request.headers["Authorization"], **await request.json()})
        return web.Response(status=self.status, text=self.text, headers={"x-request-id": "req_1"})


@pytest.fixture
async def upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Upstream]:
    upstream = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", upstream.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("SYNAPSCALE_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("SYNAPSCALE_API_KEY", "sk-syn-mine")
    yield upstream
    await runner.cleanup()


async def test_streamed_text_and_summary(cli: Cli, upstream: Upstream) -> None:
    upstream.text = ": hello\n\n" + CHUNK % "Hello" + CHUNK % " world" + USAGE + "data: [DONE]\n\n"
    ran = await cli("chat", "gpt-4o-mini", "hi")
    assert (ran.code, ran.out) == (0, "Hello world\n")
    assert ran.err.startswith("1,203 in · 88 out · $0.000412000000 · ") and ran.err.endswith(" ms · req_1\n")
    assert upstream.seen[0]["key"] == "Bearer sk-syn-mine"
    assert upstream.seen[0]["messages"] == [{"role": "user", "content": "hi"}] and upstream.seen[0]["stream"] is True


async def test_from_a_pipe_as_json(cli: Cli, upstream: Upstream) -> None:
    upstream.text = CHUNK % "Hello" + USAGE + "data: [DONE]\n\n"
    ran = await cli("chat", "gpt-4o-mini", "--json", stdin="long prompt")
    assert upstream.seen[0]["messages"][0]["content"] == "long prompt"
    # Exact decimal text, as it came.
    assert ran.json["text"] == "Hello" and ran.json["usage"]["cost"] == "0.000412000000"


async def test_answer_without_its_end_is_an_error(cli: Cli, upstream: Upstream) -> None:
    upstream.text = CHUNK % "Hel"
    ran = await cli("chat", "gpt-4o-mini", "hi")
    assert (ran.code, ran.out) == (1, "Hel\n") and "cut off" in ran.err


async def test_error_inside_the_stream(cli: Cli, upstream: Upstream) -> None:
    upstream.text = CHUNK % "Hel" + 'data: {"error":{"message":"upstream broke"}}\n\n'
    ran = await cli("chat", "gpt-4o-mini", "hi")
    assert ran.code == 1 and "upstream broke" in ran.err and "req_1" in ran.err


@pytest.mark.parametrize(("status", "code"), [(401, 4), (404, 1), (503, 1)])
async def test_refusal(cli: Cli, upstream: Upstream, status: int, code: int) -> None:
    upstream.status, upstream.text = status, '{"error":{"message":"No such model. Near: gpt-4o"}}'
    ran = await cli("chat", "gpt4o", "hi")
    assert ran.code == code and ran.out == ""
    assert ("SYNAPSCALE_API_KEY" in ran.err) == (status == 401) and "--key-file" not in ran.err
    assert "Error: No such model. Near: gpt-4o\n" in ran.err and "Request req_1" in ran.err


async def test_no_key_is_minted(cli: Cli, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNAPSCALE_API_KEY")
    ran = await cli("chat", "gpt-4o-mini", "hi")
    assert ran.code == 4 and "synapscale keys create" in ran.err and upstream.seen == []


def test_what_is_not_known_is_left_out() -> None:
    assert summary(Answer("", {}, 812, None)) == "812 ms"
    told = summary(Answer("", {"prompt_tokens": 0, "completion_tokens": 2}, 5, "req_1"))
    assert told == "0 in · 2 out · 5 ms · req_1"
