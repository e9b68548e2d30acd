"""What audio and files in a prompt cost. Pure.

Audio: OpenAI 10 tokens a second, Google 32 ("Understand and count tokens"); both exact on recorded calls. Files: Google
258 a page; Anthropic ("PDF support") a page's text and its image, 1568 in the recordings; OpenAI ("PDF files") likewise,
220 in the recordings. How much text a page holds is not visible without reading PDF: at most 500 tokens are assumed.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from proxy.metering.image_size import data_in_url, decoded

_MAX_CHARS = 8 * 1024 * 1024  # of base64 that is decoded (30 ms); the rest is taken to be like it
_UNKNOWN_BYTES_PER_S = 16_000  # 128 kbit/s
_PCM_BYTES_PER_S = 48_000  # pcm16 at 24 kHz, OpenAI's
_AUDIO_PER_S = {"gemini": 32, "gemini-3": 32}
_DEFAULT_AUDIO_PER_S = 10
_PAGE_IMAGE = {"claude": 1568, "claude-4.7": 1568, "gemini": 258, "gemini-3": 560}
_DEFAULT_PAGE_IMAGE = 220
_PAGE_TEXT, _FILE_OVERHEAD, _BYTES_PER_TEXT_TOKEN = 500, 1000, 8  # an assumption: compressed text, fonts and tables
_BYTES_PER_OTHER_PAGE = 50_000  # of a format that is not read (docx, pptx, …)
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_PAGE_COUNT = re.compile(rb"/Count\s+(\d{1,5})")
_MP3_KBITS = {  # by (MPEG version 1, layer 3), (2, 3)
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def audio_tokens(rule: str, data: object, kind: object) -> int:
    """`data`: base64, also of a data: URL. `kind`: wav, mp3, …: a hint; the bytes decide."""
    if not isinstance(data, str) or not data:
        return 0
    if data[:5].lower() == "data:":
        data = data.partition(",")[2]
    head = decoded(data[: 256 * 1024])
    size = len(data) * 3 // 4 - data[-2:].count("=")
    seconds = _seconds(head, size, kind)
    return math.ceil(round(seconds * _AUDIO_PER_S.get(rule, _DEFAULT_AUDIO_PER_S), 6))


def _seconds(head: bytes, size: int, kind: object) -> float:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        at = head.find(b"fmt ", 12, 4096)
        rate = int.from_bytes(head[at + 16 : at + 20], "little") if at >= 0 else 0
        return size / (rate if rate >= 1000 else _UNKNOWN_BYTES_PER_S)
    if kind == "pcm16":
        return size / _PCM_BYTES_PER_S
    return _mp3_seconds(head, size) or size / _UNKNOWN_BYTES_PER_S


def _mp3_seconds(head: bytes, size: int) -> float:
    """By the frame count that encoders leave in the first frame (Xing, Info), else at the first frame's bit rate."""
    at = 0
    if head[:3] == b"ID3" and len(head) >= 10:
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    if at + 4 > len(head) or head[at] != 0xFF or head[at + 1] & 0xE6 != 0xE2:
        return 0.0
    version = head[at + 1] >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    rate, bits = head[at + 2] >> 2 & 3, head[at + 2] >> 4
    if version == 1 or rate == 3:
        return 0.0
    hertz = (44100, 48000, 32000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    frame = head[at : at + 256]
    for name in (b"Xing", b"Info"):
        found = frame.find(name)
        if found >= 0 and len(frame) >= found + 12 and frame[found + 7] & 1:
            frames = int.from_bytes(frame[found + 8 : found + 12])
            return frames * (1152 if version == 3 else 576) / hertz
    kbits = _MP3_KBITS[1 if version == 3 else 2]
    return (size - at) / (kbits[bits] * 125) if 0 < bits < len(kbits) else 0.0


class File(NamedTuple):
    """`tokens`: of pages. `text`: what the model reads as text, still to be counted."""

    tokens: int = 0
    text: str = ""


def file_content(rule: str, data: object) -> File:
    """`data`: a data: URL or bare base64; anything else (a file id, a link) is one page of unknown text."""
    if not isinstance(data, str) or not data:
        return _pages(rule, 1, None)
    found = data_in_url(data, _MAX_CHARS)
    kind, raw = found if found else ("", decoded(data[:_MAX_CHARS]))
    size = len(data) * 3 // 4
    if raw[:5] == b"%PDF-":
        pages = len(_PAGE.findall(raw)) or max((int(count) for count in _PAGE_COUNT.findall(raw)), default=1) or 1
        return _pages(rule, pages if len(data) <= _MAX_CHARS else pages * len(data) // _MAX_CHARS, size)
    if kind.startswith("text/") or kind in ("application/json", "application/xml"):
        return File(text=raw.decode(errors="replace"))
    if not raw:
        return _pages(rule, 1, None)
    return File(tokens=_PAGE_TEXT * math.ceil(size / _BYTES_PER_OTHER_PAGE))


def _pages(rule: str, pages: int, size: int | None) -> File:
    """`size` None: unknown."""
    if rule.startswith("gemini"):
        return File(tokens=pages * _PAGE_IMAGE[rule])
    held = _PAGE_TEXT if size is None else max(0, size - _FILE_OVERHEAD) // _BYTES_PER_TEXT_TOKEN // pages
    return File(tokens=pages * (_PAGE_IMAGE.get(rule, _DEFAULT_PAGE_IMAGE) + min(_PAGE_TEXT, held)))
