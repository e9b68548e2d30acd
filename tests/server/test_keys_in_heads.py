"""Authorization in every shape: never a guess whose bill it is, never an error of ours, nothing of it said or logged."""

from __future__ import annotations

import pytest

from tests.server.house import ANSWER, ASK, HOT, LAST, House
from tests.upstream.script import whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER = b"sk-syn-other-fig-canary-1"

CONFLICTS = {
    "twice the same": b"Authorization: Bearer <key>\r\nAuthorization: Bearer <key>\r\n",
    "twice, the second other": b"Authorization: Bearer <key>\r\nAuthorization: Bearer <other>\r\n",
    "twice, the first other": b"Authorization: Bearer <other>\r\nAuthorization: Bearer <key>\r\n",
    "in two spellings": b"authorization: Bearer <key>\r\nAUTHORIZATION: Bearer <other>\r\n",
    "the second Basic": b"Authorization: Bearer <key>\r\nAuthorization: Basic <other>\r\n",
    "the second empty": b"Authorization: Bearer <key>\r\nAuthorization:\r\n",
    "a list": b"Authorization: Bearer <key>, Bearer <other>\r\n",
    "x-api-key differs": b"Authorization: Bearer <key>\r\nx-api-key: <other>\r\n",
    "api-key differs": b"Authorization: Bearer <key>\r\napi-key: <other>\r\n",
    "x-api-key and api-key differ": b"x-api-key: <other>\r\napi-key: <key>\r\n",
    "x-api-key twice": b"x-api-key: <key>\r\nX-API-Key: <other>\r\n",
}
REFUSED = {
    "none": b"",
    "empty": b"Authorization:\r\n",
    "Bearer alone": b"Authorization: Bearer\r\n",
    "Basic": b"Authorization: Basic <key>\r\n",
    "no scheme": b"Authorization: <key>\r\n",
    "two words": b"Authorization: Bearer <key> <other>\r\n",
    "quotes": b"Authorization: Bearer '\" OR 1=1; DROP TABLE virtual_keys; --\r\n",
    "not ASCII": b"Authorization: Bearer \xc3\xa4\xff\x80\r\n",
    "percent": b"Authorization: Bearer %00%27%s{0}$1\r\n",
    "6 KB": b"Authorization: Bearer " + b"k" * 6000 + b"\r\n",
    "right with a letter more": b"Authorization: Bearer <key>x\r\n",
    "right in capitals": b"Authorization: Bearer <KEY>\r\n",
    "under another name": b"X_Api_Key: <key>\r\nProxy-Authorization: Bearer <key>\r\nCookie: api_key=<key>\r\n",
}  # fmt: skip
ACCEPTED = {
    "as it should be": b"Authorization: Bearer <key>\r\n",
    "in small letters": b"authorization: bearer <key>\r\n",
    "spaces around": b"Authorization:   Bearer   <key>  \r\n",
    "x-api-key": b"x-api-key: <key>\r\n",
    "api-key": b"api-key: <key>\r\n",
    "all three the same": b"Authorization: Bearer <key>\r\nx-api-key: <key>\r\napi-key: <key>\r\n",
}
SURFACES = {
    "hot": (b"POST", HOT, ASK),
    "models": (b"GET", b"/v1/models", b""),
    "api": (b"GET", b"/api/v1/workspaces", b""),
}


def asking(house: House, surface: str, headers: bytes) -> bytes:
    method, path, body = SURFACES[surface]
    key = house.admin_key if surface == "api" else house.key
    headers = headers.replace(b"<key>", key).replace(b"<KEY>", key.upper()).replace(b"<other>", OTHER)
    return b"%b %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (method, path, headers, len(body), body)


def says_nothing(house: House, data: bytes, logged: str) -> None:
    for secret in (OTHER, house.key, house.admin_key):
        assert secret not in data and secret.decode() not in logged


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("headers", CONFLICTS.values(), ids=CONFLICTS)
async def test_two_keys_are_one_too_many(
    house: House, surface: str, headers: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    if surface == "api" and b"pi-key" in headers:
        headers = headers.replace(
            b"Bearer <key>", b"Bearer <other>"
        )  # it reads Authorization alone: the others are nothing
    answer = (await house.talk(asking(house, surface, headers) + LAST)).answers[0]
    assert answer.status in (400, 401) and answer.code, answer
    says_nothing(house, answer.body, caplog.text)
    assert not house.upstream.requests


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
async def test_what_is_no_key_is_refused(
    house: House, surface: str, headers: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = (await house.talk(asking(house, surface, headers) + LAST)).answers[0]
    assert answer.status == 401 and answer.code, answer
    says_nothing(house, answer.body, caplog.text)
    assert not house.upstream.requests


@pytest.mark.parametrize("headers", ACCEPTED.values(), ids=ACCEPTED)
async def test_the_usual_spellings(house: House, headers: bytes) -> None:
    house.upstream.expect(whole(ANSWER))
    assert (await house.talk(asking(house, "hot", headers) + LAST)).statuses == [200, 200]
    sent = house.upstream.requests[0]
    assert [value for name, value in sent.headers if b"auth" in name or b"key" in name] == [
        b"Bearer fake-provider-key-0123456789"
    ]
    assert (await house.talk(asking(house, "models", headers) + LAST)).statuses == [200, 200]


async def test_a_key_of_one_kind_does_not_open_the_other(house: House) -> None:
    for data in (house.post(key=house.admin_key), house.head(method=b"GET", path=b"/api/v1/workspaces", key=house.key)):
        answer = (await house.talk(data + LAST)).answers[0]
        assert answer.status == 401 and answer.code == "wrong_key_kind"
