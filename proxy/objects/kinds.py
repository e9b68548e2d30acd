"""Kinds of provider objects, how their ids look, and how long the gateway knows them (pure).

Ids are the provider's. Where one has OpenAI's shape (prefix, separator, a long random tail) the kind can be told from it; other
providers' may be anything (xAI: a bare UUID), then the field says the kind.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from proxy.wire.ids import NIL

# What ids are made of, everywhere that we know of. Anything else was never given to anyone, and does not go into SQL,
# paths or messages.
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,254}[A-Za-z0-9_-])?", re.ASCII)

PREFIXES = {
    "resp": "response", "conv": "conversation", "file": "file", "vs": "vector_store", "vsfb": "vector_store_batch",
    "cntr": "container", "container": "container", "cfile": "container_file", "pmpt": "prompt", "batch": "batch",
    "upload": "upload", "chatcmpl": "completion", "video": "video", "char": "character", "skill": "skill", "voice": "voice",
    "tunnel": "tunnel", "thread": "thread", "asst": "assistant", "run": "run", "ftjob": "fine_tuning_job", "eval": "eval",
    "evalrun": "eval_run",
}  # fmt: skip
KINDS = frozenset([*PREFIXES.values(), "item", "audio"])
# OpenAI's tails: 22 or more of base62 or hex, with a digit in it. Words with underscores (file_search_call) are none.
_SHAPED = re.compile(rf"({'|'.join(PREFIXES)})[-_](?=[A-Za-z]*[0-9])[A-Za-z0-9]{{20,240}}", re.ASCII)

# OpenAI keeps responses and stored completions for 30 days (API reference, "Your data"); a use prolongs our knowledge by as
# much again, so that ours never ends first. Everything else stays until it is deleted or says when it expires.
KEPT = timedelta(days=35)
_EXPIRING = frozenset(["response", "item", "completion", "container", "container_file", "video"])
_MARGIN = timedelta(days=2)


class Account(NamedTuple):
    """Where an object lies. `user_variable_id`: the own credential; the nil uuid: our account, with the global key."""

    provider: str
    user_variable_id: UUID = NIL


class Minted(NamedTuple):
    """An id that an answer brought. `expires_at`: when the provider says it drops it. `lasting`: belongs to something that
    stays, such as an item of a conversation. `stored` False: the provider keeps nothing under it.
    """

    kind: str
    id: str
    expires_at: datetime | None = None
    lasting: bool = False
    stored: bool = True

    def known_until(self, now: datetime) -> datetime | None:
        """None: until it is deleted."""
        if self.expires_at is not None:
            return max(self.expires_at, now) + _MARGIN
        return now + KEPT if self.kind in _EXPIRING and not self.lasting else None


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def shaped(text: str) -> str | None:
    """The kind that an id of OpenAI's shape tells."""
    match = _SHAPED.fullmatch(text)
    return None if match is None else PREFIXES[match[1]]
