"""How a command fails: what is wrong, what to try next, which request it was."""

from __future__ import annotations

DONE, FAILED, USAGE, NOT_SIGNED_IN = 0, 1, 2, 4


class Fault(Exception):
    """`message` is one or more sentences; `next_step` a command or an action; neither holds a secret."""

    def __init__(
        self, message: str, *, next_step: str | None = None, request_id: str | None = None, code: int = FAILED,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.request_id = request_id
        self.code = code

    def lines(self) -> list[str]:
        lines = [f"Error: {self.message}"]
        if self.next_step:
            lines.append(f"Try:   {self.next_step}")
        if self.request_id:
            lines.append(f"Request {self.request_id}")
        return lines
