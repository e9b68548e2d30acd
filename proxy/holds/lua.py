"""The scripts as Redis knows them: by the SHA-1 of their text, so that two versions can run side by side."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple


class Script(NamedTuple):
    name: str
    source: bytes
    sha: bytes


def load(name: str) -> Script:
    source = resources.files("proxy.holds.scripts").joinpath(f"{name}.lua").read_bytes()
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


ADMIT = load("admit")
SETTLE = load("settle")
RENEW = load("renew")
VOID = load("void")
EXPIRED = load("expired")
SWEEP = load("sweep")
SEED = load("seed")
ALL = (ADMIT, SETTLE, RENEW, VOID, EXPIRED, SWEEP, SEED)
