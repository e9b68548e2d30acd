"""What a dead process left in its spool is sent by whoever sees the folder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from proxy.holds.away import StoreAway
from proxy.holds.bus import Bus
from proxy.holds.client import Holds
from proxy.settlement.orphans import RECORDS_PER_TRIP, Orphan, adopt_orphans
from proxy.settlement.spool import Spool
from proxy.settlement.spool_lines import VOID, encode
from proxy.settlement.usage_event import encode as encode_event
from tests.held import EPOCHS, SHARD, WORKSPACE, Seen, connected, event_of, names, new_attempt, stub_of
from tests.line import Line


def lines_of(*attempts: object) -> bytes:
    return b"".join(encode(SHARD, attempt_id, encode_event(event_of(attempt_id))) for attempt_id in attempts)  # type: ignore[arg-type]


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)


async def test_a_file_of_the_dead_is_sent_and_removed(seeded: Holds, seen: Seen, tmp_path: Path) -> None:
    attempts = [new_attempt() for _ in range(2 * RECORDS_PER_TRIP + 7)]
    (tmp_path / "dead.spool").write_bytes(lines_of(*attempts))
    (tmp_path / "empty.spool").write_bytes(b"")
    adopted = await adopt_orphans(tmp_path, seeded)
    assert (adopted.files, adopted.records, adopted.damaged) == (2, len(attempts), 0)
    assert list(await seen.outcomes()) == attempts
    assert names(tmp_path) == []


async def test_a_file_of_the_living_is_left_alone(seeded: Holds, seen: Seen, tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "alive")
    await spool.append(SHARD, new_attempt(), b"{}")
    assert (await adopt_orphans(tmp_path, seeded)).files == 0
    assert await seen.entries() == []
    await spool.close()
    assert (await adopt_orphans(tmp_path, seeded)).records == 1


async def test_a_killed_process_leaves_an_orphan(seeded: Holds, seen: Seen, tmp_path: Path) -> None:
    """kill -9 in the middle of appending: all that was reported as kept is there, a torn tail is tolerated."""
    code = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from uuid import uuid4
        from proxy.settlement.spool import Spool

        async def main():
            spool = Spool.open(Path(sys.argv[1]), "victim")
            while True:
                attempt_id = uuid4()
                await spool.append(3, attempt_id, b'{"attempt_id":"%b"}' % str(attempt_id).encode())
                print(attempt_id.hex, flush=True)

        asyncio.run(main())
        """
    )
    process = start(code, tmp_path)
    assert process.stdout is not None
    reported = [(await asyncio.to_thread(process.stdout.readline)).strip() for _ in range(50)]
    assert (await adopt_orphans(tmp_path, seeded)).files == 0
    process.send_signal(signal.SIGKILL)
    reported += [line.strip() for line in process.stdout.read().splitlines() if len(line.strip()) == 32]
    process.wait()
    adopted = await adopt_orphans(tmp_path, seeded)
    assert adopted.files == 1
    sent = {fields[b"e"][15:-2].decode().replace("-", "") for fields in await seen.entries()}
    assert set(reported) <= sent
    assert len(reported) >= 50


async def test_a_torn_last_line_is_tolerated_and_told(
    seeded: Holds, seen: Seen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, torn = new_attempt(), new_attempt()
    (tmp_path / "dead.spool").write_bytes(lines_of(whole) + lines_of(torn)[:-5])
    assert (await adopt_orphans(tmp_path, seeded)).records == 1
    assert list(await seen.outcomes()) == [whole]
    assert "last line torn" in caplog.text
    assert names(tmp_path) == []


async def test_a_damaged_line_is_kept_aside_and_the_rest_sent(
    seeded: Holds, seen: Seen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, bad, last = new_attempt(), new_attempt(), new_attempt()
    content = lines_of(first) + lines_of(bad).replace(b"ok", b"OK") + lines_of(last)
    (tmp_path / "dead.spool").write_bytes(content)
    assert (await adopt_orphans(tmp_path, seeded)).damaged == 1
    assert list(await seen.outcomes()) == [first, last]
    assert "damaged" in caplog.text
    assert names(tmp_path) == ["dead.spool.damaged"]
    assert (tmp_path / "dead.spool.damaged").read_bytes() == content
    assert (await adopt_orphans(tmp_path, seeded)).files == 0


async def test_a_void_takes_the_hold_back(seeded: Holds, seen: Seen, tmp_path: Path) -> None:
    attempt_id = new_attempt()
    await seeded.admit(seeded.scope(SHARD, WORKSPACE), attempt_id, stub_of(attempt_id), *EPOCHS.values())
    (tmp_path / "dead.spool").write_bytes(encode(SHARD, attempt_id, VOID))
    await adopt_orphans(tmp_path, seeded)
    assert await seen.holds() == {}
    assert await seen.entries() == []


async def test_a_line_lost_half_way_keeps_the_file_for_the_next_time(
    line: Line, seeded: Holds, seen: Seen, tmp_path: Path
) -> None:
    attempts = [new_attempt() for _ in range(3 * RECORDS_PER_TRIP)]
    (tmp_path / "dead.spool").write_bytes(lines_of(*attempts))
    bus = await connected(Bus(line.redis_url))
    line.cut_after(reply_bytes=4 * RECORDS_PER_TRIP + 50)  # ":0\r\n" each
    with pytest.raises(StoreAway):
        await adopt_orphans(tmp_path, Holds(bus))
    await bus.stop()
    assert RECORDS_PER_TRIP <= len(await seen.outcomes()) < len(attempts)
    assert (await adopt_orphans(tmp_path, seeded)).records == len(attempts)
    assert set(await seen.outcomes()) == set(attempts)
    assert names(tmp_path) == []


async def test_two_adopters_send_a_file_once(seeded: Holds, seen: Seen, tmp_path: Path) -> None:
    attempts = [new_attempt() for _ in range(10)]
    (tmp_path / "dead.spool").write_bytes(lines_of(*attempts))
    both = await asyncio.gather(adopt_orphans(tmp_path, seeded), adopt_orphans(tmp_path, seeded))
    assert sorted(adopted.files for adopted in both) == [0, 1]
    assert len(await seen.entries()) == 10


async def test_a_name_that_means_another_file_by_now_is_not_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dead.spool"
    path.write_bytes(b"")
    opened = os.open

    def raced(name: str, flags: int) -> int:
        fd = opened(name, flags)
        path.unlink()  # another adopter ended it between our open and our lock
        return fd

    monkeypatch.setattr(os, "open", raced)
    assert Orphan.adopt(path) is None


async def test_an_unborn_file_is_swept_up_once_it_is_old(seeded: Holds, tmp_path: Path) -> None:
    young, old = tmp_path / "young.spool.new", tmp_path / "old.spool.new"
    for path in (young, old):
        path.write_bytes(b"")
    os.utime(old, (1, 1))
    await adopt_orphans(tmp_path, seeded)
    assert names(tmp_path) == [young.name]


async def test_no_folder_no_orphans(seeded: Holds, tmp_path: Path) -> None:
    assert (await adopt_orphans(tmp_path / "none", seeded)).files == 0
