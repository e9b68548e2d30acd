"""Who gets in, and as whom."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.routes import PREFIX
from proxy.api.table import ENDPOINTS
from proxy.identity.virtual_key import mint, mint_management
from proxy.storage.postgres import open_pool
from proxy.wire.ids import to_wire
from tests.management import Deployment
from tests.proxy.api.conftest import Api, Client, Tenant, application

PLATFORM = {"platform"}
ADMINS = {"platform", "owner", "admin"}
BILLING = ADMINS | {"billing"}
SEEING = BILLING | {"viewer"}
ALL = SEEING | {"member"}
HOLDER = {"holder"}
# Those who may the most last: what they do changes what the others find.
CALLERS = ["nobody", "holder", "viewer", "member", "billing", "admin", "owner", "platform"]

# Written by hand, beside the table that the program uses: a change of who may do what has to be made twice.
MAY = {
    "GET /workspaces": ALL,
    "POST /workspaces": PLATFORM,
    "GET /workspaces/{workspace_id}": ALL,
    "PATCH /workspaces/{workspace_id}": ADMINS,
    "POST /workspaces/{workspace_id}/block": PLATFORM,
    "POST /workspaces/{workspace_id}/unblock": PLATFORM,
    "GET /workspaces/{workspace_id}/members": ALL,
    "POST /workspaces/{workspace_id}/members": ADMINS,
    "GET /workspaces/{workspace_id}/members/{user_id}": ALL,
    "PATCH /workspaces/{workspace_id}/members/{user_id}": ADMINS,
    "DELETE /workspaces/{workspace_id}/members/{user_id}": ADMINS,
    "GET /workspaces/{workspace_id}/plan": BILLING,
    "PUT /workspaces/{workspace_id}/plan": PLATFORM,
    "PATCH /workspaces/{workspace_id}/plan": PLATFORM,
    "GET /workspaces/{workspace_id}/prices": BILLING,
    "POST /workspaces/{workspace_id}/prices": PLATFORM,
    "GET /workspaces/{workspace_id}/prices/{llm_id}": BILLING,
    "PUT /workspaces/{workspace_id}/prices/{llm_id}": PLATFORM,
    "DELETE /workspaces/{workspace_id}/prices/{llm_id}": PLATFORM,
    "GET /users": ALL,
    "POST /users": ADMINS,
    "GET /users/{user_id}": ALL,
    "PATCH /users/{user_id}": PLATFORM,
    "POST /users/{user_id}/block": PLATFORM,
    "POST /users/{user_id}/unblock": PLATFORM,
    "GET /virtual-keys": ALL,
    "POST /virtual-keys": ADMINS,
    "GET /virtual-keys/{id}": ALL,
    "PATCH /virtual-keys/{id}": ADMINS,
    "DELETE /virtual-keys/{id}": ADMINS,
    "POST /virtual-keys/{id}/rotate": ADMINS,
    "POST /virtual-keys/{id}/block": ADMINS,
    "POST /virtual-keys/{id}/unblock": ADMINS,
    "GET /management-keys": ADMINS,
    "POST /management-keys": ADMINS,
    "GET /management-keys/{id}": ADMINS,
    "PATCH /management-keys/{id}": ADMINS,
    "DELETE /management-keys/{id}": ADMINS,
    "POST /management-keys/{id}/rotate": ADMINS,
    "POST /management-keys/{id}/block": ADMINS,
    "POST /management-keys/{id}/unblock": ADMINS,
    "GET /user-variables": ADMINS,
    "POST /user-variables": ADMINS,
    "GET /user-variables/{id}": ADMINS,
    "PATCH /user-variables/{id}": ADMINS,
    "DELETE /user-variables/{id}": ADMINS,
    "GET /llms": ALL,
    "GET /llms/{id}": ALL,
    "GET /providers": ALL,
    "GET /providers/{id}": ALL,
    "GET /prices": ALL,
    "POST /prices": PLATFORM,
    "GET /prices/{id}": ALL,
    "POST /prices/unset": PLATFORM,
    "POST /prices/import": PLATFORM,
    "GET /provider-objects": SEEING,
    "POST /provider-objects": ADMINS,
    "GET /usage/events": SEEING,
    "GET /usage/events/{id}": SEEING,
    "GET /usage/summary": SEEING,
    "GET /billing/events": BILLING,
    "POST /billing/rerate": PLATFORM,
    "POST /billing/refunds": PLATFORM,
    "POST /billing/credits": PLATFORM,
    "GET /alerts": SEEING,
    "GET /exports": BILLING,
    "GET /exports/{id}": BILLING,
    "GET /exports/usage-events": BILLING,
    "GET /exports/billing-events": BILLING,
    "GET /exports/daily": BILLING,
    "GET /audit": ADMINS,
    "GET /me": HOLDER,
}
NAMES = [f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS]


def test_every_endpoint_has_its_line() -> None:
    assert sorted(NAMES) == sorted(MAY)


def filled(path: str, tenant: Tenant, kind: str = "") -> str:
    """The path with a tenant's ids. `kind`: what `{id}` is."""
    kind = kind or path.split("/")[1]
    ids = {
        "virtual-keys": tenant.key_id, "management-keys": tenant.mk, "user-variables": tenant.uv,
        "llms": "llm_" + "0" * 32, "prices": "pver_" + "0" * 32, "providers": "prov_" + "0" * 32, "usage": "att_" + "0" * 32,
        "exports": "exp_" + "0" * 32,
    }  # fmt: skip
    path = path.replace("{workspace_id}", tenant.ws).replace("{user_id}", tenant.user_id).replace("{llm_id}", ids["llms"])
    return path.replace("{id}", ids.get(kind, "")) + ("?group_by=llm" if path.endswith("/summary") else "")


