"""What arrives of an export, counted without the gateway's help: bytes, digest, rows."""

from __future__ import annotations

import hashlib
import zlib


class Seen:
    def __init__(self, *, csv: bool, gzip: bool) -> None:
        self.size = 0
        self._digest = hashlib.sha256()
        self._unzip = zlib.decompressobj(16 + zlib.MAX_WBITS) if gzip else None
        self._csv = csv
        self._ends = 0  # of rows, with the header's
        self._quoted = False

    def see(self, piece: bytes) -> None:
        self.size += len(piece)
        self._digest.update(piece)
        self._count(piece if self._unzip is None else self._unzip.decompress(piece))

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def rows(self) -> int:
        return self._ends - (1 if self._csv else 0)

    def _count(self, plain: bytes) -> None:
        if not self._csv:
            self._ends += plain.count(b"\n")
            return
        # Between quotes a line break is text (RFC 4180); a doubled quote leaves and enters again.
        for place, part in enumerate(plain.split(b'"')):
            if place:
                self._quoted = not self._quoted
            if not self._quoted:
                self._ends += part.count(b"\n")
