from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from proxy.identity.virtual_key import mint, mint_management
from proxy.wire.ids import from_wire
from proxy.wire.refusals import Refused
from tests.proxy.api.conftest import Api, Tenant


def uuid_of(prefix: str, text: str) -> UUID:
    found = from_wire(prefix, text)
    assert found is not None
    return found


async def refused_code(api: Api, secret: str) -> str | None:
    with pytest.raises(Refused) as caught:
        await api.deployment.resolver.resolve_now(secret)
    return caught.value.reason.value.code


async def test_the_life_of_a_key(api: Api, acme: Tenant) -> None:
    resolver = api.deployment.resolver
    made = await api.ok(
        "POST", "/virtual-keys", {"user_id": acme.user_id, "name": "prod", "llms": ["gpt-mini"]}, key=acme.owner
    )
    secret, path = made["key"], f"/virtual-keys/{made['id']}"
    assert made["hint"] == f"sk-syn-…{secret[-4:]}"
    assert (await resolver.resolve(secret)).llms == {"gpt-mini"}

    shown = await api.ok("GET", path, key=acme.owner)
    assert "key" not in shown
    assert shown == {name: value for name, value in made.items() if name != "key"}

    changed = await api.ok("PATCH", path, {"name": "new", "llms": None, "expires_at": "2999-01-01T00:00:00Z"})
    assert (changed["name"], changed["llms"], changed["expires_at"]) == ("new", None, "2999-01-01T00:00:00Z")
    assert (await api.ok("PATCH", path, {"expires_at": None}))["expires_at"] is None
    assert (await api.ok("PATCH", path, {"name": "newer"}))["llms"] is None

    assert (await api.ok("POST", f"{path}/block"))["status"] == "blocked"
    assert await refused_code(api, secret) == "key_blocked"
    assert (await api.ok("POST", f"{path}/unblock"))["status"] == "active"
    assert await resolver.resolve_now(secret)

    rotated = await api.ok("POST", f"{path}/rotate")
    assert rotated["id"] == made["id"]
    assert rotated["key"] != secret
    assert await refused_code(api, secret) == "invalid_api_key"
    assert await resolver.resolve_now(rotated["key"])

    assert await api.ok("DELETE", path) == {"id": made["id"], "object": "virtual_key", "deleted": True}
    assert await refused_code(api, rotated["key"]) == "invalid_api_key"
    assert (await api.get(path)).status == 404


async def test_every_change_of_a_key_raises_its_workspaces_epoch_and_no_others(
    api: Api, acme: Tenant, rival: Tenant
) -> None:
    epoch, foreign = await api.deployment.epoch(acme.workspace), await api.deployment.epoch(rival.workspace)
    one = f"/virtual-keys/{acme.key_id}"
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/virtual-keys", {"workspace_id": acme.ws, "user_id": acme.user_id, "name": "k"}),
        ("PATCH", one, {"name": "other"}),
        ("POST", f"{one}/block", None),
        ("POST", f"{one}/unblock", None),
        ("POST", f"{one}/rotate", None),
        ("DELETE", one, None),
    ]
    for step, (method, path, body) in enumerate(calls, 1):
        await api.ok(method, path, body)
        assert await api.deployment.epoch(acme.workspace) == epoch + step
        assert api.deployment.published[-1] == {acme.workspace: epoch + step}
    assert await api.deployment.epoch(rival.workspace) == foreign


async def test_an_imported_literal(api: Api, acme: Tenant) -> None:
    literal = "sk-litellm-0123456789abcdef"
    body = {"user_id": acme.user_id, "name": "old", "key": literal}
    made = await api.ok("POST", "/virtual-keys", body, key=acme.owner)
    assert (made["key"], made["imported"], made["hint"]) == (literal, True, "…cdef")
    assert (await api.deployment.resolver.resolve(literal)).key_id == uuid_of("key", made["id"])
    again = await api.post("/virtual-keys", body, key=acme.owner)
    assert (again.status, again.code, again.param) == (409, "conflict", "key")
    rotated = await api.ok("POST", f"/virtual-keys/{made['id']}/rotate", key=acme.owner)
    assert rotated["imported"] is False
    assert rotated["key"].startswith("sk-syn-")