def body_of(name: str, tenant: Tenant) -> dict[str, Any] | None:
    bodies: dict[str, dict[str, Any]] = {
        "POST /workspaces": {"name": "new"},
        "PATCH /workspaces/{workspace_id}": {"name": "new"},
        "POST /workspaces/{workspace_id}/members": {"user_id": tenant.user_id, "role": "viewer"},
        "PATCH /workspaces/{workspace_id}/members/{user_id}": {"role": "viewer"},
        "PUT /workspaces/{workspace_id}/plan": {"markup_bps": 100},
        "PATCH /workspaces/{workspace_id}/plan": {"internal": True},
        "POST /workspaces/{workspace_id}/prices": {"llm": "gpt-mini", "markup_bps": 100},
        "PUT /workspaces/{workspace_id}/prices/{llm_id}": {"markup_bps": 100},
        "POST /users": {"email": "new@acme.test"},
        "PATCH /users/{user_id}": {"name": "new"},
        "POST /virtual-keys": {"workspace_id": tenant.ws, "user_id": tenant.user_id, "name": "new"},
        "PATCH /virtual-keys/{id}": {"name": "new"},
        "POST /management-keys": {"workspace_id": tenant.ws, "role": "viewer", "name": "new"},
        "PATCH /management-keys/{id}": {"name": "new"},
        "POST /user-variables": {
            "workspace_id": tenant.ws, "scope": "workspace", "provider": "mistral", "value": "own-key-12345678"
        },
        "POST /provider-objects": {
            "workspace_id": tenant.ws, "provider": "openai", "user_variable_id": tenant.uv, "kind": "prompt",
            "object_id": "pmpt_1",
        },
        "PATCH /user-variables/{id}": {"value": "own-key-12345678"},
        "POST /prices": {"llm": "gpt-mini", "price": {"input": "1"}},
        "POST /prices/unset": {"llm": "gpt-mini"},
        "POST /prices/import": {"dry_run": True},
        "POST /billing/rerate": {"from": "2026-03-01", "to": "2026-03-02"},
        "POST /billing/refunds": {"attempt_id": "att_" + "0" * 32, "reason": "late"},
        "POST /billing/credits": {"workspace_id": tenant.ws, "amount_usd": "1.00", "reason": "late"},
    }  # fmt: skip
    return bodies.get(name)


