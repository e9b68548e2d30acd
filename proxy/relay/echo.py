"""`synapscale/echo`: an llm inside the process, behind a provider's seam, so that the whole path works offline."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from proxy.outbound.sink import Broken, Sink
from proxy.relay.echo_answer import EchoAnswer, echo_answer


class Echo:
    """`now_s` gives Unix seconds, for `created`."""

    def __init__(self, now_s: Callable[[], int]) -> None:
        self._now_s = now_s

    def call(self, body: bytes, sink: Sink) -> EchoCall:
        """Starts answering a chat completion; like a pool's call, it says nothing before this returns."""
        completion_id = f"chatcmpl-echo-{os.urandom(12).hex()}"
        return EchoCall(echo_answer(body, completion_id=completion_id, created_s=self._now_s()), sink)


class EchoCall:
    """Implements `UpstreamCall`: one piece per turn of the event loop, so that a stream is one and blocks nobody."""

    bytes_written = True  # it is priced like any other llm, and it has seen the request
    detail = ""

    def __init__(self, answer: EchoAnswer, sink: Sink) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._sink = sink
        self._begun = False
        self._paused = False
        self._over = False
        self._next: asyncio.Handle | None = self._loop.call_soon(self._step)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._next is None and not self._over:
            self._next = self._loop.call_soon(self._step)

    def cancel(self) -> None:
        self._over = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _step(self) -> None:
        self._next = None
        if self._over or self._paused:
            return
        through = False
        try:
            self._say()
            through = True
        finally:
            if not through:  # a bug in the sink, which the loop reports: the call must end all the same
                self.cancel()
                self._loop.call_soon(self._sink.on_broken, Broken.RESET)
        if not self._over and self._next is None:
            self._next = self._loop.call_soon(self._step)

    def _say(self) -> None:
        if not self._begun:
            self._begun = True
            self._sink.on_head(self._answer.status, self._answer.headers)
            return
        piece = next(self._answer.pieces, None)
        if piece is None:
            self._over = True
            self._sink.on_end()
        else:
            self._sink.on_body(piece)
