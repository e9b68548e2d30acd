"""The two ways in which Redis does not do what it was asked."""

from __future__ import annotations

from proxy.storage.away import StoreAway as StoreAway


class Unanswered(StoreAway):
    """It was sent and the line was lost, or the deadline passed, before the answer: done or not, nobody knows."""


class ErrorReply(StoreAway):
    """Redis answered with an error. Our scripts check before they write, so nothing was changed."""

    @property
    def code(self) -> str:
        """Its first word: NOSCRIPT, OOM, READONLY…"""
        return str(self).partition(" ")[0]