@pytest.mark.parametrize("name", NAMES)
async def test_role_by_route(api: Api, acme: Tenant, name: str) -> None:
    method, _, path = name.partition(" ")
    keys = {"platform": api.platform, "holder": acme.secret}
    keys["nobody"] = mint() if name == "GET /me" else mint_management()
    for role in ("owner", "admin", "billing", "member", "viewer"):
        keys[role] = (await api.deployment.manager(acme.workspace, role))[1]  # type: ignore[arg-type]
    rows = await count_of_all(api)
    for caller in CALLERS:
        answer = await api.call(method, filled(path, acme), body_of(name, acme), key=keys[caller])
        if caller in MAY[name]:
            assert answer.status not in (401, 403), (caller, answer)
            continue
        if caller == "nobody":
            assert (answer.status, answer.code) == (401, "invalid_api_key"), (caller, answer)
        elif caller == "holder" or name == "GET /me":
            assert (answer.status, answer.code) == (401, "wrong_key_kind"), (caller, answer)
        else:
            assert (answer.status, answer.code) == (403, "forbidden"), (caller, answer)
        assert await count_of_all(api) == rows, caller


async def count_of_all(api: Api) -> list[str]:
    tables = (
        "workspaces", "plans", "price_overrides", "users", "memberships", "virtual_keys", "management_keys", "user_variables",
        "provider_objects", "audit_log",
    )  # fmt: skip
    return [
        str(sorted(map(tuple, await api.deployment.pool.fetch(f"SELECT {table}::text FROM {table}"))))
        for table in tables
    ]


OF_A_TENANT = [name for name in NAMES if "{" in name and name.split("/")[1] not in ("llms", "prices", "providers")]


async def test_another_tenants_things_are_not_there(api: Api, acme: Tenant, rival: Tenant) -> None:
    """By an owner of another workspace: 404, or 403 where an owner may not do it anywhere; nothing changes or shows."""
    before = await count_of_all(api)
    for name in OF_A_TENANT:
        method, _, path = name.partition(" ")
        answer = await api.call(method, filled(path, rival), body_of(name, rival), key=acme.owner)
        assert answer.status == (404 if "owner" in MAY[name] else 403), (name, answer)
        made_up = filled(path, rival).replace(rival.ws, "ws_" + "1" * 32).replace(rival.key_id, "key_" + "1" * 32)
        for own, prefix in ((rival.user_id, "user_"), (rival.mk, "mk_"), (rival.uv, "uv_")):
            made_up = made_up.replace(own, prefix + "1" * 32)
        assert (await api.call(method, made_up, body_of(name, rival), key=acme.owner)).json == answer.json, name
        assert await count_of_all(api) == before, name
        assert "rival" not in str(answer.json)


async def test_another_tenants_ids_in_a_body(api: Api, acme: Tenant, rival: Tenant) -> None:
    ids = {"ws": rival.ws, "user": rival.user_id}
    unknown = {"ws": "ws_" + "1" * 32, "user": "user_" + "1" * 32}
    before = await count_of_all(api)
    for path, body in [
        ("/virtual-keys", {"workspace_id": "ws", "user_id": "user", "name": "x"}),
        ("/virtual-keys", {"user_id": "user", "name": "x"}),
        ("/management-keys", {"workspace_id": "ws", "role": "viewer", "name": "x"}),
        ("/user-variables", {"workspace_id": "ws", "scope": "workspace", "provider": "mistral", "value": "own-key-12"}),
        ("/user-variables", {"scope": "user", "user_id": "user", "provider": "mistral", "value": "own-key-12"}),
        (f"/workspaces/{acme.ws}/members", {"user_id": "user", "role": "viewer"}),
    ]:
        sent = {name: ids.get(value, value) for name, value in body.items()}
        answer = await api.post(path, sent, key=acme.owner)
        assert answer.status in (400, 404), answer
        sent = {name: unknown.get(value, value) for name, value in body.items()}
        assert (await api.post(path, sent, key=acme.owner)).json == answer.json
        assert await count_of_all(api) == before


