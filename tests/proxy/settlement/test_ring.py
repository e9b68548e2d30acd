from __future__ import annotations

from uuid import UUID

from proxy.settlement.ring import Ring


def attempts_of(ring: Ring, shard: int = 0, now_s: float = 0.0) -> list[int]:
    return [kept.attempt_id.int for kept in ring.of_shard(shard, now_s)]


def fill(ring: Ring, *, count: int, every_s: float = 0.0, size: int = 10, shard: int = 0) -> None:
    for number in range(count):
        ring.add(number * every_s, shard, UUID(int=number), b"x" * size)


def test_bounded_by_age() -> None:
    ring = Ring(window_s=10)
    fill(ring, count=100, every_s=1)
    assert attempts_of(ring, now_s=99) == list(range(89, 100))
    assert len(ring) == 11
    assert attempts_of(ring, now_s=105) == list(range(95, 100))  # also where nothing came for a while


def test_bounded_by_count() -> None:
    ring = Ring(max_events=5)
    fill(ring, count=100)
    assert attempts_of(ring) == [95, 96, 97, 98, 99]


def test_bounded_by_bytes() -> None:
    ring = Ring(max_bytes=1_000)
    fill(ring, count=100, size=90)
    assert ring.bytes == 990
    assert len(ring) == 11
    ring.add(0, 0, UUID(int=1), b"x" * 2_000)  # one that is too large is not kept, nor does it grow the ring
    assert (len(ring), ring.bytes) == (0, 0)


def test_by_shard() -> None:
    ring = Ring()
    fill(ring, count=2, shard=0)
    fill(ring, count=3, shard=1)
    assert attempts_of(ring, shard=0) == [0, 1]
    assert attempts_of(ring, shard=1) == [0, 1, 2]
