"""CR, LF, NUL and other bytes in every place that a client controls: no header of anybody's is made of them."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from tests.server.house import ANSWER, ASK, LAST, House
from tests.upstream.script import whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = {
    "CR LF": "\r\nX-Injected: 1\r\n\r\nGET /admin HTTP/1.1\r\n", "LF": "\nX-Injected: 1", "CR": "\rX-Injected: 1", "NUL": "a\0b",
    "controls": "\x01\x08\x1b[31m\x7f", "line separators": "\u0085\u2028X-Injected: 1", "above ASCII": "Zoë 日本 \U0001f600",
    "percent": "%0d%0aX-Injected:%201", "quotes": "'\";--${jndi:x}{0}%s", "long": "x" * 5000,
}  # fmt: skip
# Where a header takes a value, and whether the provider gets it.
HEADERS = [
    "X-End-User",
    "X-Request-Id",
    "OpenAI-Beta",
    "Idempotency-Key",
    "User-Agent",
    "Content-Type",
    "Traceparent",
    "X-Forwarded-For",
]
OURS = {b"authorization", b"content-type", b"content-length", b"host", b"accept-encoding", b"accept", b"user-agent"}


def nothing_injected(house: House) -> None:
    for request in house.upstream.requests:
        names = [name for name, _ in request.headers]
        assert len(set(names)) == len(names) and not any(b"inject" in name for name in names), request.headers
        assert set(names) <= OURS | {b"openai-beta", b"idempotency-key"}, names


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
async def test_in_a_header(house: House, name: str, value: str) -> None:
    """Breaks of a line end the head or are refused; whatever passes as a value goes nowhere as anything else."""
    house.upstream.always(whole(ANSWER))
    raw = f"{name}: a{value}b\r\n".encode()
    request = house.post(extra=raw)
    heard = await house.talk(request + LAST)
    assert heard.statuses[0] in (200, 400, 401), heard.statuses
    assert all(answer.header("x-injected") is None for answer in heard.answers)
    assert (heard.answers[0].header("x-request-id") or "").startswith("req_")
    for each in house.upstream.requests:
        for known, sent in each.headers:
            assert not any(byte in sent for byte in b"\r\n\0")
            # An idempotency key is one of many tenants' on our account: the provider gets a digest.
            assert known in OURS or sent == raw[len(name) + 2 : -2] or re.fullmatch(rb"[0-9a-f]{32,64}", sent)
    if "\r\n" not in value:  # else the client itself has sent another header
        nothing_injected(house)
    for row in await house.new_rows(len(house.upstream.requests)):
        assert row["end_user"] is None or (name == "X-End-User" and len(row["end_user"]) <= 256)


FIELDS: dict[str, Any] = {
    "model": lambda value: {"model": value},
    "user": lambda value: {"user": value},
    "service_tier": lambda value: {"service_tier": value},
    "a name of a field": lambda value: {value: 1},
    "metadata": lambda value: {"metadata": {value: value}},
    "safety_identifier": lambda value: {"safety_identifier": value},
    "messages": lambda value: {"messages": [{"role": value, "content": value}]},
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
async def test_in_a_body(house: House, field: str, value: str) -> None:
    house.upstream.always(whole(ANSWER))
    body = orjson.dumps({**orjson.loads(ASK), **FIELDS[field](value)})
    heard = await house.talk(house.post(body) + LAST)
    assert heard.statuses in ([200, 200], [404, 200], [400, 200])
    assert heard.statuses[0] != 404 or heard.answers[0].code == "model_not_found"
    assert all(answer.header("x-injected") is None for answer in heard.answers)
    nothing_injected(house)
    for row in await house.new_rows(len(house.upstream.requests)):
        assert row["end_user"] is None or len(row["end_user"]) <= 256


@pytest.mark.parametrize(
    "value", ["%0d%0aX-Injected:%201", "%00", "%0a", "%c3%28", "%ff", "%F0%9F%98%80", "a%2f..%2f..", "'--", "%"]
)
async def test_in_a_path(house: House, value: str, caplog: pytest.LogCaptureFixture) -> None:
    for path in (
        f"/v1/models/{value}",
        f"/{value}",
        f"/v1/{value}",
        f"/api/v1/workspaces/{value}",
        f"/health/live?{value}={value}",
    ):
        for key in (house.key, house.admin_key):
            heard = await house.talk(house.head(method=b"GET", path=path.encode(), key=key) + LAST)
            assert heard.statuses[0] in (200, 400, 401, 404, 405), (path, heard.data)
            assert heard.statuses[0] != 200 or path.startswith("/health/live?")
            assert all(answer.header("x-injected") is None for answer in heard.answers)
    assert not house.upstream.requests


async def test_cookies_stay_here(house: House) -> None:
    house.upstream.expect(whole(ANSWER))
    extra = b"Cookie: session=plum-canary\r\nOpenAI-Organization: org-plum\r\nOpenAI-Project: plum\r\nX-Plum: plum\r\nReferer: http://plum\r\n"
    assert (await house.talk(house.post(extra=extra) + LAST)).statuses == [200, 200]
    assert not any(b"plum" in value for _, value in house.upstream.requests[0].headers)
