"""What an image costs by its maker's documented rule. Pure.

OpenAI: "Images and vision", "Calculating costs" (tiles; patches with a multiplier per model). Anthropic: "Vision"
(long side at most 1568, from Opus 4.7 on 2576; its width × height / 750 is what patches of 28 come to, and those and 2
more are exact on recorded calls). Google: "Understand and count tokens" (258 per tile of 768; Gemini 3
"Media resolution": 1120 by default). An image of unknown size (a link, a file id) is taken as 1024 × 1024.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from proxy.metering.image_size import Size

UNKNOWN = Size(1024, 1024)


class _Tiles(NamedTuple):
    base: int
    per_tile: int


class _Patches(NamedTuple):
    """`permille`: tokens per 1000 patches; at most `budget` patches."""

    permille: int
    budget: int = 1536


# In order; the first that is found in the model's name.
_OPENAI: tuple[tuple[re.Pattern[str], _Tiles | _Patches], ...] = (
    (re.compile(r"gpt-(?:4\.1|5|5\.\d)-mini|codex-mini|gpt-5\.\d-codex-mini"), _Patches(1620)),
    (re.compile(r"gpt-(?:4\.1|5|5\.\d)-nano"), _Patches(2460)),
    (re.compile(r"o4-mini"), _Patches(1720)),
    (re.compile(r"gpt-4o-mini"), _Tiles(2833, 5667)),
    (re.compile(r"gpt-(?:5\.[2-9]|[6-9])"), _Patches(1200)),
    (re.compile(r"gpt-5"), _Tiles(70, 140)),
    (re.compile(r"computer-use"), _Tiles(65, 129)),
    (re.compile(r"(?:^|[/:])o[1-9]"), _Tiles(75, 150)),
)
_OPENAI_DEFAULT = _Tiles(85, 170)  # gpt-4o, gpt-4.1, gpt-4.5, gpt-4 with vision
_ORIGINAL_BUDGET, _LOW_BUDGET = 10_000, 256  # details "original" and "low" (512 × 512)


def image_tokens(rule: str, model: str, size: Size | None, detail: object) -> int:
    """`rule`: of the model's family. `detail`: OpenAI's, as the client sent it."""
    known = size or UNKNOWN
    if rule == "claude":
        return _claude(known, 1568, 1568)
    if rule == "claude-4.7":
        return _claude(known, 2576, 4784)
    if rule == "gemini":
        return _gemini(known)
    if rule == "gemini-3":
        return {"low": 280, "medium": 560}.get(detail, 1120) if isinstance(detail, str) else 1120
    name = model.lower()
    how = next((found for pattern, found in _OPENAI if pattern.search(name)), _OPENAI_DEFAULT)
    if isinstance(how, _Patches):
        return _patches(how, known, detail)
    return how.base if detail == "low" else how.base + how.per_tile * _tiles(known)


def _tiles(size: Size) -> int:
    """Fitted into 2048 × 2048, then the short side to 768; never enlarged."""
    scale = min(1.0, 2048 / max(size))
    scale = min(scale, 768 / min(size))
    return math.ceil(round(size.width * scale, 3) / 512) * math.ceil(round(size.height * scale, 3) / 512)


def _patches(how: _Patches, size: Size, detail: object) -> int:
    budget = _ORIGINAL_BUDGET if detail == "original" else _LOW_BUDGET if detail == "low" else how.budget
    width, height = size
    count = math.ceil(width / 32) * math.ceil(height / 32)
    if count > budget:
        shrink = math.sqrt(budget * 32 * 32 / (width * height))
        across, down = width * shrink / 32, height * shrink / 32
        shrink *= min(max(1, math.floor(across)) / across, max(1, math.floor(down)) / down)
        count = min(budget, math.ceil(round(width * shrink / 32, 6)) * math.ceil(round(height * shrink / 32, 6)))
    return math.ceil(count * how.permille / 1000)


def _claude(size: Size, longest: int, most: int) -> int:
    scale = min(1.0, longest / max(size), math.sqrt(most * 28 * 28 / (size.width * size.height)))
    return min(most, math.ceil(size.width * scale / 28) * math.ceil(size.height * scale / 28)) + 2


def _gemini(size: Size) -> int:
    if max(size) <= 384:
        return 258
    scale = min(1.0, 3072 / max(size))  # "Image understanding": larger ones are scaled down to fit
    return 258 * math.ceil(size.width * scale / 768) * math.ceil(size.height * scale / 768)
