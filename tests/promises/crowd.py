"""Clients, many at once: each try has a label of its own, by which the provider's account and the rows are compared."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tests.promises.house import House

# finished: the client saw the end of a good answer. failed: a whole answer with an error status. error_event: a stream
# that told its own end. cut: the line ended before the answer did. left: the client went, as it had meant to.
End = Literal["", "finished", "failed", "error_event", "cut", "left"]
ANSWER_WITHIN_S = 60.0
WORDS = "say something that takes a while"


class Ask(NamedTuple):
    llm: str
    stream: bool = True
    leave_after_s: float | None = None


@dataclass(slots=True)
class Try:
    label: str
    ask: Ask
    port: int = 0  # of the client's end
    status: int = 0
    end: End = ""
    body: bytes = b""

    @property
    def under_way(self) -> bool:
        return not self.end and self.port != 0

    @property
    def refused(self) -> bool:
        """By the gateway, before it sent anything."""
        return self.status in (401, 403, 503)


@dataclass(slots=True)
class Crowd:
    """`prefix` sets one crowd's labels apart from all others' in the same house."""

    house: House
    prefix: str
    tries: list[Try] = field(default_factory=list)
    log_from: int = 0  # how long the house's log was before
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def ask(self, what: Ask, *, key: str | None = None) -> Try:
        """Once."""
        tried = Try(f"{self.prefix}-{next(self._numbers)}", what)
        self.tries.append(tried)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S if what.leave_after_s is None else what.leave_after_s):
                await self._talk(tried, key or self.house.key)
        except TimeoutError:
            assert what.leave_after_s is not None, f"{tried.label} ({what}) had no end within {ANSWER_WITHIN_S} s"
            tried.end = tried.end or "left"
        except OSError:
            tried.end = "cut"
        return tried

    async def insist(self, what: Ask, *, pause_s: float = 0.1) -> Try:
        """As an SDK with patience: again after a cut line or a refusal that asks for it. Fails where it never succeeds."""
        until = time.monotonic() + ANSWER_WITHIN_S
        while True:
            tried = await self.ask(what)
            if tried.end not in ("cut", "failed", "error_event") or tried.ask.llm in ("failing", "broken"):
                return tried
            assert tried.end != "failed" or tried.status in (502, 503, 504), f"{tried.status} {tried.body!r}"
            assert time.monotonic() < until, f"never succeeded: {tried}"
            await asyncio.sleep(pause_s)

    async def busy(self, clients: int, mix: Sequence[Ask], during: Callable[[], Awaitable[object]], seed: int = 1) -> None:
        """`clients` at a time ask on, each until `during` is over and its last request has succeeded."""
        over = asyncio.Event()

        async def client(number: int) -> None:
            chance = random.Random(seed * 1000 + number)
            await asyncio.sleep(chance.random())
            while not over.is_set():
                await self.insist(chance.choice(mix))

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(client(number))
            try:
                await during()
            finally:
                over.set()

    def under_way(self) -> list[Try]:
        return [tried for tried in self.tries if tried.under_way]

    async def _talk(self, tried: Try, key: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.house.port)
        try:
            tried.port = writer.get_extra_info("sockname")[1]
            writer.write(_request(tried, key))
            while data := await reader.read(65536):
                tried.body += data
            _judge(tried)
        finally:
            writer.transport.abort()


def _request(tried: Try, key: str) -> bytes:
    what = tried.ask
    body = {"model": what.llm, "stream": what.stream, "user": tried.label, "messages": [{"role": "user", "content": WORDS}]}
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: house\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _judge(tried: Try) -> None:
    """From all the bytes up to the end of the connection."""
    head, _, body = tried.body.partition(b"\r\n\r\n")
    if not head:
        tried.end = "cut"
        return
    tried.status = int(head.split(b" ", 2)[1])
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = lines.get(b"content-length")
    whole = body.endswith(b"0\r\n\r\n") if length is None else len(body) == int(length)
    if not whole:
        tried.end = "cut"
    elif tried.status != 200:
        tried.end = "failed"
    elif b'data: {"error"' in body:
        tried.end = "error_event"
    else:
        assert not tried.ask.stream or b"data: [DONE]" in body, f"a stream that ended well without its end: {body[-300:]!r}"
        tried.end = "finished"