LISTS = [name[4:] for name in NAMES if name.startswith("GET ") and "{id}" not in name and name != "GET /me"]


async def test_lists_and_sums_hold_ones_own_only(api: Api, acme: Tenant, rival: Tenant) -> None:
    for path in LISTS:
        shown = str((await api.get(filled(path, acme), key=acme.owner)).json)
        for foreign in ("rival", rival.ws, rival.user_id, rival.key_id, rival.mk, rival.uv):
            assert foreign not in shown, path
        if "{" in path or path in ("/workspaces", "/llms", "/providers", "/prices"):
            continue
        mark = "&" if "summary" in path else "?"
        asked = await api.get(filled(path, acme) + f"{mark}workspace_id={rival.ws}", key=acme.owner)
        assert (asked.status, asked.code) == (404, "not_found"), path
        made_up = await api.get(filled(path, acme) + f"{mark}workspace_id=ws_{'1' * 32}", key=acme.owner)
        assert made_up.json == asked.json


NOT_IN: list[tuple[dict[str, str], str]] = [
    ({}, "missing_api_key"),
    ({"Authorization": "Bearer"}, "missing_api_key"),
    ({"Authorization": "Basic abc"}, "missing_api_key"),
    ({"x-api-key": "sk-adm-x"}, "missing_api_key"),
    ({"Authorization": "Bearer sk-adm-x"}, "invalid_api_key"),
    ({"Authorization": f"Bearer {mint_management()}"}, "invalid_api_key"),
    ({"Authorization": f"Bearer {mint()}"}, "wrong_key_kind"),
    ({"Authorization": "Bearer sk-proj-abc"}, "provider_key_sent"),
    ({"Authorization": "Bearer ' OR '1'='1"}, "invalid_api_key"),
    ({"Authorization": "Bearer é\xff\x80"}, "invalid_api_key"),
]


async def test_without_a_good_key(api: Api) -> None:
    for headers, code in NOT_IN:
        for method, path in (("GET", "/virtual-keys"), ("POST", "/virtual-keys")):
            async with api.client.request(method, PREFIX + path, headers=headers) as response:
                error = (await response.json())["error"]
                assert (response.status, error["code"]) == (401, code)
                _, _, key = headers.get("Authorization", "").partition("Bearer ")
                assert not key or key not in error["message"]


async def test_two_authorization_headers(api: Api) -> None:
    headers = [("Authorization", f"Bearer {api.platform}"), ("Authorization", f"Bearer {mint_management()}")]
    async with api.client.get(PREFIX + "/users", headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "conflicting_keys")


async def test_a_blocked_expired_or_deleted_management_key_ends_at_once(api: Api, acme: Tenant) -> None:
    key, secret = await api.deployment.manager(acme.workspace, "admin")
    id = to_wire("mk", key.id)
    await api.ok("GET", "/users", key=secret)
    await api.ok("POST", f"/management-keys/{id}/block")
    assert (await api.get("/users", key=secret)).code == "key_blocked"
    await api.ok("POST", f"/management-keys/{id}/unblock")
    await api.ok("GET", "/users", key=secret)
    rotated = await api.ok("POST", f"/management-keys/{id}/rotate")
    assert (await api.get("/users", key=secret)).code == "invalid_api_key"
    await api.ok("GET", "/users", key=rotated["key"])
    await api.ok("PATCH", f"/management-keys/{id}", {"expires_at": "2999-01-01T00:00:00Z"})
    await api.deployment.run("UPDATE management_keys SET expires_at = now() - interval '1 s' WHERE id = $1", key.id)
    assert (await api.get("/users", key=rotated["key"])).code == "key_expired"
    await api.ok("DELETE", f"/management-keys/{id}")
    assert (await api.get("/users", key=rotated["key"])).code == "invalid_api_key"


