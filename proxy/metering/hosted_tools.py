"""Tools that the provider itself ran for an answer, counted from the items of a Responses answer.

Prices are per thing (OpenAI's pricing page, "Built-in tools"): a search, a search in files, a session of a code container.
Pages opened or searched after a web search are free (openai 3.57, types/responses/response_function_web_search.py names the
actions; recording 14 has searches). Images are counted by size and quality, which have prices of their own; where the answer
says what tokens they took (`tool_usage.image_gen`), those are billed instead.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

_WORD = re.compile(r"[a-z0-9][a-z0-9.\-]{0,31}")
# A wish, and no size or quality.
_WISH = "auto"


def images_unit(size: object, quality: object) -> str:
    """`images/1024x1024/high`; what is not known is left out from the end, as an unknown size has no price by quality."""
    words = [_word(size), _word(quality)]
    known = words[: words.index("")] if "" in words else words
    return "/".join(["images", *known])


class Item(msgspec.Struct):
    """An output item. Anything may have any type: it is the provider's word."""

    type: Any = None
    status: Any = None
    action: Any = None
    container_id: Any = None
    environment: Any = None
    size: Any = None
    quality: Any = None


class HostedTools:
    """`see` each item once."""

    __slots__ = ("_containers", "_file_searches", "_images", "_web_searches")

    def __init__(self) -> None:
        self._web_searches = self._file_searches = 0
        self._containers: set[str] = set()
        self._images: Counter[tuple[str, str]] = Counter()

    def see(self, item: Item) -> None:
        kind = item.type
        container = _container(item)
        if container is not None:
            self._containers.add(container)
        if item.status == "failed":
            return
        if kind == "web_search_call":
            self._web_searches += _searches(item.action)
        elif kind == "file_search_call":
            self._file_searches += 1
        elif kind == "code_interpreter_call" and container is None:
            self._containers.add("")
        elif kind == "image_generation_call":
            self._images[_word(item.size), _word(item.quality)] += 1

    def units(self, *, size: object = None, quality: object = None) -> dict[str, int]:
        """What there was; a tool that was not used is absent. `size`, `quality`: of images that do not say theirs."""
        found = Counter({
            "web_searches": self._web_searches,
            "file_searches": self._file_searches,
            "code_sessions": len(self._containers),
        })
        for (of_size, of_quality), made in self._images.items():
            found[images_unit(of_size or size, of_quality or quality)] += made
        return {unit: count for unit, count in found.items() if count}


def _searches(action: object) -> int:
    """Answers from before there were other actions have none."""
    return 1 if not isinstance(action, dict) or action.get("type", "search") == "search" else 0


def _container(item: Item) -> str | None:
    """Of a code interpreter's call, or a shell's that ran in one (its environment then refers to it)."""
    if isinstance(item.container_id, str) and item.container_id:
        return item.container_id
    found = item.environment.get("container_id") if isinstance(item.environment, dict) else None
    return found if isinstance(found, str) and found else None


def _word(value: object) -> str:
    """A size or a quality; "" where it is none."""
    word = value.lower() if isinstance(value, str) else ""
    return word if word != _WISH and _WORD.fullmatch(word) else ""
