"""The spool: fsynced before anybody is told, bounded, readable while it grows, empty when all is acknowledged."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.settlement.spool import Spool, SpoolFailed
from proxy.settlement.spool_files import READ_BYTES
from proxy.settlement.spool_lines import Record, encode
from tests.held import eventually, names, new_attempt


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool.open(tmp_path / "spool", "boot-1", max_bytes=1 << 20)
    yield spool
    await spool.close()


def record(event: bytes = b"{}") -> Record:
    return Record(2, new_attempt(), event)


async def test_what_is_appended_is_fsynced_when_the_future_is_done(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def seen(fd: int) -> None:
        fsync(fd)
        synced.append(spool.path.read_bytes())

    monkeypatch.setattr(os, "fsync", seen)
    one = record(b'{"a":1}')
    await spool.append(*one)
    assert synced == [encode(*one)]


async def test_those_that_come_during_a_write_share_the_next_fsync(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (fsync(fd), syncs.append(fd)))
    records = [record() for _ in range(100)]
    await asyncio.gather(*(spool.append(*one) for one in records))
    assert len(syncs) == 2  # the first alone, the other 99 together
    batch = await spool.read(1_000)
    assert batch is not None
    assert batch.records == records


async def test_read_in_order_and_emptied_when_all_is_acknowledged(spool: Spool) -> None:
    records = [record(b'{"n":%d}' % number) for number in range(25)]
    await asyncio.gather(*(spool.append(*one) for one in records))
    found: list[Record] = []
    while batch := await spool.read(10):
        assert len(batch.records) <= 10
        found += batch.records
        await spool.acknowledged(batch.end)
    assert found == records
    assert spool.path.stat().st_size == 0
    assert spool.waiting_bytes == 0
    later = record()
    await spool.append(*later)
    batch = await spool.read(10)
    assert batch is not None
    assert batch.records == [later]


async def test_appended_while_the_last_batch_is_acknowledged_is_not_lost(spool: Spool) -> None:
    for _ in range(50):
        await spool.append(*record())
        batch = await spool.read(10)
        assert batch is not None
        later = record()
        kept = spool.append(*later)
        await spool.acknowledged(batch.end)
        much_later = record()
        await asyncio.gather(kept, spool.append(*much_later))
        rest = await spool.read(10)
        assert rest is not None
        assert rest.records == [later, much_later]
        await spool.acknowledged(rest.end)


async def test_an_event_larger_than_a_read(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "boot-1")
    records = [record(), record(b"x" * (2 * READ_BYTES + 5)), record()]
    for one in records:
        await spool.append(*one)
    found: list[Record] = []
    while batch := await spool.read(10):
        found += batch.records
        await spool.acknowledged(batch.end)
    assert found == records
    assert await spool.close()


async def test_it_is_bounded(spool: Spool) -> None:
    await spool.append(*record(b"x" * 1_000_000))
    with pytest.raises(SpoolFailed, match="full"):
        spool.append(*record(b"x" * 100_000))
    await spool.append(*record())
    while batch := await spool.read(10):
        await spool.acknowledged(batch.end)
    await spool.append(*record(b"x" * 100_000))


async def test_a_disk_that_refuses_says_so_and_spoils_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    first, lost, after = record(b'{"n":1}'), record(b'{"n":2}'), record(b'{"n":3}')
    await spool.append(*first)
    write = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, bytes(data)[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(SpoolFailed, match="No space left"):
        await spool.append(*lost)
    assert spool.path.stat().st_size > len(encode(*first))  # half a line is there
    monkeypatch.undo()
    await spool.append(*after)
    assert spool.path.read_bytes() == encode(*first) + encode(*after)
    batch = await spool.read(10)
    assert batch is not None
    assert batch.records == [first, after]


async def test_one_that_closes_empty_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "boot-1")
    assert await spool.close() is True
    assert names(tmp_path) == []


async def test_one_that_closes_with_events_leaves_its_file_unlocked(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "boot-1")
    one = record()
    kept = spool.append(*one)  # not awaited: close writes what is left
    assert await spool.close() is False
    assert kept.done()
    with (tmp_path / "boot-1.spool").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert file.read() == encode(*one)


async def test_the_file_is_locked_private_and_under_its_name_at_once(spool: Spool) -> None:
    with spool.path.open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    assert names(spool.path.parent) == ["boot-1.spool"]


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolFailed, match="Make the folder writable"):
        Spool.open(tmp_path / "file" / "spool", "boot-1")


async def test_damage_on_disk_is_told_and_the_rest_is_read(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    records = [record(b'{"n":%d}' % number) for number in range(3)]
    for one in records:
        await spool.append(*one)
    data = bytearray(spool.path.read_bytes())
    data[len(encode(*records[0])) + 3] ^= 1
    spool.path.write_bytes(data)
    batch = await spool.read(10)
    assert batch is not None
    assert batch.records == [records[0], records[2]]
    assert "damaged on disk" in caplog.text
    await spool.acknowledged(batch.end)
    await eventually(lambda: spool.waiting_bytes == 0)
