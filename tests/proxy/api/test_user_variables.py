from __future__ import annotations

from typing import Any

from tests.proxy.api.conftest import Api, Tenant

VALUE = "own-mistral-key-CANARY-4321"


async def test_the_life_of_a_variable(api: Api, acme: Tenant) -> None:
    body: dict[str, Any] = {"scope": "user", "user_id": acme.user_id, "provider": "mistral", "value": VALUE}
    epoch = await api.deployment.epoch(acme.workspace)
    made = await api.ok("POST", "/user-variables", body, key=acme.owner)
    assert (made["workspace_id"], made["hint"], "value" in made) == (acme.ws, "…4321", False)
    assert await used(api, acme, "mistral") == VALUE
    path = f"/user-variables/{made['id']}"
    changed = await api.ok("PATCH", path, {"value": "another-mistral-key-8765"}, key=acme.owner)
    assert changed["hint"] == "…8765"
    assert await used(api, acme, "mistral") == "another-mistral-key-8765"
    dated = await api.ok("PATCH", path, {"expires_at": "2999-01-01T00:00:00Z"}, key=acme.owner)
    assert dated["expires_at"] == "2999-01-01T00:00:00Z"
    assert (await api.ok("PATCH", path, {"expires_at": None}, key=acme.owner))["expires_at"] is None
    assert await used(api, acme, "mistral") == "another-mistral-key-8765"
    await api.ok("DELETE", path, key=acme.owner)
    assert await used(api, acme, "mistral") is None
    assert await api.deployment.epoch(acme.workspace) == epoch + 5


async def used(api: Api, tenant: Tenant, provider: str) -> str | None:
    principal = await api.deployment.resolver.resolve_now(tenant.secret)
    for own in principal.own_credentials:
        if own.provider == provider:
            return api.deployment.vault.open(
                own.sealed, workspace_id=tenant.workspace, provider=provider, row_id=own.user_variable_id
            )
    return None


BAD_BODIES: list[Any] = [
    ({"provider": "mistrall"}, "provider"),
    ({"provider": "'; DROP"}, "provider"),
    ({"scope": "user"}, "user_id"),
    ({"scope": "platform"}, "scope"),
    ({"value": "short"}, "value"),
    ({"value": "with\nline-end-123"}, "value"),
    ({"value": None}, "value"),
    ({"sealed": "x"}, "sealed"),
    ({"user_id": "user_" + "1" * 32, "scope": "user"}, "user_id"),
]


async def test_bad_bodies(api: Api, acme: Tenant) -> None:
    for changes, param in BAD_BODIES:
        body = {"scope": "workspace", "provider": "mistral", "value": VALUE} | changes
        answer = await api.post("/user-variables", body, key=acme.owner)
        assert (answer.status, answer.param) == (400, param), answer
        assert str(changes.get("value") or VALUE) not in str(answer.json)


async def test_there_is_one_already(api: Api, acme: Tenant) -> None:
    body = {"scope": "workspace", "provider": "openai", "value": VALUE}
    assert (await api.post("/user-variables", body, key=acme.owner)).status == 409


async def test_filters(api: Api, acme: Tenant, rival: Tenant) -> None:
    assert len((await api.ok("GET", "/user-variables?provider=openai"))["data"]) == 2
    assert len((await api.ok("GET", f"/user-variables?workspace_id={acme.ws}"))["data"]) == 1
    assert (await api.ok("GET", "/user-variables?scope=user"))["data"] == []
