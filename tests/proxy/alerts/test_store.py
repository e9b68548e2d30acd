"""Of one kind, subject and workspace one alert fires."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from uuid import UUID, uuid4

from proxy.alerts import store
from proxy.alerts.kinds import FIXES, KINDS
from proxy.alerts.store import Alert
from proxy.storage.keyset import Page
from proxy.storage.postgres import Pool
from tests.management import Deployment


async def listed(pool: Pool, *, is_firing: bool | None = None, reach: UUID | None = None) -> list[Alert]:
    async with pool.acquire() as db:
        return await store.list_alerts(db, reach=reach, kind=None, is_firing=is_firing, page=Page(10, descending=False))


async def raised(pool: Pool, subject: str, message: str = "m", workspace_id: UUID | None = None) -> bool:
    async with pool.acquire() as db:
        return await store.raise_alert(db, "unpriced", subject, message, id=uuid4(), workspace_id=workspace_id)


async def resolved(pool: Pool, subject: str, workspace_id: UUID | None = None) -> bool:
    async with pool.acquire() as db:
        return await store.resolve(db, "unpriced", subject, workspace_id=workspace_id)


def test_every_kind_says_what_to_do_and_is_documented() -> None:
    assert set(FIXES) == set(KINDS)
    document = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    section = document.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(KINDS)


async def test_it_is_raised_once_and_seen_again(pool: Pool) -> None:
    assert await raised(pool, "openai/a", "one attempt")
    (before,) = await listed(pool)
    assert not await raised(pool, "openai/a", "two attempts")
    (after,) = await listed(pool)
    assert (after.id, after.raised_at, after.message) == (before.id, before.raised_at, "two attempts")
    assert after.seen_at > before.seen_at


async def test_what_is_over_may_begin_anew(pool: Pool) -> None:
    assert not await resolved(pool, "openai/a")
    await raised(pool, "openai/a")
    assert await resolved(pool, "openai/a") and not await resolved(pool, "openai/a")
    assert await raised(pool, "openai/a")
    assert len(await listed(pool)) == 2
    assert len(await listed(pool, is_firing=True)) == len(await listed(pool, is_firing=False)) == 1


async def test_subjects_and_workspaces_are_apart(pool: Pool) -> None:
    deployment = Deployment(pool)
    acme, rival = await deployment.workspace("acme"), await deployment.workspace("rival")
    for subject, workspace_id in (("a", None), ("b", None), ("a", acme), ("a", rival)):
        assert await raised(pool, subject, workspace_id=workspace_id)
    assert await resolved(pool, "a", acme)
    assert [alert.subject for alert in await listed(pool, is_firing=True, reach=rival)] == ["a"]
    assert await listed(pool, is_firing=True, reach=acme) == []
    assert len(await listed(pool, is_firing=True)) == 3


async def test_many_at_once_raise_one(pool: Pool) -> None:
    done = await asyncio.gather(*(raised(pool, "a") for _ in range(8)))
    assert sum(done) == 1 and len(await listed(pool)) == 1
