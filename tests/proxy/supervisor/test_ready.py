from __future__ import annotations

import asyncio
import os

import pytest

from proxy.supervisor.ready import ReadyPipe
from proxy.telemetry.ready import announce_ready


async def test_silence_is_not_ready_and_the_line_is() -> None:
    pipe = ReadyPipe()
    child = os.dup(pipe.child_end)
    pipe.started()
    assert not pipe.look()
    announce_ready(child)
    assert pipe.look()
    assert pipe.look()


def test_a_child_that_ends_without_a_word_was_never_ready() -> None:
    pipe = ReadyPipe()
    pipe.started()
    assert not pipe.look()
    assert not pipe.look()


async def test_nobody_to_tell() -> None:
    pipe = ReadyPipe()
    child = os.dup(pipe.child_end)
    pipe.started()
    pipe.close()
    announce_ready(child)
    announce_ready(None)


def test_what_comes_after_the_line_is_a_sign_of_life() -> None:
    pipe = ReadyPipe()
    child = os.dup(pipe.child_end)
    pipe.started()
    os.write(child, b"ready\n")
    assert not pipe.beat() and pipe.look() and not pipe.beat()
    os.write(child, b"..")
    assert pipe.beat() and not pipe.beat()
    os.close(child)
    assert not pipe.beat()
    pipe.close()
    assert not pipe.beat()


async def test_an_event_loop_that_runs_beats_and_one_that_hangs_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.telemetry.ready.EVERY_S", 0.001)
    pipe = ReadyPipe()
    child = os.dup(pipe.child_end)
    pipe.started()
    announce_ready(child)
    assert pipe.look() and pipe.beat()
    while not pipe.beat():  # noqa: ASYNC110 - the next round of the loop is what is waited for
        await asyncio.sleep(0)
    assert not any(pipe.beat() for _ in range(10_000))  # the loop does not come round
    pipe.close()
    with pytest.raises(OSError):  # and it closes its end once nobody listens
        while True:
            os.fstat(child)
            await asyncio.sleep(0)
