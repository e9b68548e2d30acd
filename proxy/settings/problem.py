"""What is wrong with the configuration, told so that it can be put right."""

from __future__ import annotations

from typing import NamedTuple

Path = tuple[str | int, ...]


class Problem(NamedTuple):
    """`path` names the setting (`("server", "port")`), `text` says what is wrong and what is allowed."""

    path: Path
    text: str


class ConfigError(Exception):
    """The configuration cannot be used. `lines` are sentences for whoever wrote it, without secrets."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def dotted(path: Path) -> str:
    """`("llms", 0, "price")` → `llms[0].price`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
