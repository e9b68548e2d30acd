from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from proxy.epochs import store as epochs
from proxy.identity.hashing import KeyHasher
from proxy.identity.resolve import Resolver
from proxy.identity.virtual_key import mint, mint_management
from proxy.storage.postgres import Connection, open_pool
from proxy.vault import store as vault_store
from proxy.wire.refusals import Reason, Refused
from tests.management import Deployment


class Counting:
    """The vault's lookup, counted: it is the last step of each load."""

    def __init__(self) -> None:
        self.loads = 0
        self.begun = asyncio.Event()
        self.wait: asyncio.Event | None = None

    async def __call__(self, db: Connection, *, workspace_id: UUID, user_id: UUID) -> Sequence[vault_store.Sealed]:
        self.loads += 1
        self.begun.set()
        if self.wait is not None:
            await self.wait.wait()
        return await vault_store.usable(db, workspace_id=workspace_id, user_id=user_id)


async def refused(resolver: Resolver, token: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await resolver.resolve(token)
    return caught.value


def counting(deployment: Deployment, **bounds: int) -> tuple[Resolver, Counting]:
    count = Counting()
    return Resolver(deployment.pool, deployment.hasher, deployment.clock, count, **bounds), count


async def test_a_known_key_is_its_principal_and_then_needs_no_database(deployment: Deployment) -> None:
    workspace = await deployment.workspace("acme")
    user = await deployment.member(workspace, "a@acme.test")
    key, secret = await deployment.key(workspace, user, llms=["x", "y"], name="prod")
    await deployment.variable(workspace, None, "openai", "sk-proj-workspace")
    await deployment.variable(workspace, user, "openai", "sk-proj-user-own")
    resolver, count = counting(deployment)
    assert resolver.peek(secret) is None
    principal = await resolver.resolve(secret)
    assert (principal.key_id, principal.key_name, principal.user_id) == (key.id, "prod", user)
    assert (principal.workspace_id, principal.workspace_name) == (workspace, "acme")
    assert principal.workspace_epoch == await deployment.epoch(workspace) == 1
    assert principal.shard == workspace.int % 4
    assert principal.llms == frozenset(["x", "y"])
    assert {(own.scope, own.provider) for own in principal.own_credentials} == {
        ("user", "openai"),
        ("workspace", "openai"),
    }
    opened = {
        deployment.vault.open(own.sealed, workspace_id=workspace, provider=own.provider, row_id=own.user_variable_id)
        for own in principal.own_credentials
    }
    assert opened == {"sk-proj-workspace", "sk-proj-user-own"}
    assert resolver.peek(secret) is principal
    assert await resolver.resolve(secret) is principal
    assert count.loads == 1


async def test_anothers_variable_is_not_among_ones_own(deployment: Deployment) -> None:
    one, two = await deployment.workspace("one"), await deployment.workspace("two")
    ann, bob = await deployment.member(one, "ann@x.test"), await deployment.member(one, "bob@x.test")
    await deployment.variable(one, bob, "openai", "sk-proj-of-bob")
    await deployment.variable(two, None, "openai", "sk-proj-of-two")
    _, secret = await deployment.key(one, ann)
    assert (await deployment.resolver.resolve(secret)).own_credentials == ()


async def test_junk_is_refused_before_any_lookup(deployment: Deployment) -> None:
    away = await open_pool("postgresql://nobody@127.0.0.1:1/none", max_size=1, application_name="tests")
    resolver = Resolver(away, deployment.hasher, deployment.clock, vault_store.usable)
    for token, reason in [
        (mint()[:-1] + "!", Reason.KEY_MALFORMED),
        ("sk-syn-short", Reason.KEY_MALFORMED),
        (mint_management(), Reason.KEY_WRONG_KIND),
        ("sk-adm-junk", Reason.KEY_WRONG_KIND),
        ("sk-proj-abcdef", Reason.KEY_OF_PROVIDER),
        ("sk-ant-api03-abcdef", Reason.KEY_OF_PROVIDER),
        ("gsk_abcdef", Reason.KEY_OF_PROVIDER),
    ]:
        assert (await refused(resolver, token)).reason is reason
    # and what would need one says so, never who the caller is
    assert (await refused(resolver, mint())).reason is Reason.STORE_AWAY
    assert (await refused(resolver, mint())).retry_after_s == 1
    await away.close()


async def test_unknown_keys(deployment: Deployment) -> None:
    assert (await refused(deployment.resolver, mint())).reason is Reason.KEY_UNKNOWN
    assert (await refused(deployment.resolver, "whatever-this-is")).reason is Reason.KEY_UNKNOWN
    assert (await refused(deployment.resolver, "sk-abcdefghijklmnopqrstuvwxyz")).reason is Reason.KEY_OF_PROVIDER
    for injected in ["' OR 1=1 --", '"; DROP TABLE virtual_keys; --', "\x00", "é" * 40, "x" * 60_000]:
        assert (await refused(deployment.resolver, injected)).reason is Reason.KEY_UNKNOWN


async def test_an_unknown_key_is_remembered_for_a_second_only(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    user = await deployment.member(workspace, "a@acme.test")
    literal = "my-own-literal-key-1"
    await deployment.key(workspace, user, literal="another-literal-key-2")
    assert (await refused(deployment.resolver, literal)).reason is Reason.KEY_UNKNOWN
    await deployment.key(workspace, user, literal=literal)
    assert (await refused(deployment.resolver, literal)).reason is Reason.KEY_UNKNOWN
    deployment.clock.advance(1)
    assert (await deployment.resolver.resolve(literal)).workspace_id == workspace


async def test_literals_are_looked_up_only_where_some_were_imported(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    user = await deployment.member(workspace, "a@acme.test")
    assert (await refused(deployment.resolver, "sk-1234567890abcdefgh")).reason is Reason.KEY_OF_PROVIDER
    key, _ = await deployment.key(workspace, user, literal="sk-1234567890abcdefgh")
    assert key.imported
    deployment.clock.advance(1)
    assert (await deployment.resolver.resolve("sk-1234567890abcdefgh")).key_id == key.id


@pytest.mark.parametrize(
    ("change", "undo", "reason"),
    [
        ("UPDATE virtual_keys SET status = 'blocked'", "UPDATE virtual_keys SET status = 'active'", Reason.KEY_BLOCKED),
        ("UPDATE users SET status = 'blocked'", "UPDATE users SET status = 'active'", Reason.USER_BLOCKED),
        (
            "UPDATE workspaces SET status = 'blocked'",
            "UPDATE workspaces SET status = 'active'",
            Reason.WORKSPACE_BLOCKED,
        ),
        (
            "UPDATE virtual_keys SET expires_at = now() - interval '1 s'",
            "UPDATE virtual_keys SET expires_at = NULL",
            Reason.KEY_EXPIRED,
        ),
    ],
)
async def test_what_is_stopped_is_refused_and_works_again_at_once(
    deployment: Deployment, change: str, undo: str, reason: Reason
) -> None:
    workspace = await deployment.workspace()
    _, secret = await deployment.key(workspace, await deployment.member(workspace, "a@acme.test"))
    await deployment.resolver.resolve(secret)
    await deployment.run(change)
    deployment.resolver.drop_workspace(workspace)
    assert deployment.resolver.peek(secret) is None
    assert (await refused(deployment.resolver, secret)).reason is reason
    await deployment.run(undo)
    assert await deployment.resolver.resolve(secret)


async def test_who_left_the_workspace_is_refused(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    _, secret = await deployment.key(workspace, await deployment.member(workspace, "a@acme.test"))
    await deployment.run("DELETE FROM memberships")
    refusal = await refused(deployment.resolver, secret)
    assert refusal.reason is Reason.USER_BLOCKED
    assert "no longer a member" in refusal.message


async def test_expiry_is_checked_at_every_look(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    user = await deployment.member(workspace, "a@acme.test")
    _, secret = await deployment.key(workspace, user, expires_at=deployment.clock.now() + timedelta(seconds=60))
    await deployment.resolver.resolve(secret)
    assert deployment.resolver.peek(secret) is not None
    deployment.clock.advance(61)
    assert deployment.resolver.peek(secret) is None
    assert (await refused(deployment.resolver, secret)).reason is Reason.KEY_EXPIRED


async def test_dropping_a_workspace_leaves_the_others(deployment: Deployment) -> None:
    one, two = await deployment.workspace("one"), await deployment.workspace("two")
    _, first = await deployment.key(one, await deployment.member(one, "a@one.test"))
    _, second = await deployment.key(two, await deployment.member(two, "a@two.test"))
    await deployment.resolver.resolve(first)
    await deployment.resolver.resolve(second)
    async with deployment.pool.acquire() as db:
        await epochs.bump(db, one)
    deployment.resolver.drop_workspace(one)
    assert deployment.resolver.peek(first) is None
    assert deployment.resolver.peek(second) is not None
    assert (await deployment.resolver.resolve(first)).workspace_epoch == 2


async def test_callers_with_one_token_share_one_lookup_and_one_may_leave(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    _, secret = await deployment.key(workspace, await deployment.member(workspace, "a@acme.test"))
    resolver, count = counting(deployment)
    count.wait = asyncio.Event()
    callers = [asyncio.create_task(resolver.resolve(secret)) for _ in range(20)]
    await count.begun.wait()
    callers[0].cancel()
    count.wait.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert len({id(principal) for principal in found[1:]}) == 1
    assert count.loads == 1


async def test_what_was_being_read_when_the_epoch_rose_is_not_kept(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    _, secret = await deployment.key(workspace, await deployment.member(workspace, "a@acme.test"))
    resolver, count = counting(deployment)
    count.wait = asyncio.Event()
    reading = asyncio.create_task(resolver.resolve(secret))
    await count.begun.wait()
    await deployment.run("UPDATE virtual_keys SET status = 'blocked'")
    resolver.drop_workspace(workspace)
    count.wait.set()
    assert (await reading).workspace_epoch == 1
    assert resolver.peek(secret) is None
    assert (await refused(resolver, secret)).reason is Reason.KEY_BLOCKED


async def test_the_cache_is_bounded_and_forgets_the_least_used(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    user = await deployment.member(workspace, "a@acme.test")
    secrets = [(await deployment.key(workspace, user))[1] for _ in range(3)]
    resolver, _ = counting(deployment, max_keys=2)
    await resolver.resolve(secrets[0])
    await resolver.resolve(secrets[1])
    resolver.peek(secrets[0])
    await resolver.resolve(secrets[2])
    assert [resolver.peek(secret) is not None for secret in secrets] == [True, False, True]
    resolver.drop_workspace(workspace)
    assert not any(resolver.peek(secret) for secret in secrets)


async def test_past_the_cache(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    _, secret = await deployment.key(workspace, await deployment.member(workspace, "a@acme.test"))
    await deployment.resolver.resolve(secret)
    await deployment.run("UPDATE virtual_keys SET status = 'blocked'")
    with pytest.raises(Refused) as caught:
        await deployment.resolver.resolve_now(secret)
    assert caught.value.reason is Reason.KEY_BLOCKED


async def test_another_secret_knows_none_of_the_keys(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    _, secret = await deployment.key(workspace, await deployment.member(workspace, "a@acme.test"))
    other = Resolver(deployment.pool, KeyHasher(b"o" * 32), deployment.clock, vault_store.usable)
    assert (await refused(other, secret)).reason is Reason.KEY_UNKNOWN
