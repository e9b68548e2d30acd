"""An HTTP/1.1 server that does exactly what it is told, and remembers what it was asked.

Expected calls are answered in order; then the standing answer, if there is one; anything else is an unexpected call,
which `verify` (and so the fixture) turns into a failure.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import httptools
import orjson

from tests.upstream.account import Account, Entry
from tests.upstream.script import Close, Flood, Hold, Reset, Script, Send, Silence, Step, Wait, whole


@dataclass(slots=True)
class Recorded:
    """A request as it arrived. Header names in lower case, in order, with their repetitions."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    connection: int
    left: asyncio.Event = field(default_factory=asyncio.Event)  # set when the caller left before the answer was whole

    def header(self, name: str) -> str | None:
        return next((value.decode("latin-1") for known, value in self.headers if known == name.encode()), None)

    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed


Answer: TypeAlias = Script | Callable[[Recorded], Script]


class Upstream:
    """`async with Upstream() as upstream`; `tls` is a server context."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, ca_file: str | None = None, strict: bool = True) -> None:
        self._tls = tls
        self.ca_file = ca_file
        self._strict = strict
        self._expected: deque[Answer] = deque()
        self._standing: Answer | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.lines: set[_Line] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.requests: list[Recorded] = []
        self.unexpected: list[Recorded] = []
        self.connections = 0
        self.account = Account()
        self.host = "127.0.0.1"
        self.port = 0

    async def start(self, port: int = 0) -> Upstream:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Line(self), self.host, port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Also ends what is still being answered."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in tuple(self.lines):
            line.transport.abort()
        await self._empty.wait()

    async def __aenter__(self) -> Upstream:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/v1"

    def expect(self, *answers: Answer) -> None:
        """The next calls, in this order."""
        self._expected.extend(answers)

    def always(self, answer: Answer) -> None:
        """What every call gets that nobody expected."""
        self._standing = answer

    def verify(self) -> None:
        calls = [f"{call.method} {call.path}" for call in self.unexpected]
        assert not calls, f"the upstream was called without an answer to give: {calls}"
        assert not self._expected, f"{len(self._expected)} expected calls never came"

    # ---- for lines

    def joined(self, line: _Line) -> None:
        self.lines.add(line)
        self._empty.clear()

    def left(self, line: _Line) -> None:
        self.lines.discard(line)
        if not self.lines:
            self._empty.set()

    def answer_to(self, request: Recorded) -> Script:
        if request.path == "/_account":
            return whole(orjson.dumps(self.account.summary()))
        if self._strict:
            self.requests.append(request)
        answer = self._expected.popleft() if self._expected else self._standing
        if answer is None:
            self.unexpected.append(request)
            return whole(b'{"error":{"message":"unexpected call","type":"test"}}', status=500)
        return answer if isinstance(answer, Script) else answer(request)

    def open_entry(self, request: Recorded, script: Script) -> Entry:
        return self.account.open(request.path, script.model, script.label or None, script.prompt_tokens)

    def start_task(self, line: _Line, request: Recorded, script: Script, entry: Entry | None) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(line.play(request, script, entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Line(asyncio.Protocol):
    """One accepted connection. Pipelined requests are answered one after the other."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Recorded] = deque()
        self._playing: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._upstream.connections += 1
        self._number = self._upstream.connections
        self._upstream.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._drained.set()
        self._upstream.left(self)
        if self._playing is not None:
            self._playing.cancel()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()
            raise

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        self._queue.append(Recorded(method, self._url.decode(), self._headers, b"".join(self._body), self._number))
        if self._playing is None:
            self._next()

    def _next(self) -> None:
        while self._queue and not self._lost:
            request = self._queue.popleft()
            script = self._upstream.answer_to(request)
            entry = None if request.path == "/_account" else self._upstream.open_entry(request, script)
            if len(script.steps) == 1 and isinstance(send := script.steps[0], Send) and send.piece is None:
                # the whole answer at once: no task, so that a bench measures the gateway
                self.transport.write(send.data)
                if entry is not None:
                    entry.completion_tokens += send.tokens or script.completion_tokens
                    entry.complete = True
                continue
            self._playing = self._upstream.start_task(self, request, script, entry)
            self._playing.add_done_callback(self._played)
            return

    def _played(self, task: asyncio.Task[None]) -> None:
        self._playing = None
        if not task.cancelled() and task.exception() is None:
            self._next()

    async def play(self, request: Recorded, script: Script, entry: Entry | None) -> None:
        whole_script = False
        try:
            for step in script.steps:
                if self._lost:
                    return
                await self._do(step)
                if isinstance(step, Send) and entry is not None and not self._lost:
                    entry.completion_tokens += step.tokens
            whole_script = True
            if entry is not None:
                entry.complete = True
                if not any(isinstance(step, Send) and step.tokens for step in script.steps):
                    entry.completion_tokens = script.completion_tokens
        finally:
            if not whole_script:
                request.left.set()
                if entry is not None:
                    entry.left = True

    async def _do(self, step: Step) -> None:
        match step:
            case Send(data=data, piece=None):
                self.transport.write(data)
                await self._drained.wait()
            case Send(data=data, piece=int(piece)):
                for start in range(0, len(data), piece):
                    if self._lost:
                        return
                    self.transport.write(data[start : start + piece])
                    await asyncio.sleep(0)
                    await self._drained.wait()
            case Wait(seconds=seconds):
                await asyncio.sleep(seconds)
            case Hold(until=until):
                await until.wait()
            case Flood(block=block, total=total):
                sent = 0
                while sent < total and not self._lost:
                    self.transport.write(block)
                    sent += len(block)
                    await self._drained.wait()
            case Close():
                self.transport.close()
            case Reset():
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
            case Silence():
                await asyncio.Event().wait()
