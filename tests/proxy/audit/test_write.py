from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import pytest

from proxy.audit import store
from proxy.audit.actor import Actor
from proxy.audit.write import Answer, Change, Idempotency, ManagementWriter
from proxy.identity import people
from proxy.storage.keyset import Page
from proxy.storage.postgres import Connection
from proxy.wire.refusals import Reason, Refused
from tests.management import Deployment

PLATFORM = Actor("management_key", UUID(int=9), None, "admin")


class Renaming:
    """Work that renames a workspace, counted."""

    def __init__(self, workspace_id: UUID, name: str = "renamed", scopes: frozenset[UUID] | None = None) -> None:
        self.workspace_id, self.name = workspace_id, name
        self.scopes = frozenset([workspace_id]) if scopes is None else scopes
        self.done = 0

    async def __call__(self, db: Connection) -> Change:
        self.done += 1
        await people.change_workspace(db, self.workspace_id, reach=None, name=self.name)
        return Change(
            body=b'{"secret":"CANARY-%d"}' % self.done, workspace_id=self.workspace_id, resource_id=self.workspace_id,
            scopes=self.scopes, detail={"name": self.name}, status=201,
        )  # fmt: skip


async def write(
    deployment: Deployment, work: Renaming, *, actor: Actor = PLATFORM, idempotency: Idempotency | None = None,
    writer: ManagementWriter | None = None, verb: str = "update",
) -> Answer:  # fmt: skip
    return await (writer or deployment.writer).change(
        actor, verb=verb, resource="workspace", workspace_id=None, idempotency=idempotency, work=work
    )


async def entries(deployment: Deployment) -> list[store.Entry]:
    async with deployment.pool.acquire() as db:
        return await store.list_entries(
            db, reach=None, actor_id=None, verb=None, resource=None, page=Page(100, None, descending=False)
        )


async def name_of(deployment: Deployment, workspace_id: UUID) -> str:
    return str(await deployment.pool.fetchval("SELECT name FROM workspaces WHERE id = $1", workspace_id))


async def test_row_epoch_entry_and_publication(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    answer = await write(deployment, Renaming(workspace))
    assert answer == Answer(201, b'{"secret":"CANARY-1"}', replayed=False)
    assert await name_of(deployment, workspace) == "renamed"
    assert await deployment.epoch(workspace) == 2
    assert deployment.published == [{workspace: 2}]
    (entry,) = await entries(deployment)
    assert (entry.actor_id, entry.verb, entry.resource, entry.resource_id, entry.workspace_id) == (
        PLATFORM.id, "update", "workspace", workspace, workspace,
    )  # fmt: skip
    assert entry.detail == '{"name":"renamed"}'


async def test_all_or_nothing(deployment: Deployment) -> None:
    workspace = await deployment.workspace()

    class Failing(Renaming):
        async def __call__(self, db: Connection) -> Change:
            await super().__call__(db)
            raise Refused(Reason.CONFLICT, "no")

    with pytest.raises(Refused):
        await write(deployment, Failing(workspace), idempotency=Idempotency("k", b"h"))
    assert await name_of(deployment, workspace) == "acme"
    assert await deployment.epoch(workspace) == 1
    assert await entries(deployment) == []
    assert deployment.published == []
    assert await deployment.pool.fetchval("SELECT count(*) FROM idempotency") == 0


async def test_who_may_not_changes_nothing(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    work = Renaming(workspace)
    for actor, verb in (
        (Actor("management_key", UUID(int=1), workspace, "viewer"), "update"),
        (Actor("management_key", UUID(int=1), workspace, "owner"), "create"),
    ):
        with pytest.raises(Refused) as caught:
            await write(deployment, work, actor=actor, verb=verb)
        assert caught.value.reason is Reason.FORBIDDEN
    assert work.done == 0


async def test_a_workspaces_key_cannot_change_another_even_through_a_bug(deployment: Deployment) -> None:
    one, two = await deployment.workspace("one"), await deployment.workspace("two")
    owner_of_two = Actor("management_key", UUID(int=1), two, "owner")
    for work in (Renaming(one), Renaming(two, scopes=frozenset([one, two]))):
        with pytest.raises(RuntimeError, match="left its workspace"):
            await write(deployment, work, actor=owner_of_two)
    assert [await name_of(deployment, workspace) for workspace in (one, two)] == ["one", "two"]
    assert [await deployment.epoch(workspace) for workspace in (one, two)] == [1, 1]
    with pytest.raises(Refused) as caught:
        await deployment.writer.change(
            owner_of_two, verb="update", resource="workspace", workspace_id=one, idempotency=None, work=Renaming(one)
        )
    assert caught.value.reason is Reason.NOT_FOUND


async def test_a_repetition_is_answered_the_same_and_done_once(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    work, key = Renaming(workspace), Idempotency("once", b"hash")
    first = await write(deployment, work, idempotency=key)
    again = await write(deployment, work, idempotency=key)
    assert again == Answer(first.status, first.body, replayed=True)
    assert (work.done, await deployment.epoch(workspace), len(await entries(deployment))) == (1, 2, 1)
    sealed = await deployment.pool.fetchval("SELECT sealed_body FROM idempotency")
    assert b"CANARY" not in sealed


async def test_another_request_under_the_same_key(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    work = Renaming(workspace)
    await write(deployment, work, idempotency=Idempotency("once", b"hash"))
    with pytest.raises(Refused) as caught:
        await write(deployment, work, idempotency=Idempotency("once", b"other"))
    assert caught.value.reason is Reason.CONFLICT
    assert work.done == 1


async def test_the_same_key_of_another_actor_is_another_key(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    work, key = Renaming(workspace), Idempotency("once", b"hash")
    await write(deployment, work, idempotency=key)
    await write(deployment, work, idempotency=key, actor=Actor("management_key", UUID(int=10), None, "admin"))
    assert work.done == 2


async def test_many_at_once_under_one_key_do_it_once(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    work, key = Renaming(workspace), Idempotency("once", b"hash")
    answers = await asyncio.gather(*(write(deployment, work, idempotency=key) for _ in range(8)))
    assert work.done == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
    assert len({answer.body for answer in answers}) == 1


async def test_a_record_is_forgotten_after_a_day(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    work, key = Renaming(workspace), Idempotency("once", b"hash")
    await write(deployment, work, idempotency=key)
    deployment.clock.advance(24 * 3600 + 1)
    assert not (await write(deployment, work, idempotency=Idempotency("once", b"another"))).replayed
    assert work.done == 2
    async with deployment.pool.acquire() as db:
        later = deployment.clock.now() + timedelta(seconds=1)
        assert await store.prune_records(db, before=later, limit=10) == 1


async def test_changes_of_one_workspace_leave_no_epoch_out(deployment: Deployment) -> None:
    workspace = await deployment.workspace()
    await asyncio.gather(*(write(deployment, Renaming(workspace, f"n{number}")) for number in range(8)))
    assert sorted(raised[workspace] for raised in deployment.published) == list(range(2, 10))


@pytest.mark.parametrize("failure", [ConnectionError("redis"), KeyError("a bug")])
async def test_a_change_stands_although_it_could_not_be_published(
    deployment: Deployment, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def publish(raised: Mapping[UUID, int]) -> None:
        raise failure

    workspace = await deployment.workspace()
    writer = ManagementWriter(deployment.pool, deployment.vault, publish, deployment.clock)
    with caplog.at_level(logging.WARNING):
        answer = await write(deployment, Renaming(workspace), writer=writer)
    assert answer.status == 201
    assert await deployment.epoch(workspace) == 2
    assert "reconciler" in caplog.text
