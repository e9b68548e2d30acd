"""What this process knows of ids: bounded, least recently used goes first.

A known owner stays known: ids are not given away, and of one that was deleted elsewhere the provider says so itself. "Unknown" is
believed for a second. Of an item that brings its content it is believed longer: it was minted before it was sent here, so
nobody becomes its owner later.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple
from uuid import UUID

from proxy.objects.kinds import Account
from proxy.objects.owner import Known
from proxy.objects.references import Reference

UNKNOWN_FOR_MS = 1000
UNKNOWN_INLINE_FOR_MS = 600_000

Key = tuple[UUID, str, str]


class _Entry(NamedTuple):
    known: Known
    since_ms: int
    used_ms: int


class Memory:
    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, workspace_id: UUID, reference: Reference, now_ms: int) -> Known | None:
        """None: it must be asked for."""
        key = (workspace_id, reference.kind, reference.id)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if not entry.known.accounts:
            limit_ms = UNKNOWN_INLINE_FOR_MS if reference.inline else UNKNOWN_FOR_MS
            if now_ms - entry.since_ms >= limit_ms:
                return None
        self._entries.move_to_end(key)
        return entry.known

    def accounts(self, workspace_id: UUID, kind: str, id: str) -> tuple[Account, ...]:
        entry = self._entries.get((workspace_id, kind, id))
        return () if entry is None else entry.known.accounts

    def put(self, workspace_id: UUID, kind: str, id: str, known: Known, now_ms: int, used_ms: int) -> None:
        key = (workspace_id, kind, id)
        self._entries[key] = _Entry(known, now_ms, used_ms)
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def add(self, workspace_id: UUID, kind: str, id: str, account: Account, now_ms: int) -> None:
        others = tuple(other for other in self.accounts(workspace_id, kind, id) if other != account)
        self.put(workspace_id, kind, id, Known((account, *others)), now_ms, now_ms)

    def drop(self, workspace_id: UUID, kind: str, id: str, account: Account) -> None:
        key = (workspace_id, kind, id)
        entry = self._entries.pop(key, None)
        rest = () if entry is None else tuple(other for other in entry.known.accounts if other != account)
        if entry is not None and rest:
            self._entries[key] = entry._replace(known=Known(rest))

    def used(self, workspace_id: UUID, kind: str, id: str, now_ms: int, every_ms: int) -> bool:
        """Whether its last use was so long ago that this one is worth writing down; then it counts as written."""
        key = (workspace_id, kind, id)
        entry = self._entries.get(key)
        if entry is None or now_ms - entry.used_ms < every_ms:
            return False
        self._entries[key] = entry._replace(used_ms=now_ms)
        return True
