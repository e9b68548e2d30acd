"""Pages in browsers, and the access log, through the whole gateway: hot and cold paths say the same."""

from __future__ import annotations

import orjson
import pytest

from tests.server.house import ANSWER, ASK, ASK_STREAM, DONE, LAST, House
from tests.server.http1 import Answer
from tests.upstream.script import chunked, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = b"https://app.example.com"
SERVER = {"cors_origins": [PAGE.decode()], "access_log": True}
"""Beside the short limits."""


def allowed(answer: Answer) -> bool:
    if answer.header("access-control-allow-origin") is None:
        return False
    assert answer.header("access-control-allow-origin") == PAGE.decode() and answer.header("vary") == "Origin"
    assert answer.header("access-control-allow-credentials") is None
    return "x-request-id" in (answer.header("access-control-expose-headers") or "")


async def test_a_page_may_read_every_answer(house: House) -> None:
    house.upstream.expect(whole(ANSWER), chunked([DONE]), whole(b"{}", status=429))
    origin = b"Origin: %b\r\n" % PAGE
    for data in (
        house.post(extra=origin), house.post(ASK_STREAM, extra=origin), house.post(extra=origin), house.post(b"{", extra=origin),
        house.post(extra=origin, key=b"sk-syn-x"), house.head(method=b"GET", path=b"/v1/models", extra=origin),
        house.head(method=b"GET", path=b"/v1/x", extra=origin), house.head(method=b"PUT", extra=origin),
    ):  # fmt: skip
        assert allowed((await house.talk(data + LAST)).answers[0]), data


async def test_others_may_not(house: House) -> None:
    house.upstream.always(whole(ANSWER))
    for origin in (
        b"Origin: null\r\n",
        b"Origin: https://evil.example\r\n",
        b"Origin: %b.evil.example\r\n" % PAGE,
    ):
        for data in (house.post(extra=origin), house.head(method=b"GET", path=b"/v1/models", extra=origin)):
            answer = (await house.talk(data + LAST)).answers[0]
            assert not allowed(answer) and answer.header("vary") == "Origin"
    api = house.head(method=b"GET", path=b"/api/v1/workspaces", key=house.admin_key, extra=b"Origin: %b\r\n" % PAGE)
    assert not allowed((await house.talk(api + LAST)).answers[0])


async def test_it_asks_first(house: House) -> None:
    asking = (
        b"Origin: %b\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n" % PAGE
    )
    for path in (b"/v1/chat/completions", b"/v1/models"):
        answer = (await house.talk(b"OPTIONS %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path, asking) + LAST)).answers[0]
        assert (answer.status, answer.header("access-control-allow-headers")) == (204, "authorization")


async def test_the_access_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    body = orjson.dumps(
        {**orjson.loads(ASK), "messages": [{"role": "user", "content": "canary-sorrel"}], "model": "nothing"}
    )
    await house.talk(house.post(body, path=b"/v1/chat/completions?x=canary-sorrel") + LAST)
    await house.talk(house.head(method=b"GET", path=b"/v1/models/canary-sorrel?canary-sorrel") + LAST)
    lines = [orjson.loads(record.getMessage()) for record in caplog.records if record.name == "proxy.server.access"]
    said = [(line["method"], line["route"], line["status"]) for line in lines]
    assert ("GET", "/v1/models/{name}", 404) in said
    assert ("POST", "/v1/chat/completions", 404) in said
    assert "canary-sorrel" not in caplog.text and house.running.key not in caplog.text
