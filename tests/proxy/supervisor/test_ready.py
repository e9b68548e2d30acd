from __future__ import annotations

import os

from proxy.supervisor.ready import ReadyPipe
from proxy.telemetry.ready import announce_ready


def test_silence_is_not_ready_and_the_line_is() -> None:
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


def test_nobody_to_tell() -> None:
    pipe = ReadyPipe()
    child = os.dup(pipe.child_end)
    pipe.started()
    pipe.close()
    announce_ready(child)
    announce_ready(None)
