from __future__ import annotations

import asyncio

import pytest

from proxy.api.first_start import first_start
from proxy.identity.first_start import ENVIRONMENT_KEY, NOTHING_MADE, FirstStart
from proxy.identity.manager import authenticate
from proxy.identity.records import ManagementKey
from proxy.identity.virtual_key import KeyShape, check, mint, mint_management
from proxy.wire.refusals import Refused
from tests.management import Deployment


async def start(deployment: Deployment, admin_key: str | None = None) -> FirstStart:
    return await first_start(deployment.writer, deployment.hasher, deployment.clock, shards=4, admin_key=admin_key)


async def manager(deployment: Deployment, token: str) -> ManagementKey:
    async with deployment.pool.acquire() as db:
        return await authenticate(db, deployment.hasher, token, deployment.clock.now())


async def test_an_empty_deployment_gets_what_it_needs_once(deployment: Deployment) -> None:
    made = await start(deployment)
    assert made.virtual_key is not None
    assert made.management_key is not None
    assert check(made.management_key) is KeyShape.MANAGEMENT
    principal = await deployment.resolver.resolve(made.virtual_key)
    assert principal.workspace_name == "default"
    assert principal.workspace_id == made.workspace_id
    assert (await manager(deployment, made.management_key)).workspace_id is None
    assert [dict(row) for row in await deployment.pool.fetch("SELECT email, role FROM users, memberships")] == [
        {"email": "owner@localhost", "role": "owner"}
    ]
    assert deployment.published == [{made.workspace_id: 1}]
    assert await deployment.pool.fetchval("SELECT count(*) FROM audit_log WHERE actor_kind = 'system'") == 1

    assert await start(deployment) == NOTHING_MADE
    assert await deployment.pool.fetchval("SELECT count(*) FROM workspaces") == 1
    assert await deployment.pool.fetchval("SELECT count(*) FROM audit_log") == 1


async def test_two_that_start_at_once(deployment: Deployment) -> None:
    made = await asyncio.gather(*(start(deployment) for _ in range(4)))
    assert sum(one != NOTHING_MADE for one in made) == 1
    for table in ("workspaces", "users", "memberships", "virtual_keys", "management_keys"):
        assert await deployment.pool.fetchval(f"SELECT count(*) FROM {table}") == 1


async def test_a_given_key_is_the_first_management_key_and_follows_the_environment(deployment: Deployment) -> None:
    made = await start(deployment, "the-operators-own-literal")
    assert made.virtual_key is not None
    assert made.management_key is None
    assert (await manager(deployment, "the-operators-own-literal")).id == ENVIRONMENT_KEY
    assert not (await start(deployment, "the-operators-own-literal")).changed

    replaced = mint_management()
    again = await start(deployment, replaced)
    assert (again.changed, again.virtual_key) == (True, None)
    assert (await manager(deployment, replaced)).id == ENVIRONMENT_KEY
    with pytest.raises(Refused):
        await manager(deployment, "the-operators-own-literal")
    assert await deployment.pool.fetchval("SELECT count(*) FROM management_keys") == 1


async def test_a_key_given_later_is_added(deployment: Deployment) -> None:
    made = await start(deployment)
    assert made.management_key is not None
    await start(deployment, "the-operators-own-literal")
    assert (await manager(deployment, "the-operators-own-literal")).id == ENVIRONMENT_KEY
    assert (await manager(deployment, made.management_key)).name == "first"
    # one that is there already is not made twice
    assert not (await start(deployment, made.management_key)).changed


async def test_a_blocked_environment_key_stays_blocked(deployment: Deployment) -> None:
    await start(deployment, "the-operators-own-literal")
    await deployment.run("UPDATE management_keys SET status = 'blocked'")
    await start(deployment, "the-operators-own-literal")
    with pytest.raises(Refused, match="blocked"):
        await manager(deployment, "the-operators-own-literal")


@pytest.mark.parametrize("literal", ["", "short", "with space 123456", mint(), "ünïcode-0123456789"],
                         ids=["nothing", "short", "a blank", "a virtual key", "accents"])
async def test_a_literal_that_cannot_be_a_key_stops_the_start(deployment: Deployment, literal: str) -> None:
    with pytest.raises(ValueError, match="SYNAPSCALE_ADMIN_KEY"):
        await start(deployment, literal)
    assert await deployment.pool.fetchval("SELECT count(*) FROM workspaces") == 0