LITERALS_THAT_ARE_SOMETHING_ELSE = [
    "short", "with space 0123456789", "ünïcode-0123456789", "sk-proj-0123456789abcdef", "sk-ant-api03-0123456789",
    mint()[:-1] + "~", mint_management(), "x" * 513, "",
]  # fmt: skip


async def test_literals_that_are_something_else(api: Api, acme: Tenant) -> None:
    for literal in LITERALS_THAT_ARE_SOMETHING_ELSE:
        answer = await api.post("/virtual-keys", {"user_id": acme.user_id, "name": "x", "key": literal}, key=acme.owner)
        assert (answer.status, answer.param) == (400, "key")
        assert not literal or literal not in str(answer.json)


BAD_BODIES: list[Any] = [
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"name": 5}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"name": "a\x00b"}, "name"),
    ({"user_id": "key_" + "0" * 32}, "user_id"),
    ({"user_id": 1}, "user_id"),
    ({"user_id": None}, "user_id"),
    ({"workspace_id": "nope"}, "workspace_id"),
    ({"llms": []}, "llms"),
    ({"llms": "gpt-mini"}, "llms"),
    ({"llms": ["gpt-mini", 5]}, "llms.1"),
    ({"llms": ["gpt-mini", "gpt-mani"]}, "llms.1"),
    ({"expires_at": "tomorrow"}, "expires_at"),
    ({"expires_at": 4102444800}, "expires_at"),
    ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
    ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ({"expires_at": "9999-12-31T23:59:59Z"}, "expires_at"),
    # mass assignment: what the server decides
    ({"id": "key_" + "0" * 32}, "id"),
    ({"status": "active"}, "status"),
    ({"hash": "00"}, "hash"),
    ({"imported": True}, "imported"),
    ({"last4": "abcd"}, "last4"),
    ({"created_at": "2001-01-01T00:00:00Z"}, "created_at"),
    ({"role": "owner"}, "role"),
]


async def test_bad_bodies(api: Api, acme: Tenant) -> None:
    for changes, param in BAD_BODIES:
        body = {"user_id": acme.user_id, "name": "x"} | changes
        answer = await api.post("/virtual-keys", body, key=acme.owner)
        assert (answer.status, answer.code, answer.param) == (400, "invalid_value", param), answer
        assert len((await api.get("/virtual-keys", key=acme.owner)).json["data"]) == 1


async def test_near_names_are_named(api: Api, acme: Tenant) -> None:
    body = {"user_id": acme.user_id, "name": "x", "llms": ["gpt-mani"]}
    answer = await api.post("/virtual-keys", body, key=acme.owner)
    assert "gpt-mini" in answer.json["error"]["message"]


async def test_the_platform_names_the_workspace(api: Api, acme: Tenant, rival: Tenant) -> None:
    answer = await api.post("/virtual-keys", {"user_id": acme.user_id, "name": "x"})
    assert (answer.status, answer.param) == (400, "workspace_id")
    # a user of another workspace is nobody here
    answer = await api.post("/virtual-keys", {"workspace_id": rival.ws, "user_id": acme.user_id, "name": "x"})
    assert (answer.status, answer.param) == (400, "user_id")


