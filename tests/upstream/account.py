"""The upstream's own books: what it would put on its bill, kept apart from anything the gateway says."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Entry:
    """One request that arrived whole. `completion_tokens`: what was sent so far; `complete`: all of it was written."""

    number: int
    path: str
    model: str
    user: str | None
    prompt_tokens: int
    completion_tokens: int = 0
    complete: bool = False
    left: bool = False  # the caller left before the end


@dataclass(slots=True)
class Account:
    entries: list[Entry] = field(default_factory=list)

    def open(self, path: str, model: str, user: str | None, prompt_tokens: int) -> Entry:
        entry = Entry(len(self.entries) + 1, path, model, user, prompt_tokens)
        self.entries.append(entry)
        return entry

    @property
    def requests(self) -> int:
        return len(self.entries)

    @property
    def prompt_tokens(self) -> int:
        return sum(entry.prompt_tokens for entry in self.entries)

    @property
    def completion_tokens(self) -> int:
        return sum(entry.completion_tokens for entry in self.entries)

    def summary(self) -> dict[str, Any]:
        """What `GET /_account` answers."""
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "complete": sum(entry.complete for entry in self.entries),
            "entries": [asdict(entry) for entry in self.entries],
        }
