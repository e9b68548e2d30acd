"""Request targets and Hosts: who may come in is judged by the route, never by a URL built from what a client says."""

from __future__ import annotations

import logging

import pytest

from tests.server.house import ANSWER, ASK, HOT, LAST, House
from tests.upstream.script import whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Spellings of the protected paths, some of which a server may take for them.
TARGETS = [
    spelling % path
    for path in (b"/v1/chat/completions", b"/v1/models", b"/api/v1/workspaces", b"/api/v1/virtual-keys")
    for spelling in (
        b"%b", b"//%b", b"/%b", b"%b/", b"%b//", b"%b/.", b"%b/..", b"%b?x=/health/live", b"%b;x", b"%b%%00", b"%b%%20", b"%b%%2e",
        b"/.%b", b"/..%b", b"/health/live/..%b", b"/health/live/../..%b", b"/health/live%%2f..%b", b"/%%2e%%2e%b", b"/health/%%2e%%2e%b",
        b"http://gateway%b", b"http://evil.example%b", b"https://evil.example:443%b", b"http://x:y@evil.example%b", b"http://gateway/health/live/..%b",
    )
] + [
    b"/v1/%63hat/completions", b"/v1/chat%2fcompletions", b"/v1/chat%2Fcompletions", b"/%76%31/models", b"/V1/models", b"/v1\\models",
    b"/v1/models/../../api/v1/workspaces", b"/api/v1/%77orkspaces", b"/api/v1/workspaces%3fx", b"/api/v1/openapi.json/../workspaces",
    b"*", b"http://", b"http:///v1/models", b"//evil.example/v1/models", b"/v1/models/" + b"%2e%2e%2f" * 20 + b"etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])
async def test_without_a_key_no_spelling_lets_in(house: House, method: bytes) -> None:
    """Neither a path nor a Host changes who is asked for a key: 200 is for what is open to all."""
    for target in TARGETS:
        for host in (b"gateway", b"127.0.0.1/health/live?", b"gateway/../health/live#", b"evil.example"):
            data = b"%b %b HTTP/1.1\r\nHost: %b\r\nContent-Length: 0\r\n\r\n" % (method, target, host)
            heard = await house.talk(data + LAST, methods=[method.decode()])
            assert heard.statuses[0] in (400, 401, 404, 405), (target, host, heard.data)
            assert heard.statuses[1:] in ([], [200]), (target, host, heard.data)
    assert not house.upstream.requests


@pytest.mark.parametrize(
    "target",
    [b"http://evil.example/v1/chat/completions", b"http://127.0.0.1:1/v1/chat/completions", b"/v1/%63hat/completions",
     b"//v1/chat/completions", b"/health/../v1/chat/completions", b"/v1/chat/completions?api-version=2&key=canary-lime-23"],
)  # fmt: skip
async def test_with_a_key_the_provider_gets_our_path_only(
    house: House, target: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it is served or not: the URL of the upstream's request is the configured one."""
    house.upstream.always(whole(ANSWER))
    heard = await house.talk(house.post(path=target) + LAST)
    assert heard.statuses[0] in (200, 400, 404)
    assert [request.path for request in house.upstream.requests] == ["/v1/chat/completions"] * heard.statuses[:1].count(
        200
    )
    assert all(request.header("host") == f"127.0.0.1:{house.upstream.port}" for request in house.upstream.requests)
    assert "canary-lime-23" not in caplog.text


async def test_a_query_is_no_other_path(house: House) -> None:
    """Azure's SDKs add `?api-version=…`; it is not forwarded."""
    house.upstream.expect(whole(ANSWER))
    heard = await house.talk(house.post(path=HOT + b"?api-version=2024-10-21") + LAST)
    assert heard.statuses == [200, 200]
    assert house.upstream.requests[0].path == "/v1/chat/completions"


REFUSALS = {
    "unknown path": b"POST /v1/nonsense?key=<canary> HTTP/1.1",
    "wrong method": b"PUT /v1/chat/completions?key=<canary> HTTP/1.1",
    "unknown llm": b"GET /v1/models/nothing?key=<canary> HTTP/1.1",
    "wrong method on models": b"DELETE /v1/models?key=<canary> HTTP/1.1",
    "unknown id": b"GET /api/v1/virtual-keys/nothing?key=<canary> HTTP/1.1",
    "wrong method on the api": b"PUT /api/v1/workspaces?key=<canary> HTTP/1.1",
    "bad parameter": b"GET /api/v1/usage/events?limit=<canary> HTTP/1.1",
    "unknown parameter": b"GET /api/v1/usage/events?x=<canary> HTTP/1.1",
    "bad body": b"POST /api/v1/workspaces?key=<canary> HTTP/1.1",
}


@pytest.mark.parametrize("line", REFUSALS.values(), ids=REFUSALS)
async def test_no_refusal_repeats_a_header_a_query_or_a_body(
    house: House, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    canary = b"canary-quince-99"
    caplog.set_level(logging.DEBUG)
    for key in (house.key, house.admin_key, canary):
        head = b"%b\r\nHost: %b\r\nAuthorization: Bearer %b\r\nX: %b\r\nCookie: %b\r\nContent-Length: %d\r\n\r\n"
        body = b'{"%b": "%b"' % (canary, canary)
        data = head % (line.replace(b"<canary>", canary), canary, key, canary, canary, len(body)) + body
        heard = await house.talk(data + LAST)
        answer = heard.answers[0]
        assert 400 <= answer.status < 500 and answer.code, answer
        assert answer.header("x-content-type-options") == "nosniff" or "json" in (answer.header("content-type") or "")
        assert answer.header("cache-control") == "private, no-store"
        for secret in (canary, key):
            assert secret not in heard.data and secret.decode() not in caplog.text
    assert not house.upstream.requests


async def test_a_key_in_a_path_is_not_said_back(house: House) -> None:
    """A base URL with the key pasted into it."""
    for path in (b"/%b/chat/completions", b"/v1/%b", b"/v1/v1/%b", b"/chat/completions/%b", b"/v1/files/%b"):
        heard = await house.talk(house.head(method=b"GET", path=path % house.key) + LAST)
        assert heard.statuses == [404, 200]
        assert house.key not in heard.data


async def test_every_answer_says_that_it_is_private_and_who_we_are(house: House) -> None:
    house.upstream.always(whole(ANSWER))
    asked = {
        "hot": house.post(), "refused": house.post(key=b"sk-syn-x"), "models": house.head(method=b"GET", path=b"/v1/models"),
        "api": house.manage(b"GET", b"workspaces"), "unknown": house.head(path=b"/x"), "bad body": house.post(ASK[:-1]),
    }  # fmt: skip
    for name, data in asked.items():
        answer = (await house.talk(data + LAST)).answers[0]
        assert answer.header("cache-control") == "private, no-store", name
        assert (answer.header("x-request-id") or "").startswith("req_"), name
        assert answer.header("server") in (None, "synapscale"), name