BODIES_THAT_ARE_NONE: list[Any] = [
    (b"{", {}, 400, "invalid_json"),
    (b"", {}, 400, "invalid_value"),
    (b"[]", {}, 400, "invalid_value"),
    (b'"x"', {}, 400, "invalid_value"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (b"{}", {"Content-Encoding": "compress"}, 415, "unsupported_content_encoding"),
    (b'{"name":"\\ud800"}', {}, 400, "invalid_json"),
    (b"\xff\xfe", {}, 400, "invalid_json"),
    (b'{"name":"' + b"x" * 300_000 + b'"}', {}, 413, "request_too_large"),
    (b"[" * 100_000, {}, 400, "invalid_json"),
]


async def test_bodies_that_are_none(api: Api) -> None:
    for data, headers, status, code in BODIES_THAT_ARE_NONE:
        sent = {"Content-Type": "application/json"} | headers
        async with api.client.post(
            "/api/v1/virtual-keys", data=data, headers=sent | {"Authorization": f"Bearer {api.platform}"}
        ) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (status, code)


async def test_pages(api: Api, acme: Tenant) -> None:
    for number in range(5):
        await api.ok("POST", "/virtual-keys", {"user_id": acme.user_id, "name": f"k{number}"}, key=acme.owner)
    newest = await api.ok("GET", "/virtual-keys?limit=4", key=acme.owner)
    assert [key["name"] for key in newest["data"]] == ["k4", "k3", "k2", "k1"]
    assert (newest["has_more"], newest["first_id"], newest["last_id"]) == (
        True, newest["data"][0]["id"], newest["data"][3]["id"],
    )  # fmt: skip
    rest = await api.ok("GET", f"/virtual-keys?limit=4&after={newest['last_id']}", key=acme.owner)
    assert ([key["name"] for key in rest["data"]], rest["has_more"]) == (["k0", "acme-key"], False)
    oldest = await api.ok("GET", "/virtual-keys?limit=2&order=asc", key=acme.owner)
    assert [key["name"] for key in oldest["data"]] == ["acme-key", "k0"]
    onwards = await api.ok("GET", f"/virtual-keys?limit=2&order=asc&after={oldest['last_id']}", key=acme.owner)
    assert [key["name"] for key in onwards["data"]] == ["k1", "k2"]
    none = await api.ok("GET", "/virtual-keys?name=none", key=acme.owner)
    assert none == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


async def test_filters(api: Api, acme: Tenant, rival: Tenant) -> None:
    await api.ok("POST", f"/virtual-keys/{rival.key_id}/block")
    for query, found in [
        ("", {"acme-key", "rival-key"}),
        (f"workspace_id={acme.ws}", {"acme-key"}),
        (f"user_id={rival.user_id}", {"rival-key"}),
        ("status=blocked", {"rival-key"}),
        ("name=acme-key", {"acme-key"}),
        ("name=acme-key&status=blocked", set()),
    ]:
        assert {key["name"] for key in (await api.ok("GET", f"/virtual-keys?{query}"))["data"]} == found


BAD_PARAMETERS = [
    ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("limit=1e1", "limit"), ("order=up", "order"),
    ("after=x", "after"), ("after=ws_" + "0" * 32, "after"), ("page=2", "page"), ("status=gone", "status"),
    ("limit=1&limit=2", "limit"), ("hash=x", "hash"), ("name=", "name"), ("name=%00", "name"),
    ("workspace_id=' OR 1=1", "workspace_id"),
]  # fmt: skip


async def test_bad_parameters(api: Api) -> None:
    for query, param in BAD_PARAMETERS:
        answer = await api.get(f"/virtual-keys?{query}")
        assert (answer.status, answer.code, answer.param) == (400, "invalid_value", param), answer


WHAT_LOOKS_LIKE_SQL_IS_TEXT = [
    "'; DROP TABLE virtual_keys; --", '" OR ""="', "$1", "%_%", "\\", "{}", "<script>", "名前", "a' UNION SELECT",
]  # fmt: skip


async def test_what_looks_like_sql_is_text(api: Api, acme: Tenant) -> None:
    for text in WHAT_LOOKS_LIKE_SQL_IS_TEXT:
        made = await api.ok("POST", "/virtual-keys", {"user_id": acme.user_id, "name": text}, key=acme.owner)
        assert made["name"] == text
        async with api.client.get(
            "/api/v1/virtual-keys", params={"name": text}, headers={"Authorization": f"Bearer {acme.owner}"}
        ) as response:
            assert [key["id"] for key in (await response.json())["data"]] == [made["id"]]


async def test_neither_a_key_nor_its_hash_is_ever_listed(api: Api, acme: Tenant) -> None:
    rows = await api.deployment.pool.fetch("SELECT hash FROM virtual_keys UNION ALL SELECT hash FROM management_keys")
    shown = ""
    for path in ("/virtual-keys", "/management-keys", "/audit", f"/virtual-keys/{acme.key_id}", "/user-variables"):
        shown += str((await api.get(path)).json)
    for secret in (acme.secret, acme.owner, api.platform, "CANARY", *(row["hash"].hex() for row in rows)):
        assert secret not in shown


async def test_a_key_in_force_until_it_expires(api: Api, acme: Tenant) -> None:
    soon = (api.deployment.clock.now() + timedelta(seconds=30)).isoformat()
    body = {"user_id": acme.user_id, "name": "x", "expires_at": soon}
    made = await api.ok("POST", "/virtual-keys", body, key=acme.owner)
    assert await api.deployment.resolver.resolve_now(made["key"])
    api.deployment.clock.advance(31)
    assert await refused_code(api, made["key"]) == "key_expired"
