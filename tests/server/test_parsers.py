"""The parsers under all this: old ones are known to be unsafe, and aiohttp's in Python is less strict than its C one."""

from __future__ import annotations

import os
from importlib.metadata import version

import httptools
from aiohttp import http_parser


def at_least(package: str, floor: tuple[int, ...]) -> bool:
    return tuple(int(part) for part in version(package).split(".")[: len(floor)]) >= floor


def test_aiohttp() -> None:
    """CVE-2026-69243 (smuggling by an upgrade) and CVE-2026-69244 (heap read in the C parser): fixed in 3.14.3."""
    assert at_least("aiohttp", (3, 14, 3))
    assert "AIOHTTP_NO_EXTENSIONS" not in os.environ
    assert http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy
    assert http_parser.HttpRequestParser.__module__ == "aiohttp._http_parser"


def test_httptools() -> None:
    assert at_least("httptools", (0, 9, 0))
    assert httptools.HttpRequestParser.__module__.startswith("httptools.parser")
