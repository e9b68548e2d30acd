"""The scripts as functions: the only place that knows the order of their keys, arguments and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from proxy.epochs.keys import GLOBAL, epoch_key
from proxy.holds import keys, lua
from proxy.holds.away import ErrorReply, StoreAway
from proxy.holds.bus import Bus
from proxy.holds.line import Sink
from proxy.holds.resp import Word, hex_of, open_call, pack, pack_script, word

RENEW_MOST = 500  # attempts per call: one script must not hold the server up
SWEEP_MOST = 100
SCAN_COUNT = 500
SCOPES_MOST = 20_000

Settled: TypeAlias = Literal["settled", "late"]


class AdmitReply(NamedTuple):
    """`time_ms` is the server's. The epochs are Redis' own, told only with `stale`; None: it has none."""

    kind: Literal["held", "stale", "cold", "swept"]
    time_ms: int
    workspace_epoch: int | None
    global_epoch: int | None


class Renewed(NamedTuple):
    missing: list[UUID]  # no hold: swept, or lost by Redis
    epochs: dict[UUID, int | None]  # by workspace
    global_epoch: int | None
    gen: str | None
    time_ms: int


class Seeded(NamedTuple):
    gen: str
    set_here: bool
    raised: int


class ShardCalls:
    """The beginnings of the calls that depend on the shard alone."""

    __slots__ = ("gen", "settle", "shard", "void")

    def __init__(self, shard: int) -> None:
        self.shard = shard
        holds = keys.holds_key(shard)
        # … and the length of an attempt, 32 hex digits
        self.settle = open_call(lua.SETTLE, [holds, keys.usage_key(shard)], more_args=2) + b"$32\r\n"
        self.void = open_call(lua.VOID, [holds], more_keys=1, more_args=2)
        self.gen = pack(b"GET", keys.gen_key(shard))


class HoldScope:
    """One workspace in its shard, with what is constant of its calls already packed."""

    __slots__ = ("admit", "calls", "check", "shard", "workspace_id", "_rest", "_rest_of")

    def __init__(self, calls: ShardCalls, workspace_id: UUID) -> None:
        shard = self.shard = calls.shard
        self.calls = calls
        self.workspace_id = workspace_id
        fixed = [keys.gen_key(shard), epoch_key(shard, workspace_id), epoch_key(shard, GLOBAL), keys.holds_key(shard)]
        tombstone = keys.swept_prefix(shard).encode()
        self.admit = b"%b$%d\r\n%b" % (
            open_call(lua.ADMIT, fixed, more_keys=1, more_args=6), len(tombstone) + 32, tombstone,
        )  # fmt: skip
        self.check = pack(b"MGET", *fixed[:3])
        self._rest_of: tuple[int, bool, int, int] | None = None
        self._rest = b""

    def rest(self, lease_ms: int, again: bool, workspace_epoch: int, global_epoch: int) -> bytes:
        """ARGV from the lease on: packed once per pair of epochs."""
        wanted = (lease_ms, again, workspace_epoch, global_epoch)
        if wanted != self._rest_of:
            self._rest = b"".join(map(word, (lease_ms, int(again), workspace_epoch, global_epoch)))
            self._rest_of = wanted
        return self._rest


class Holds:
    """Each raises StoreAway where nothing was sent; futures fail with `Unanswered` or `ErrorReply`, StoreAways too."""

    def __init__(self, bus: Bus, *, lease_ms: int = 120_000, tombstone_s: int = keys.TOMBSTONE_S) -> None:
        self.bus = bus
        self._lease_ms = lease_ms
        self._tombstone_s = tombstone_s
        self._shards: dict[int, ShardCalls] = {}
        self._scopes: dict[tuple[int, UUID], HoldScope] = {}

    def scope(self, shard: int, workspace_id: UUID) -> HoldScope:
        found = self._scopes.get((shard, workspace_id))
        if found is None:
            if len(self._scopes) >= SCOPES_MOST:
                self._scopes.clear()  # those in use are held by their users
            found = self._scopes[(shard, workspace_id)] = HoldScope(self._calls(shard), workspace_id)
        return found

    def _calls(self, shard: int) -> ShardCalls:
        found = self._shards.get(shard)
        if found is None:
            found = self._shards[shard] = ShardCalls(shard)
        return found

    # gateway: two calls per attempt

    def admit(
        self,
        scope: HoldScope,
        attempt_id: UUID,
        stub: bytes,
        workspace_epoch: int,
        global_epoch: int,
        *,
        again: bool = False,
    ) -> asyncio.Future[AdmitReply]:
        """`stub` is the event that a sweep would write. `again`: in flight already, so only a tombstone refuses it."""
        answer: asyncio.Future[AdmitReply] = asyncio.get_running_loop().create_future()
        sink = partial(_resolve, answer, read_admit)
        self.send_admit(scope, attempt_id, stub, workspace_epoch, global_epoch, sink, again=again)
        return answer

    def send_admit(
        self, scope: HoldScope, attempt_id: UUID, stub: bytes, workspace_epoch: int, global_epoch: int, sink: Sink, *,
        again: bool = False,
    ) -> None:  # fmt: skip
        """`admit` for who wants no future: `sink` gets what `read_admit` reads, or a StoreAway."""
        digits = hex_of(attempt_id)
        rest = scope.rest(self._lease_ms, again, workspace_epoch, global_epoch)
        payload = b"%b%b\r\n$32\r\n%b\r\n$%d\r\n%b\r\n%b" % (scope.admit, digits, digits, len(stub), stub, rest)
        self.bus.send(payload, sink)

    def send_settle(self, shard: int, attempt_id: UUID, event: bytes, sink: Sink) -> None:
        """`settle` for who wants no future: `sink` gets 1 (settled), 0 (late) or a StoreAway."""
        head = self._calls(shard).settle
        self.bus.send(b"%b%b\r\n$%d\r\n%b\r\n" % (head, hex_of(attempt_id), len(event), event), sink)

    # gateway: now and then

    def settle(self, scope: HoldScope, attempt_id: UUID, event: bytes) -> asyncio.Future[Settled]:
        return self.resend(scope.shard, attempt_id, event)

    def resend(self, shard: int, attempt_id: UUID, event: bytes) -> asyncio.Future[Settled]:
        """Settle again (ring, spool): a hold that is still there goes, else the event is late."""
        answer: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        self.send_settle(shard, attempt_id, event, partial(_resolve, answer, _settled))
        return answer

    def void(self, shard: int, attempt_id: UUID) -> asyncio.Future[bool]:
        """Nothing of it was sent. True where there was a hold; either way it cannot be announced any more."""
        tombstone, digits = keys.swept_key(shard, attempt_id), hex_of(attempt_id)
        payload = self._calls(shard).void + word(tombstone) + word(digits) + word(self._tombstone_s)
        return self._call(payload, bool)

    def renew(self, shard: int, attempts: Sequence[tuple[UUID, HoldScope]]) -> asyncio.Future[Renewed]:
        """New lease ends. At most RENEW_MOST attempts, of the same shard."""
        if len(attempts) > RENEW_MOST:
            raise ValueError(f"renew takes at most {RENEW_MOST} attempts at once")
        ids = [attempt_id for attempt_id, _ in attempts]
        workspaces = list({scope.workspace_id: None for _, scope in attempts})
        payload = pack_script(
            lua.RENEW,
            [keys.gen_key(shard), epoch_key(shard, GLOBAL), keys.holds_key(shard),
             *(epoch_key(shard, workspace_id) for workspace_id in workspaces)],
            [self._lease_ms, *map(hex_of, ids)],
        )  # fmt: skip
        return self._call(payload, partial(_renewed, ids, workspaces))

    def check(self, scope: HoldScope) -> asyncio.Future[tuple[str | None, int | None, int | None]]:
        """Gen, workspace epoch, global epoch: for surfaces that admit nothing."""
        return self._call(scope.check, _checked, script=False)

    def gen(self, shard: int) -> asyncio.Future[str | None]:
        return self._call(self._calls(shard).gen, _text, script=False)

    def time_ms(self) -> asyncio.Future[int]:
        return self._call(pack(b"TIME"), _time_ms, script=False)

    # worker

    async def sweep(self, shard: int) -> list[UUID]:
        """Every attempt whose lease is over gets its abandoned event and a tombstone. Which they were."""
        swept: list[UUID] = []
        cursor: Word = b"0"
        while True:
            call = pack_script(lua.EXPIRED, [keys.holds_key(shard)], [cursor, SCAN_COUNT])
            cursor, over, _ = await self._call(call, _as_is)
            for start in range(0, len(over), SWEEP_MOST):
                swept += await self._sweep(shard, over[start : start + SWEEP_MOST])
            if cursor == b"0":
                return swept

    async def _sweep(self, shard: int, attempts: list[bytes]) -> list[UUID]:
        tombstones = [keys.swept_prefix(shard).encode() + digits for digits in attempts]
        names: list[Word] = [keys.holds_key(shard), keys.usage_key(shard), *tombstones]
        done = await self._call(pack_script(lua.SWEEP, names, [self._tombstone_s, *attempts]), _as_is)
        return [UUID(hex=digits.decode()) for digits in done]

    def seed(self, shard: int, gen: str, epochs: Mapping[UUID, int], *, check: bool = False) -> asyncio.Future[Seeded]:
        """Gen and all epochs of a shard (the global one too), at once. A seeded shard is left alone, but for `check`,
        which raises epochs that are behind.
        """
        names = [keys.gen_key(shard), *(epoch_key(shard, scope_id) for scope_id in epochs)]
        return self._call(pack_script(lua.SEED, names, [gen, int(check), *epochs.values()]), _seeded)

    def _call(self, payload: bytes, read: Callable[[Any], Any], *, script: bool = True) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.bus.send(payload, partial(_resolve, answer, read), retry=script)
        return answer


# Answers. Each is given by the line, in order; whoever waited may have gone.


def _resolve(answer: asyncio.Future[Any], read: Callable[[Any], Any], reply: Any) -> None:
    if answer.done():
        return
    if isinstance(reply, StoreAway):
        answer.set_exception(reply)
        return
    try:
        answer.set_result(read(reply))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        answer.set_exception(ErrorReply(f"an answer of another shape: {reply!r:.200} ({error})"))


def read_admit(reply: Any) -> AdmitReply:
    """Raises ValueError for an answer of another shape. A whole number, the server's time, says held."""
    match reply:
        case int():
            return AdmitReply("held", reply, None, None)
        case [b"cold", int(time_ms)]:
            return AdmitReply("cold", time_ms, None, None)
        case [b"swept", int(time_ms)]:
            return AdmitReply("swept", time_ms, None, None)
        case [b"stale", int(time_ms), workspace_epoch, global_epoch]:
            return AdmitReply("stale", time_ms, _number(workspace_epoch), _number(global_epoch))
        case _:
            raise ValueError("not of admit")


def _settled(reply: Any) -> Settled:
    return "settled" if reply == 1 else "late"


def _renewed(ids: list[UUID], workspaces: list[UUID], reply: Any) -> Renewed:
    time_ms, gen, global_epoch, missing, epochs = reply
    return Renewed(
        missing=[ids[index] for index in missing],
        epochs=dict(zip(workspaces, map(_number, epochs), strict=True)),
        global_epoch=_number(global_epoch),
        gen=_text(gen),
        time_ms=time_ms,
    )


def _checked(reply: Any) -> tuple[str | None, int | None, int | None]:
    return _text(reply[0]), _number(reply[1]), _number(reply[2])


def _seeded(reply: Any) -> Seeded:
    return Seeded(reply[0].decode(), reply[1] == 1, reply[2])


def _time_ms(reply: Any) -> int:
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def _as_is(reply: Any) -> Any:
    return reply


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
