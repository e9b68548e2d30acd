"""What waits behind the ids of an answer, and what becomes of it when they cannot be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from proxy.flow.gate import GatedChannel
from proxy.flow.ties import Mints
from proxy.objects.kinds import Minted
from proxy.wire.refusals import Reason, Refused


class Client:
    """A channel that writes down what it is told."""

    gone = False

    def __init__(self) -> None:
        self.said: list[Any] = []

    def set_listener(
        self, on_gone: Callable[[], None], on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None: ...

    def start(self, status: int, head: bytes, *, length: int | None, events: bool = False) -> None:
        self.said.append(status)

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        self.said += [status, body]

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def finish(self, last: bytes = b"") -> None:
        self.said.append(last)

    def abort(self) -> None:
        self.said.append("cut")

    def buffered(self) -> int:
        return 0


class Ids:
    """Every `#` brings an id. Recording waits for `let`, and fails with `failure`."""

    def __init__(self) -> None:
        self.let = asyncio.Semaphore(0)
        self.failure: BaseException | None = None
        self.recorded: list[str] = []
        self.late: list[Minted] = []

    def see(self, block: bytes) -> list[Minted]:
        return [Minted("item", block.decode())] if b"#" in block else []

    of_body = of_unread = see

    def of_end(self, held: bytes) -> list[Minted]:
        late, self.late = self.late, []
        return self.see(held) + late

    async def record(self, found: list[Minted]) -> None:
        await self.let.acquire()
        if self.failure is not None:
            raise self.failure
        self.recorded += [each.id for each in found]


class Scene:
    def __init__(self) -> None:
        self.client = Client()
        self.ids = Ids()
        self.tasks: list[asyncio.Task[None]] = []
        self.gate = GatedChannel(self.client, cast(Mints, self.ids), b"req_1", self._spawn)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    def through(self) -> None:
        self.gate.when_through(lambda: self.client.said.append("through"))

    async def recorded(self, times: int = 1) -> None:
        for _ in range(times):
            self.ids.let.release()
            waiting = [task for task in self.tasks if not task.done()]
            await asyncio.wait(waiting, timeout=5)


async def test_what_comes_meanwhile_waits_in_its_order() -> None:
    scene = Scene()
    gate, said = scene.gate, scene.client.said
    gate.start(200, b"", length=None, events=True)
    for data in (b"a", b"#1", b"b", b"#2", b"c"):
        gate.write(data)
    gate.finish(b"#3")
    scene.through()
    assert said == [200, b"a"] and gate.buffered() == 8
    await scene.recorded()
    assert said == [200, b"a", b"#1", b"b"] and scene.ids.recorded == ["#1"]
    await scene.recorded()
    assert said[4:] == [b"#2", b"c"]
    await scene.recorded()
    assert said[6:] == [b"#3", "through"] and scene.ids.recorded == ["#1", "#2", "#3"] and gate.buffered() == 0


async def test_nothing_to_record_passes_at_once() -> None:
    scene = Scene()
    scene.gate.answer(200, b"", b"a")
    scene.through()
    assert scene.client.said == [200, b"a", "through"] and scene.tasks == []


AWAY = Refused(Reason.STORE_AWAY, "away")


@pytest.mark.parametrize("failure", [AWAY, ValueError("a bug")])
async def test_an_answer_whose_ids_cannot_be_kept_is_not_given(failure: Exception) -> None:
    scene = Scene()
    scene.ids.failure = failure
    scene.gate.answer(200, b"", b"#1")
    scene.through()
    await scene.recorded()
    status, body, last = scene.client.said
    assert (status, last) == ((503, "through") if failure is AWAY else (500, "through"))
    assert b"#1" not in body and b"a bug" not in body


@pytest.mark.parametrize("events", [True, False])
async def test_a_stream_that_has_begun_is_cut_instead(events: bool) -> None:
    scene = Scene()
    scene.ids.failure = AWAY
    scene.gate.start(200, b"", length=None, events=events)
    scene.gate.write(b"#1")
    scene.gate.write(b"b")
    await scene.recorded()
    scene.gate.write(b"c")
    scene.gate.finish(b"d")
    scene.through()
    assert scene.client.said == [200, "cut", "through"]


async def test_the_end_is_heard_even_where_it_had_ids_of_its_own() -> None:
    """The client left: what it had seen is recorded at the end, behind what was refused before."""
    scene = Scene()
    scene.ids.failure = AWAY
    scene.gate.start(200, b"", length=None, events=True)
    scene.gate.write(b"#1")
    scene.ids.late = [Minted("item", "late")]
    scene.through()
    await scene.recorded()
    assert scene.client.said == [200, "cut", "through"]
