"""What the pump needs of the client's side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class ClientChannel(Protocol):
    """One answer to one client. Calls after the client left, or after the end, do nothing."""

    @property
    def gone(self) -> bool: ...

    def set_listener(
        self, on_gone: Callable[[], None], on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        """`on_gone`: the client left before the end. `on_pause`: more is buffered than the client takes."""

    def start(self, status: int, head: bytes, *, length: int | None, events: bool = False) -> None:
        """`head`: header lines, each with its CRLF. `length` None: the end is told by `finish`. `events`: SSE in the clear."""

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """A whole answer."""

    def write(self, data: bytes) -> None: ...

    def finish(self, last: bytes = b"") -> None:
        """The last bytes and the end."""

    def abort(self) -> None:
        """Cuts the connection; `on_gone` may follow."""

    def buffered(self) -> int:
        """Bytes written that the client has not taken yet. A reader that takes some makes this fall."""
