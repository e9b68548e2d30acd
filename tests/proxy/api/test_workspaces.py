from __future__ import annotations

from typing import Any

from proxy.wire.ids import from_wire
from tests.proxy.api.conftest import Api, Tenant


async def test_the_life_of_a_workspace(api: Api) -> None:
    made = await api.ok("POST", "/workspaces", {"name": "blue", "time_zone": "Europe/Berlin"})
    assert (made["key_policy"], made["time_zone"], made["status"]) == ("own_else_global", "Europe/Berlin", "active")
    id = from_wire("ws", made["id"])
    assert id is not None
    assert await api.deployment.epoch(id) == 1
    assert await api.deployment.pool.fetchval("SELECT shard FROM workspaces WHERE id = $1", id) == id.int % 4
    path = f"/workspaces/{made['id']}"
    assert await api.ok("GET", path) == made
    changed = await api.ok("PATCH", path, {"key_policy": "own_only"})
    assert changed == made | {"key_policy": "own_only"}
    assert await api.deployment.epoch(id) == 2
    assert (await api.ok("POST", f"{path}/block"))["status"] == "blocked"
    assert (await api.ok("POST", f"{path}/unblock"))["status"] == "active"
    assert await api.deployment.epoch(id) == 4
    assert [ws["id"] for ws in (await api.ok("GET", "/workspaces?name=blue"))["data"]] == [made["id"]]


async def test_the_policy_is_in_force_at_the_next_look(api: Api, acme: Tenant) -> None:
    await api.ok("PATCH", f"/workspaces/{acme.ws}", {"key_policy": "global_only"}, key=acme.owner)
    assert (await api.deployment.resolver.resolve(acme.secret)).key_policy == "global_only"


BAD_BODIES: list[Any] = [
    ({"name": "x", "time_zone": "Mars/Olympus"}, "time_zone"),
    ({"name": "x", "key_policy": "mine"}, "key_policy"),
    ({"name": "x", "shard": 3}, "shard"),
    ({"name": "x", "status": "active"}, "status"),
    ({}, "name"),
]


async def test_bad_bodies(api: Api) -> None:
    for body, param in BAD_BODIES:
        answer = await api.post("/workspaces", body)
        assert (answer.status, answer.param) == (400, param)


BAD_CHANGES: list[Any] = [{"name": None}, {"key_policy": None}, {"id": "x"}, {}]


async def test_bad_changes(api: Api, acme: Tenant) -> None:
    for body in BAD_CHANGES:
        assert (await api.call("PATCH", f"/workspaces/{acme.ws}", body)).status == 400


async def test_a_bound_key_sees_its_own(api: Api, acme: Tenant, rival: Tenant) -> None:
    assert [ws["name"] for ws in (await api.ok("GET", "/workspaces", key=acme.owner))["data"]] == ["acme"]


async def test_what_becomes_of_answers_that_a_client_leaves(api: Api, acme: Tenant) -> None:
    path = f"/workspaces/{acme.ws}"
    assert (await api.ok("GET", path))["client_leaves"] == "auto"
    made = await api.ok("POST", "/workspaces", {"name": "blue", "client_leaves": "cancel"})
    assert made["client_leaves"] == "cancel"
    await api.ok("PATCH", path, {"client_leaves": "drain"}, key=acme.owner)
    assert (await api.deployment.resolver.resolve_now(acme.secret)).client_leaves == "drain"
    # Who pays nothing for what it leaves is the operator's choice, not the tenant's.
    answer = await api.call("PATCH", path, {"client_leaves": "void"}, key=acme.owner)
    assert (answer.status, answer.param) == (403, "client_leaves")
    assert (await api.ok("PATCH", path, {"client_leaves": "void"}))["client_leaves"] == "void"
    assert (await api.call("PATCH", path, {"client_leaves": "later"})).status == 400