async def test_a_blocked_workspaces_managers_are_out(api: Api, acme: Tenant) -> None:
    await api.ok("POST", f"/workspaces/{acme.ws}/block")
    assert (await api.get("/users", key=acme.owner)).code == "workspace_blocked"
    await api.ok("POST", f"/workspaces/{acme.ws}/unblock")
    await api.ok("GET", "/users", key=acme.owner)


async def test_what_is_no_id_is_not_found(api: Api) -> None:
    for id in ("x", "key_", "key_" + "0" * 31, "user_" + "0" * 32, "key_" + "g" * 32, "%00", "'--"):
        assert (await api.get(f"/virtual-keys/{id}")).code == "not_found"


async def test_the_database_away(aiohttp_client: Client) -> None:
    away = await open_pool("postgresql://nobody@127.0.0.1:1/none", max_size=1, application_name="tests")
    api = Api(await aiohttp_client(application(Deployment(away))), Deployment(away))
    for method, path in (("GET", "/users"), ("POST", "/users"), ("GET", "/me")):
        answer = await api.call(method, path, key=mint() if path == "/me" else mint_management())
        assert (answer.status, answer.code) == (503, "service_unavailable")
        assert answer.headers["retry-after"] == "1"
    await away.close()


class TestIdempotency:
    async def test_a_repeated_creation_makes_one_key_and_shows_it_again(self, api: Api, acme: Tenant) -> None:
        body = {"user_id": acme.user_id, "name": "once"}
        headers = {"Idempotency-Key": "abc"}
        first = await api.post("/virtual-keys", body, key=acme.owner, headers=headers)
        again = await api.post("/virtual-keys", dict(reversed(body.items())), key=acme.owner, headers=headers)
        assert (first.status, again.status) == (201, 201)
        assert again.json == first.json
        assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
        assert len((await api.get("/virtual-keys?name=once", key=acme.owner)).json["data"]) == 1

    async def test_another_body_or_path_conflicts(self, api: Api, acme: Tenant) -> None:
        headers = {"Idempotency-Key": "abc"}
        await api.post("/virtual-keys", {"user_id": acme.user_id, "name": "a"}, key=acme.owner, headers=headers)
        for path, body in (
            ("/virtual-keys", {"user_id": acme.user_id, "name": "b"}),
            (f"/virtual-keys/{acme.key_id}/rotate", None),
        ):
            answer = await api.post(path, body, key=acme.owner, headers=headers)
            assert (answer.status, answer.code) == (409, "conflict")
            assert answer.headers["x-should-retry"] == "false"

    async def test_a_refusal_is_not_remembered(self, api: Api, acme: Tenant) -> None:
        headers = {"Idempotency-Key": "abc"}
        body = {"user_id": "user_" + "1" * 32, "name": "a"}
        assert (await api.post("/virtual-keys", body, key=acme.owner, headers=headers)).status == 400
        body["user_id"] = acme.user_id
        assert (await api.post("/virtual-keys", body, key=acme.owner, headers=headers)).status == 201

    async def test_a_tenant_does_not_meet_anothers_key(self, api: Api, acme: Tenant, rival: Tenant) -> None:
        headers = {"Idempotency-Key": "abc"}
        for tenant in (acme, rival):
            body = {"user_id": tenant.user_id, "name": "a"}
            answer = await api.post("/virtual-keys", body, key=tenant.owner, headers=headers)
            assert answer.json["workspace_id"] == tenant.ws

    async def test_bad_keys(self, api: Api, acme: Tenant) -> None:
        for value in ("", "x" * 256, "tab\there", "ünïcode"):
            answer = await api.post(f"/virtual-keys/{acme.key_id}/block", headers={"Idempotency-Key": value})
            assert (answer.status, answer.code) == (400, "invalid_value")
