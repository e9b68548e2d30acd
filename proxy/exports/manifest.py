"""What proves an export: what it holds, how much, and the digest of its bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pricing.money import format_usd
from proxy.exports.columns import Record, Sum, time_text
from proxy.exports.filter import Filter
from proxy.exports.registry import KINDS, FormatName, KindName
from proxy.wire.ids import to_wire


@dataclass(frozen=True, slots=True)
class Plan:
    """An export as it was asked for."""

    id: UUID
    kind: KindName
    format: FormatName
    gzip: bool
    filter: Filter
    created_at: datetime

    @property
    def file_name(self) -> str:
        return f"{self.kind}-{to_wire('exp', self.id)}.{self.format}{'.gz' if self.gzip else ''}"


@dataclass(slots=True)
class Tally:
    """Counts what passes. The digest is of the file as it is sent, so of the compressed bytes where it is compressed."""

    sums: Sequence[Sum]
    rows: int = 0
    size: int = 0
    added_pusd: dict[str, int] = field(default_factory=dict)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def see_rows(self, records: Sequence[Record]) -> None:
        self.rows += len(records)
        for name, key in self.sums:
            self.added_pusd[name] = self.added_pusd.get(name, 0) + sum(int(record[key]) for record in records)

    def see_bytes(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def manifest(plan: Plan, tally: Tally, *, as_of: datetime | None, finished_at: datetime) -> Mapping[str, object]:
    kind = KINDS[plan.kind]
    return {
        "object": "export_manifest",
        "id": to_wire("exp", plan.id),
        "kind": plan.kind,
        "format": plan.format,
        "gzip": plan.gzip,
        "filter": _shown(plan.filter),
        "as_of": None if as_of is None else time_text(as_of),
        "created_at": time_text(plan.created_at),
        "finished_at": time_text(finished_at),
        "columns": [{"name": column.name, "type": column.type} for column in kind.columns],
        "rows": tally.rows,
        "sums": {each.name: format_usd(tally.added_pusd.get(each.name, 0)) for each in kind.sums},
        "bytes": tally.size,
        "sha256": tally.sha256,
    }


def manifest_text(found: Mapping[str, object]) -> str:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _shown(wanted: Filter) -> dict[str, str | None]:
    def ids(prefix: str, value: UUID | None) -> str | None:
        return None if value is None else to_wire(prefix, value)

    return {
        "workspace_id": ids("ws", wanted.workspace_id),
        "user_id": ids("user", wanted.user_id),
        "virtual_key_id": ids("key", wanted.virtual_key_id),
        "llm": wanted.llm,
        "provider": wanted.provider,
        "key_source": wanted.key_source,
        "from": None if wanted.since is None else time_text(wanted.since),
        "to": None if wanted.until is None else time_text(wanted.until),
    }
